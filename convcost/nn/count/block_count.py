"""Blocks counted by independent counters, compared with the formula stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from convcost.comparison.rows import Counts, Difference
from convcost.convolution.conv import Conv
from convcost.convolution.cost import cost, macs, params
from convcost.convolution.tree import place
from convcost.nn.build.tree_module import build, stage_paths
from convcost.nn.count.counters import COUNTERS, CounterError, counter_errors
from convcost.nn.count.size_limit import allow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.nn.count.counters import Counter, Tally


def count_each(
    blocks: Mapping[str, tuple[Node, Shape]], counters: Mapping[str, Counter] = COUNTERS
) -> Iterator[tuple[str, Counts]]:
    """Count blocks as real torch modules on the CPU in float32 and compare each stage with the formula, exactly.

    All blocks together stay within the limits of `nn.count.size_limit`; a block that is too large for them is counted
    at a smaller input, where agreement is then judged, or not at all. The caller's random state, thread count, grad
    mode and defaults stay as they are.

    Args:
        blocks: Trees and their input shapes, by name.
        counters: The counters by name; "fvcore" and "torch" fill the fields of that name.

    Yields:
        Name and counts of each block, in the order of `blocks`.

    Raises:
        ShapeError: A tree does not fit its shape.
    """
    allowed = allow(blocks)
    for name, (node, shape) in blocks.items():
        size = allowed[name]
        if size.shape is None:
            yield name, Counts(None, None, None, None, (), size.note)
            continue
        module = build(node, size.shape, device="meta", dtype=torch.float32)
        module = module.to_empty(device="cpu")  # random weights take time and change no count
        tallies, reasons = _tallies(counters, module, size.shape)
        differences = tuple(
            difference
            for counter, tally in tallies.items()
            for difference in _compare(counter, tally, node, size.shape)
        )
        fvcore, torch_ = tallies.get("fvcore"), tallies.get("torch")
        full_size = size.shape == shape
        counts = Counts(
            fvcore_macs=fvcore.total if fvcore and full_size else None,
            fvcore_params=fvcore.params.get("", 0) if fvcore else None,
            torch_flops=torch_.total if torch_ and full_size else None,
            agree=False if differences else (None if reasons else True),
            differences=differences,
            note="; ".join(filter(None, (size.note, *reasons))) or None,
        )
        yield name, counts


def _tallies(counters: Mapping[str, Counter], module: nn.Module, shape: Shape) -> tuple[dict[str, Tally], list[str]]:
    """The tallies of the counters that ran, and why the others did not."""
    tallies, reasons = {}, []
    inputs = (torch.zeros(*shape.sizes, device="cpu", dtype=torch.float32),)
    for name, counter in counters.items():
        try:
            with torch.no_grad(), counter_errors():
                tallies[name] = counter(module, inputs)
        except CounterError as error:
            reasons.append(f"{name} unavailable: {error}")
    return tallies, reasons


def _compare(name: str, tally: Tally, node: Node, shape: Shape) -> list[Difference]:
    """Where a counter and the formula differ: in stages, else in the block's total."""
    paths, layers = stage_paths(node), place(node, shape)[0]
    stages = [
        (layer.name, paths[layer.name], (macs(layer).value, params(layer.op).value))
        for layer in layers
        if isinstance(layer.op, Conv)
    ]
    whole = cost(layers)  # the layers between convolutions have parameters too
    total = [("all stages", "", (whole.macs, whole.params))]
    return _differences(name, tally, stages) or _differences(name, tally, total)


def _differences(name: str, tally: Tally, predictions: Sequence[tuple[str, str, tuple[int, int]]]) -> list[Difference]:
    """The differences among (stage, its path, its predicted MACs and parameters)."""
    return [
        Difference(name, stage, quantity, predicted, counts.get(path, 0))
        for stage, path, pair in predictions
        for quantity, predicted, counts in zip(("MACs", "parameters"), pair, (tally.macs, tally.params), strict=True)
        if counts.get(path, 0) != predicted
    ]

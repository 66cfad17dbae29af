"""Blocks counted by independent counters, compared with the formula stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from convcost.comparison.rows import Counts, Difference
from convcost.convolution.conv import Conv
from convcost.convolution.cost import cost, macs, params
from convcost.convolution.tree import place
from convcost.nn.build.tree_module import build, stage_paths
from convcost.nn.count.counters import COUNTERS
from convcost.nn.count.size_limit import allow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.nn.count.counters import Counter, Tally

__all__ = ["count", "count_each"]


def count(blocks: Mapping[str, tuple[Node, Shape]], counters: Mapping[str, Counter] = COUNTERS) -> dict[str, Counts]:
    """Count blocks as real torch modules on the CPU in float32 and compare each stage with the formula, exactly.

    All blocks together stay within the limits of `nn.count.size_limit`; a block that is too large for them is counted
    at a smaller input, where agreement is then judged, or not at all. The caller's random state, thread count, grad
    mode and defaults stay as they are.

    Args:
        blocks: trees and their input shapes, by name.
        counters: who counts; "fvcore" and "torch" fill the fields of that name.

    Returns:
        One entry a block, in the order of `blocks`.

    Raises:
        ShapeError: a tree does not fit its shape.
    """
    return dict(count_each(blocks, counters))


def count_each(
    blocks: Mapping[str, tuple[Node, Shape]], counters: Mapping[str, Counter] = COUNTERS
) -> Iterator[tuple[str, Counts]]:
    """As `count`, one block after the other, for those who show each as it comes."""
    allowed = allow(blocks)
    for name, (node, shape) in blocks.items():
        size = allowed[name]
        if size.shape is None:
            yield name, Counts(None, None, None, None, (), size.note)
            continue
        tallies, reasons = _ask(counters, build_uninitialised(node, size.shape), size.shape)
        differences = tuple(
            difference for who, tally in tallies.items() for difference in _compare(who, tally, node, size.shape)
        )
        agree = False if differences else (None if reasons else True)
        fvcore, torch_ = tallies.get("fvcore"), tallies.get("torch")
        real = size.shape == shape
        note = "; ".join(filter(None, (size.note, *reasons))) or None
        yield (
            name,
            Counts(
                fvcore.total if fvcore and real else None,
                fvcore.params.get("", 0) if fvcore else None,
                torch_.total if torch_ and real else None,
                agree,
                differences,
                note,
            ),
        )


def _ask(counters: Mapping[str, Counter], module: nn.Module, shape: Shape) -> tuple[dict[str, Tally], list[str]]:
    """What each counter says, and why those that say nothing do not."""
    tallies, reasons = {}, []
    inputs = (torch.zeros(*shape.sizes, device="cpu", dtype=torch.float32),)
    for who, counter in counters.items():
        try:
            with torch.no_grad():
                tallies[who] = counter(module, inputs)
        except Exception as error:  # noqa: BLE001 - a counter is another's program: whatever it raises is reported
            reason = str(error).partition("\n")[0] or type(error).__name__
            reasons.append(f"{who} unavailable: {reason}")
    return tallies, reasons


def _compare(who: str, tally: Tally, node: Node, shape: Shape) -> Iterator[Difference]:
    """Where a counter and the formula differ, stage by stage, then in the block's total."""
    paths = stage_paths(node)
    layers = [layer for layer in place(node, shape)[0] if isinstance(layer.op, Conv)]
    rows = [(layer.name, paths[layer.name], macs(layer).value, params(layer.op).value) for layer in layers]
    found = [
        Difference(who, stage, quantity, predicted, counted.get(path, 0))
        for stage, path, *expected in rows
        for quantity, predicted, counted in zip(
            ("MACs", "parameters"), expected, (tally.macs, tally.params), strict=True
        )
        if counted.get(path, 0) != predicted
    ]
    if not found:  # a counter may still have seen something outside the stages
        whole = cost(place(node, shape)[0])  # what lies between convolutions has parameters too
        totals = (whole.macs, whole.params)
        found = [
            Difference(who, "all stages", quantity, predicted, counted.get("", 0))
            for quantity, predicted, counted in zip(
                ("MACs", "parameters"), totals, (tally.macs, tally.params), strict=True
            )
            if counted.get("", 0) != predicted
        ]
    yield from found


def build_uninitialised(node: Node, shape: Shape) -> nn.Module:
    """`build` on the CPU in float32 without drawing random weights: counts do not depend on them, time does."""
    with _NoInit():
        return build(node, shape, device="cpu", dtype=torch.float32)


class _NoInit(TorchFunctionMode):
    """Inside, the functions of torch.nn.init leave their tensor as it is."""

    def __torch_function__(
        self,
        func: Callable[..., Any],  # torch's own signature: any function of any tensors
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        named = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return named["tensor"] if "tensor" in named else args[0]
        return func(*args, **named)

"""What would bring a model back under its budget: the cheapest block of the catalogue in place of its layers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final

from convcost.blocks import BLOCKS
from convcost.cost import FLOPS_PER_MAC
from convcost.errors import ConvcostError
from convcost.rows import place_block
from convcost.sizes import pair
from convcost.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.changes import Change
    from convcost.lock import Entry, LayerCost
    from convcost.rows import Placed

__all__ = ["REMEDIED", "Remedy", "find_remedy"]

REMEDIED: Final = ("params", "macs", "flops", "weight_bytes")
"""The metrics that another block changes by a known amount."""
IMAGE: Final = 4
"""Axes of a batch of images."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Layers that another block could replace.

    Attributes:
        block: of the catalogue.
        layers: that it replaces, by name.
        metric: that it brings back.
        before: of these layers together, in the metric's units.
        after: of the blocks in their place.
        total: of the model then.
    """

    block: str
    layers: tuple[str, ...]
    metric: str
    before: int
    after: int
    total: int


def find_remedy(entry: Entry, changes: Sequence[Change], metric: str, limit: float) -> Remedy | None:
    """The catalogue block that brings a metric to its limit: in the fewest layers, and there the cheapest.

    Layers that changed come first, the largest at the front. A block counts as a replacement when it gives the layer's
    own output shape, looks at no smaller a neighbourhood, and lets each output see every input channel. What it does
    to the accuracy is not known here.

    Args:
        entry: the model as it is.
        changes: since the baseline.
        metric: one of `REMEDIED`.
        limit: in the metric's units.

    Returns:
        None where no block of the catalogue is enough.
    """
    unit = _unit(entry, metric)
    changed = {change.after.name for change in changes if change.after is not None}
    layers = [layer for layer in entry.layers.values() if layer.groups == 1 and layer.channels]
    layers.sort(key=lambda layer: (layer.name not in changed, -_cost(layer, metric)))
    options: dict[tuple[object, ...], dict[str, int]] = {}
    for layer in layers:
        if layer.structure not in options:
            options[layer.structure] = _replacements(layer, metric)
    found = [
        remedy
        for block in BLOCKS
        if (remedy := _with_block(block, layers, options, getattr(entry, metric), limit, metric, unit)) is not None
    ]
    return min(found, key=lambda one: (len(one.layers), one.total), default=None)


def _with_block(  # noqa: PLR0913, PLR0917 - what one candidate depends on
    block: str,
    layers: Sequence[LayerCost],
    options: dict[tuple[object, ...], dict[str, int]],
    total: int,
    limit: float,
    metric: str,
    unit: float,
) -> Remedy | None:
    names, before, after = [], 0, 0
    for layer in layers:
        cost = options[layer.structure].get(block)
        own = _cost(layer, metric)
        if cost is None or cost >= own:
            continue
        names.append(layer.name)
        before, after = before + own, after + cost
        left = total - round((before - after) * unit)
        if left <= limit:
            return Remedy(block, tuple(names), metric, round(before * unit), round(after * unit), left)
    return None


def _unit(entry: Entry, metric: str) -> float:
    """What one parameter or MAC is in the metric's units."""
    if metric == "weight_bytes":
        return entry.weight_bytes / entry.params if entry.params else 0.0
    return FLOPS_PER_MAC if metric == "flops" else 1


def _cost(layer: LayerCost, metric: str) -> int:
    return layer.params if metric in {"params", "weight_bytes"} else layer.macs


def _replacements(layer: LayerCost, metric: str) -> dict[str, int]:
    """What each block costs in this layer's place; a block that cannot stand there is left out."""
    spec = _spec(layer)
    if spec is None:
        return {}
    found = {}
    for name in BLOCKS:
        try:
            placed = place_block(name, spec, {})
        except ConvcostError:  # the shape does not allow this block
            continue
        if _replaces(placed, spec, layer):
            found[name] = placed.cost.params if metric in {"params", "weight_bytes"} else placed.cost.macs
    return found


def _spec(layer: LayerCost) -> Spec | None:
    """The layer's shape; None for a layer that is no 2-D convolution of images."""
    sizes = [int(size) for size in layer.input.split("x") if size]
    if len(sizes) != IMAGE or layer.op != "Conv2d":
        return None
    inputs, outputs = map(int, layer.channels.split(">"))
    kernel, stride, padding, dilation = (
        pair([int(size) for size in text.split("x")])
        for text in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    )
    bias = layer.params > inputs * outputs * prod(kernel)
    return Spec(inputs, outputs, kernel, sizes[2], sizes[3], sizes[0], stride, dilation, padding, bias)


def _replaces(placed: Placed, spec: Spec, layer: LayerCost) -> bool:
    same_output = "x".join(map(str, placed.output.sizes)) == layer.output
    as_wide = all(own >= wanted for own, wanted in zip(placed.kernel_size, spec.kernel_size, strict=True))
    mixes = any(conv.groups == 1 and conv.in_channels >= spec.in_channels for conv in placed.convs)
    return same_output and as_wide and mixes

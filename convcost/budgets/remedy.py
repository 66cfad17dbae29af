"""The remedy for a broken budget: the cheapest block of the catalogue that could replace layers of the model."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Final, TypeAlias

from convcost.comparison.rows import place_block
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.convolution.spec import Spec
from convcost.text.errors import ConvcostError
from convcost.text.sizes import pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.changes.change import Change
    from convcost.changes.layer_cost import Entry, LayerCost
    from convcost.comparison.rows import Placed
    from convcost.convolution.cost import Cost

    Group: TypeAlias = tuple[LayerCost, ...]
    """Calls that share parameters and are replaced together."""

REMEDIED: Final = ("params", "macs", "flops", "weight_bytes")
"""The metrics whose change by another block is known."""
MAX_IMAGE_CHANNELS: Final = 4
"""Maximum number of channels of an image: red, green, blue and one more."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Layers that another block could replace.

    Attributes:
        block: Name of the block in the catalogue.
        layers: Names of the layers that it replaces.
        metric: First of the metrics that the remedy brings back to their limits.
        before: Cost of these layers together, in that metric's units.
        after: Cost of the blocks in their place, in the same units.
        totals: Totals of the model with the blocks, by metric.
    """

    block: str
    layers: tuple[str, ...]
    metric: str
    before: int
    after: int
    totals: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Work:
    """Parameters, and the MACs of all calls."""

    params: int = 0
    macs: int = 0

    def __add__(self, other: Work) -> Work:
        """Both together."""
        return Work(self.params + other.params, self.macs + other.macs)

    def of(self, metric: str) -> int:
        """The number on which a metric depends: the parameters or the MACs."""
        return self.params if metric in {"params", "weight_bytes"} else self.macs


def find_remedy(entry: Entry, changes: Sequence[Change], limits: Mapping[str, float]) -> Remedy | None:
    """The catalogue block that brings metrics back to their limits: in the fewest layers, and there the cheapest.

    Layers that changed are replaced first, and of these the largest. A block can replace a layer if it gives the same
    output shape, its kernel is at least as large, and each of its outputs sees every input channel. A layer that reads
    an image is left as it is, as in the networks that these blocks come from: its few channels leave too little to
    factorise. The effect on the accuracy is not known here.

    Args:
        entry: Costs of the current model.
        changes: Changes since the baseline.
        limits: Broken limits by metric, in the units of each.

    Returns:
        The remedy; None if no block of the catalogue is enough.
    """
    first = next(iter(limits))
    changed = {change.after.name for change in changes if change.after is not None}
    groups = [group for group in _groups(entry) if all(one.groups == 1 and one.channels for one in group)]
    groups.sort(key=lambda group: (not changed & {one.name for one in group}, -_work(group).of(first)))
    layers = {layer.structure: layer for group in groups for layer in group}
    options = {structure: _replacements(layer) for structure, layer in layers.items()}
    remedies = [
        remedy
        for block in BLOCKS
        if (
            remedy := _with_block(block, [(group, _in_place(block, group, options)) for group in groups], entry, limits)
        )
    ]
    return min(remedies, key=lambda one: (len(one.layers), one.totals[first]), default=None)


def _groups(entry: Entry) -> list[Group]:
    """The calls of one module, or of modules that share their parameters."""
    owners: dict[str, str] = {}
    groups: dict[str, list[LayerCost]] = {}
    for layer in entry.layers.values():
        owner = owners[layer.name] = owners.get(layer.shares, layer.name)
        groups.setdefault(owner, []).append(layer)
    return [tuple(group) for group in groups.values()]


def _work(group: Group) -> Work:
    return sum((Work(layer.params, layer.macs) for layer in group), Work())


def _in_place(block: str, group: Group, options: Mapping[tuple[object, ...], Mapping[str, Cost]]) -> Work | None:
    """The work of a block in place of a group, its parameters once; None if it cannot replace all calls."""
    costs = [cost for layer in group if (cost := options[layer.structure].get(block)) is not None]
    return Work(costs[0].params, sum(cost.macs for cost in costs)) if len(costs) == len(group) else None


def _with_block(
    block: str, groups: Sequence[tuple[Group, Work | None]], entry: Entry, limits: Mapping[str, float]
) -> Remedy | None:
    """Replace groups by a block, one after the other, until all limits are met."""
    first = next(iter(limits))
    names: list[str] = []
    before, after = Work(), Work()
    for group, work in groups:
        own = _work(group)
        if work is None or any(work.of(metric) >= own.of(metric) for metric in limits):
            continue
        names += dict.fromkeys(layer.name.partition("#")[0] for layer in group)
        before, after = before + own, after + work
        totals = {
            metric: getattr(entry, metric) - _in_units(entry, metric, before.of(metric) - after.of(metric))
            for metric in limits
        }
        if all(totals[metric] <= limit for metric, limit in limits.items()):
            replaced, replacing = (_in_units(entry, first, one.of(first)) for one in (before, after))
            return Remedy(block, tuple(names), first, replaced, replacing, totals)
    return None


def _in_units(entry: Entry, metric: str, amount: int) -> int:
    """Parameters or MACs in the metric's units."""
    if metric == "weight_bytes":
        return round(Fraction(amount * (entry.weight_bytes or 0), entry.params)) if entry.params else 0
    return amount * FLOPS_PER_MAC if metric == "flops" else amount


def _replacements(layer: LayerCost) -> dict[str, Cost]:
    """The cost of each block that can replace this layer, by the block's name."""
    spec = _spec(layer)
    if spec is None:
        return {}
    costs = {}
    for name in BLOCKS:
        try:
            placed = place_block(name, spec, {})
        except ConvcostError:  # the shape does not allow this block
            continue
        if _replaces(placed, spec, layer):
            costs[name] = placed.cost
    return costs


def _spec(layer: LayerCost) -> Spec | None:
    """The layer's shape; None for a layer that is no 2-D convolution, or whose input is an image itself."""
    match layer.input_sizes:
        case (batch, _, height, width) if layer.op == "Conv2d":
            inputs, outputs = map(int, layer.channels.split(">"))
            if inputs <= MAX_IMAGE_CHANNELS:
                return None
            kernel, stride, padding, dilation = (
                pair([int(size) for size in text.split("x")])
                for text in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            )
            bias = layer.params > inputs * outputs * prod(kernel)
            return Spec(inputs, outputs, kernel, height, width, batch, stride, dilation, padding, bias)
    return None


def _replaces(placed: Placed, spec: Spec, layer: LayerCost) -> bool:
    same_output = "x".join(map(str, placed.output.sizes)) == layer.output
    as_wide = all(own >= wanted for own, wanted in zip(placed.kernel_size, spec.kernel_size, strict=True))
    mixes = any(conv.groups == 1 and conv.in_channels >= spec.in_channels for conv in placed.convs)
    return same_output and as_wide and mixes

"""What would bring a model back under its budget: the cheapest block of the catalogue in place of its layers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from convcost.comparison.rows import place_block
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.convolution.spec import Spec
from convcost.text.errors import ConvcostError
from convcost.text.sizes import pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.budgets.changes import Change
    from convcost.budgets.layer_cost import Entry, LayerCost
    from convcost.comparison.rows import Placed
    from convcost.convolution.cost import Cost

    Group: TypeAlias = tuple[LayerCost, ...]
    """Calls that use the same parameters."""

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
        metric: the first of those that it brings back.
        before: of these layers together, in that metric's units.
        after: of the blocks in their place.
        totals: of the model then, for every metric that it brings back.
    """

    block: str
    layers: tuple[str, ...]
    metric: str
    before: int
    after: int
    totals: Mapping[str, int]


class Work(NamedTuple):
    """Parameters, and MACs of all calls."""

    params: int
    macs: int

    def of(self, metric: str) -> int:
        """The one of the two that a metric is made of."""
        return self.params if metric in {"params", "weight_bytes"} else self.macs


def find_remedy(entry: Entry, changes: Sequence[Change], limits: Mapping[str, float]) -> Remedy | None:
    """The catalogue block that brings metrics back to their limits: in the fewest layers, and there the cheapest.

    Calls that use the same parameters are replaced together. Layers that changed come first, the largest at the front.
    A block counts as a replacement when it gives the layer's own output shape, looks at no smaller a neighbourhood, and
    lets each output see every input channel. What it does to the accuracy is not known here.

    Args:
        entry: the model as it is.
        changes: since the baseline.
        limits: by metric of `REMEDIED`, each in its own units; those that are broken.

    Returns:
        None where no block of the catalogue is enough.
    """
    first = next(iter(limits))
    changed = {change.after.name for change in changes if change.after is not None}
    groups = [group for group in _groups(entry) if all(one.groups == 1 and one.channels for one in group)]
    groups.sort(key=lambda group: (not changed & {one.name for one in group}, -_own(group, first)))
    options = _options(groups)
    found = [
        remedy
        for block in BLOCKS
        if (
            remedy := _with_block(block, [(group, _in_place(block, group, options)) for group in groups], entry, limits)
        )
    ]
    return min(found, key=lambda one: (len(one.layers), one.totals[first]), default=None)


def _groups(entry: Entry) -> list[Group]:
    """The calls that use the same parameters: of one module, or of modules that share them; they change together."""
    owners: dict[str, str] = {}
    groups: dict[str, list[LayerCost]] = {}
    for layer in entry.layers.values():
        owner = owners[layer.name] = owners.get(layer.shares, layer.name)
        groups.setdefault(owner, []).append(layer)
    return [tuple(group) for group in groups.values()]


def _options(groups: Sequence[Group]) -> dict[tuple[object, ...], dict[str, Cost]]:
    """What each block costs in the place of a layer, by the layer's structure."""
    layers = {layer.structure: layer for group in groups for layer in group}
    return {structure: _replacements(layer) for structure, layer in layers.items()}


def _in_place(block: str, group: Group, options: Mapping[tuple[object, ...], Mapping[str, Cost]]) -> Work | None:
    """What a block costs in the place of a group: parameters once, MACs at each call; None where it cannot stand."""
    costs = [options[layer.structure].get(block) for layer in group]
    known = [cost for cost in costs if cost is not None]
    return Work(known[0].params, sum(cost.macs for cost in known)) if len(known) == len(costs) else None


def _with_block(
    block: str, groups: Sequence[tuple[Group, Work | None]], entry: Entry, limits: Mapping[str, float]
) -> Remedy | None:
    """Replace groups by a block, one after the other, until every limit is kept."""
    names: list[str] = []
    first = next(iter(limits))
    before, after = dict.fromkeys(limits, 0), dict.fromkeys(limits, 0)
    for group, work in groups:
        if work is None or any(work.of(metric) >= _own(group, metric) for metric in limits):
            continue
        names += dict.fromkeys(layer.name.partition("#")[0] for layer in group)
        totals = {}
        for metric in limits:
            before[metric] += _own(group, metric)
            after[metric] += work.of(metric)
            totals[metric] = getattr(entry, metric) - _in_units(entry, metric, before[metric] - after[metric])
        if all(totals[metric] <= limit for metric, limit in limits.items()):
            own, theirs = (_in_units(entry, first, one[first]) for one in (before, after))
            return Remedy(block, tuple(names), first, own, theirs, totals)
    return None


def _in_units(entry: Entry, metric: str, amount: int) -> int:
    """Parameters or MACs in the metric's units."""
    if metric == "weight_bytes":
        return round(Fraction(amount * entry.weight_bytes, entry.params)) if entry.params else 0
    return amount * FLOPS_PER_MAC if metric == "flops" else amount


def _own(group: Group, metric: str) -> int:
    return Work(sum(layer.params for layer in group), sum(layer.macs for layer in group)).of(metric)


def _replacements(layer: LayerCost) -> dict[str, Cost]:
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
            found[name] = placed.cost
    return found


def _spec(layer: LayerCost) -> Spec | None:
    """The layer's shape; None for a layer that is no 2-D convolution of images."""
    sizes = layer.input_sizes
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

"""The remedy for a broken budget: the mildest block that `convcost replace` could put in the place of layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Final, TypeAlias

from convcost.changes.replacement import MAX_IMAGE_CHANNELS, Rules, block_in_place
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.models.network_layers import Style
from convcost.text.errors import ConvcostError
from convcost.text.sizes import pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.changes.change import Change
    from convcost.changes.layer_cost import Entry, LayerCost
    from convcost.comparison.rows import Placed
    from convcost.convolution.cost import Cost
    from convcost.convolution.layer import Kind
    from convcost.text.sizes import Input

    Group: TypeAlias = tuple[LayerCost, ...]
    """Calls that share parameters."""

REMEDIED: Final = ("params", "macs", "flops", "weight_bytes")
"""The metrics whose change by another block is known."""
_NORMS: Final = frozenset({"BatchNorm2d", "SyncBatchNorm"})
_ACTIVATIONS: Final[Mapping[str, Kind]] = {
    "ReLU": "relu", "ReLU6": "relu6", "SiLU": "silu", "Hardswish": "hardswish", "GELU": "gelu",
    "relu": "relu", "relu_": "relu", "relu6": "relu6", "silu": "silu", "hardswish": "hardswish", "gelu": "gelu",
}  # fmt: skip
"""The activations of a block, by the names of their rows."""


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
    """The catalogue block that brings metrics back to their limits: in the fewest layers, and there the mildest.

    The mildest block keeps most parameters.

    Layers that changed are replaced first, and of these the largest. A block can replace a layer if `convcost replace`
    would do so, its kernel is at least as large, and each of its outputs sees every input channel. A layer that reads
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
    groups = [group for group in _groups(entry) if len({_module(one) for one in group}) == 1]
    groups.sort(key=lambda group: (not changed & {one.name for one in group}, -_work(group).of(first)))
    styles = _styles(list(entry.layers.values()))
    kinds = {(one.structure, styles[one.name]): one for group in groups for one in group}
    options = {key: _replacements(layer, key[1]) for key, layer in kinds.items()}
    own = {one.name: options[one.structure, styles[one.name]] for group in groups for one in group}
    remedies = [
        remedy
        for block in BLOCKS
        if (remedy := _with_block(block, [(group, _in_place(block, group, own)) for group in groups], entry, limits))
    ]
    return min(
        remedies, key=lambda one: (len(one.layers), -one.totals.get("params", 0), one.totals[first]), default=None
    )


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


def _module(layer: LayerCost) -> str:
    """The path of the module that is called."""
    return layer.name.partition("#")[0]


def _in_place(block: str, group: Group, options: Mapping[str, Mapping[str, Cost]]) -> Work | None:
    """The work of a block in place of a group, its parameters once; None if it cannot replace all calls."""
    costs = [cost for layer in group if (cost := options[layer.name].get(block)) is not None]
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
        names.append(_module(group[0]))
        before, after = before + own, after + work
        totals = {
            metric: total - _in_units(entry, metric, before.of(metric) - after.of(metric))
            for metric in REMEDIED
            if (total := getattr(entry, metric)) is not None
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


def _replacements(one: LayerCost, style: Style) -> dict[str, Cost]:
    """The cost of each block that can replace this layer, by the block's name."""
    layer = _layer(one)
    if layer is None:
        return {}
    costs = {}
    for name in BLOCKS:
        try:
            placed = block_in_place(name, layer, style, {})
        except ConvcostError:  # the shape does not allow this block
            continue
        if _sees_as_much(placed):
            costs[name] = placed.cost
    return costs


def _layer(one: LayerCost) -> Layer | None:
    """The layer on its input; None for one that is no standard 2-D convolution, or whose input is an image itself."""
    match one.input_sizes:
        case (batch, channels, height, width) if one.op == "Conv2d" and channels > MAX_IMAGE_CHANNELS:
            inputs, outputs = map(int, one.channels.split(">"))
            kernel, stride, padding, dilation = (
                pair([int(size) for size in text.split("x")])
                for text in (one.kernel_size, one.stride, one.padding, one.dilation)
            )
            bias = one.params > inputs // one.groups * outputs * prod(kernel)
            conv = Conv(inputs, outputs, kernel, stride, padding, dilation, one.groups, bias)
            if Rules(tuple(BLOCKS)).reason_for_kind(conv) is None:
                layer = Layer(one.name, conv, Shape(batch, inputs, (height, width)))
                return layer if "x".join(map(str, layer.output.sizes)) == one.output else None
    return None


def _styles(layers: Sequence[LayerCost]) -> dict[str, Style]:
    """The normalisation and activation that come next after each layer, and take its output."""
    styles = {}
    for index, one in enumerate(layers):
        ops = [next_.op for next_ in layers[index + 1 : index + 3] if next_.input.partition(":")[0] == one.output]
        norm = bool(ops) and ops[0] in _NORMS
        styles[one.name] = Style(norm, _ACTIVATIONS.get(next(iter(ops[norm:]), "")))
    return styles


def command_for(remedy: Remedy, target: str, inputs: Sequence[Input], args: Mapping[str, object]) -> str:
    """The command that replaces these layers, and counts the model then.

    Args:
        remedy: Layers and the block in their place.
        target: Target of the budget.
        inputs: Inputs of the model; none for its own.
        args: Arguments of the callable.
    """
    from shlex import quote

    names = "|".join(map(re.escape, remedy.layers))
    options = [
        *(("input", str(one)) for one in inputs),
        *(("arg", f"{name}={value}") for name, value in args.items()),
        ("to", remedy.block),
        ("only", f"^({names})$" if len(remedy.layers) > 1 else f"^{names}$"),
    ]
    return " ".join(["convcost replace", quote(target), *(f"--{name} {quote(value)}" for name, value in options)])


def _sees_as_much(placed: Placed) -> bool:
    """Whether each output of a block sees as large a window as before, and every input channel."""
    wanted = placed.spec
    as_wide = all(own >= size for own, size in zip(placed.kernel_size, wanted.kernel_size, strict=True))
    return as_wide and any(conv.groups == 1 and conv.in_channels >= wanted.in_channels for conv in placed.convs)

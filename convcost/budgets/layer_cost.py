"""What a counted model costs, layer by layer, as the lock keeps it and as two counts are compared. Plain values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.models.report import Call, ModelReport

__all__ = ["COUNTER", "Entry", "LayerCost", "entry_of"]

COUNTER: Final = 1
"""Version of the counting conventions; a change that moves any figure of any model raises it."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One call of a layer.

    Attributes:
        name: as in the rows of `convcost model`.
        op: the module's class, or the function.
        channels: C>O of a convolution; empty for everything else, as are the next four.
        kernel_size: height x width.
        stride: vertical x horizontal.
        padding: vertical x horizontal.
        dilation: vertical x horizontal.
        groups: 0 where there is no convolution.
        input: every tensor in, as `1x4x16x32, 1x16:int64`; float32 is not said.
        output: shape of the first tensor out.
        params: that no call before used.
        macs: multiply-accumulates.
        dtype: of its parameters; empty for float32.
        uncounted: operations without a formula in it.
        shares: the call before it that used its parameters first; empty where none did.
    """

    name: str
    op: str
    channels: str
    kernel_size: str
    stride: str
    padding: str
    dilation: str
    groups: int
    input: str
    output: str
    params: int
    macs: int
    dtype: str = ""
    uncounted: int = 0
    shares: str = ""

    @property
    def structure(self) -> tuple[object, ...]:
        """What it is, without names and without what the counter says of it."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in _NO_STRUCTURE)

    @property
    def itself(self) -> tuple[object, ...]:
        """What it is whatever the shapes of its tensors are."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in _NO_STRUCTURE | _SHAPES)

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """Of the first tensor in."""
        first = self.input.partition(",")[0].partition(":")[0]
        return tuple(int(size) for size in first.split("x") if size.isdigit())


_NO_STRUCTURE: Final = {"name", "macs", "uncounted", "shares"}
_SHAPES: Final = {"input", "output"}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one model costs.

    Attributes:
        counter: version of the counting conventions.
        torch: version of torch that ran.
        input: of the model, as text.
        params: every parameter.
        macs: of one forward pass.
        weight_bytes: of the parameters.
        peak_activation_bytes: the largest sum of activations alive at one call.
        uncounted: operations without a formula; macs are then a lower bound.
        layers: by name, in the order of the forward pass.
    """

    counter: int
    torch: str
    input: tuple[str, ...]
    params: int
    macs: int
    weight_bytes: int
    peak_activation_bytes: int
    uncounted: int
    layers: Mapping[str, LayerCost]

    @property
    def flops(self) -> int:
        """2 a MAC."""
        from convcost.convolution.cost import FLOPS_PER_MAC

        return FLOPS_PER_MAC * self.macs

    @property
    def uncounted_calls(self) -> int:
        """Calls of operations without a formula: `uncounted` says how many kinds of them there are."""
        return max(self.uncounted, sum(layer.uncounted for layer in self.layers.values()))

    @property
    def versions(self) -> str:
        """That counted it."""
        return f"counter {self.counter}, torch {self.torch}"


def entry_of(report: ModelReport) -> Entry:
    """What the lock keeps of a counted model."""
    totals = report.totals
    return Entry(
        COUNTER,
        str(report.conditions["torch_version"]).partition("+")[0],  # the build, +cpu or +cu128, counts the same
        report.inputs,
        totals.params,
        totals.macs,
        totals.weight_bytes,
        totals.peak_activation_bytes,
        len(report.uncounted),
        {call.name: _layer(call) for call in report.layers},
    )


def _layer(call: Call) -> LayerCost:
    conv = call.conv
    sizes = ("", "", "", "", "", 0)
    if conv is not None:
        padding = format_sizes(call.padding or ())
        channels = f"{conv.in_channels}>{conv.out_channels}"
        shown = tuple(format_sizes(size) for size in (conv.kernel_size, conv.stride))
        sizes = (channels, *shown, padding, format_sizes(conv.dilation), conv.groups)  # type: ignore[assignment]  # two texts
    shapes = ", ".join(call.inputs), format_sizes(call.output_shape)
    dtype = "" if call.weights == ("float32",) else "+".join(call.weights)
    counted = call.params, call.macs
    return LayerCost(call.name, call.op, *sizes, *shapes, *counted, dtype, call.uncounted, call.shares or "")

"""The cost of a counted model, layer by layer, as it is stored in the lock and compared between two counts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from math import prod
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from convcost.text.sizes import format_sizes
from convcost.text.toml_tables import Read, number, require

if TYPE_CHECKING:
    from convcost.models.call import Call
    from convcost.models.report import ModelReport

COUNTER: Final = 1
"""Version of the counting conventions, raised by every change that alters a count of any model."""


_SIZES: Final = r"\d+(x\d+)*"
_TENSOR: Final = rf"({_SIZES}|scalar|nested)(:\w+)?"


def _form(pattern: str, example: str) -> Read:
    """The reader of a text of this form, which may be empty."""
    form = re.compile(f"({pattern})?", re.ASCII)
    rule = f'must be a text of the form {example}; write "{example}".'
    return Read(require(rule, lambda value: isinstance(value, str) and form.fullmatch(value)), default="")


_count: Final = number(0, 10**40)
Count: TypeAlias = Annotated[int, Read(_count)]
CountOrNone: TypeAlias = Annotated[int, Read(_count, default=0)]
Obtained: TypeAlias = Annotated[int | None, Read(_count, default=None)]
"""A count that is missing where it was not obtained."""
Channels: TypeAlias = Annotated[str, _form(r"\d+>\d+", "3>8")]
Sizes: TypeAlias = Annotated[str, _form(_SIZES, "3x3")]
Tensors: TypeAlias = Annotated[str, _form(rf"{_TENSOR}(, {_TENSOR})*", "1x3x8x8, 1x16:int64")]


@dataclass(frozen=True, slots=True)
class LayerCost:
    """The cost of one call of a layer.

    Attributes:
        name: Name of the call, as in the rows of `convcost model`.
        op: Class of the module, or name of the function.
        channels: Channels of a convolution as C>O; empty for any other layer, like the next four fields.
        kernel_size: Kernel size, height x width.
        stride: Stride, vertical x horizontal.
        padding: Padding, vertical x horizontal.
        dilation: Dilation, vertical x horizontal.
        groups: Groups of a convolution; 0 for any other layer.
        input: Input tensors, as in `1x4x16x32, 1x16:int64`; float32 is left out.
        output: Shape of the first output tensor.
        params: Parameters that no earlier call used.
        macs: Multiply-accumulates.
        dtype: Data type of the parameters; empty for float32.
        uncounted: Number of operations without a formula in this call.
        shares: Name of the earlier call with the same parameters; empty without one.
    """

    name: Annotated[str, Read(str, default="")]
    op: str
    channels: Channels
    kernel_size: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: CountOrNone
    input: Tensors
    output: Sizes
    params: Count
    macs: Count
    dtype: str = ""
    uncounted: Count = 0
    shares: str = ""

    @property
    def structure(self) -> tuple[object, ...]:
        """The fields that identify the layer: all but its names and its counts."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in _NO_STRUCTURE)

    @property
    def itself(self) -> tuple[object, ...]:
        """The fields that identify the layer for any shapes of its tensors."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in _NO_STRUCTURE | _SHAPES)

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """Shape of the first input tensor."""
        first = self.input.partition(",")[0].partition(":")[0]
        return tuple(int(size) for size in first.split("x") if size.isdigit())

    @property
    def elements(self) -> int:
        """Number of elements of the first input and of the output."""
        outputs = [int(size) for size in self.output.split("x") if size.isdigit()]
        return prod(self.input_sizes) + prod(outputs)


_NO_STRUCTURE: Final = {"name", "macs", "uncounted", "shares"}
_SHAPES: Final = {"input", "output"}


@dataclass(frozen=True, slots=True)
class Entry:
    """The cost of one model.

    Attributes:
        counter: Version of the counting conventions.
        torch: Version of torch that the model ran with.
        input: Inputs of the model, as texts.
        params: Number of parameters; None where weights are quantised or packed.
        macs: Multiply-accumulates of one forward pass.
        weight_bytes: Size of the parameters; None where weights are quantised or packed.
        peak_activation_bytes: Largest total size of the activations alive at one call.
        uncounted: Number of kinds of operations without a formula; if there are any, `macs` is a lower bound.
        layers: Layers by name, in the order of the forward pass.
        checksum: Checksum of the other values, in a lock; empty for a model that is counted now.
    """

    counter: Count
    torch: str
    input: tuple[str, ...]
    params: Obtained
    macs: Count
    weight_bytes: Obtained
    peak_activation_bytes: Count
    uncounted: Count
    layers: dict[str, LayerCost]
    checksum: Annotated[str, Read(str, default="")] = field(default="", compare=False)

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 per MAC."""
        from convcost.convolution.cost import FLOPS_PER_MAC

        return FLOPS_PER_MAC * self.macs

    @property
    def uncounted_calls(self) -> int:
        """Number of calls of operations without a formula; `uncounted` is the number of their kinds."""
        return max(self.uncounted, sum(layer.uncounted for layer in self.layers.values()))

    @property
    def versions(self) -> str:
        """The versions that counted the model, for messages."""
        return f"counter {self.counter}, torch {self.torch}"


def entry_of(report: ModelReport) -> Entry:
    """The entry of the lock for a counted model."""
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
        sizes = (channels, *shown, padding, format_sizes(conv.dilation), conv.groups)  # type: ignore[assignment]  # `shown` has two texts
    shapes = ", ".join(call.inputs), format_sizes(call.output_shape)
    dtype = "" if call.weights == ("float32",) else "+".join(call.weights)
    counted = call.params, call.macs
    return LayerCost(call.name, call.op, *sizes, *shapes, *counted, dtype, call.uncounted, call.shares or "")

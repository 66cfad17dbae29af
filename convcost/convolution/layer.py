"""An operation placed on its input: `Layer`, and the operations of a network that are no convolutions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape, require_at_least

if TYPE_CHECKING:
    from convcost.convolution.formula import Int

    Kind: TypeAlias = Literal["relu", "relu6", "silu", "hardswish", "gelu"]


ACTIVATIONS: Final[tuple[Kind, ...]] = ("relu", "relu6", "silu", "hardswish", "gelu")
"""The activations that a network may use."""


class _Elementwise:
    """An operation whose output has its input's shape."""

    __slots__ = ()

    def output_shape(self, shape: Shape) -> Shape:
        """The input's shape."""
        return shape


@dataclass(frozen=True, slots=True)
class Add(_Elementwise):
    """The elementwise sum that ends a residual block: memory traffic and time, but no MACs and no parameters.

    Args:
        operands: Number of activations that are added.
    """

    operands: int = 2


@dataclass(frozen=True, slots=True)
class Norm(_Elementwise):
    """Batch normalisation in eval mode: a scale and a shift for each channel."""

    channels: Int


@dataclass(frozen=True, slots=True)
class Activation(_Elementwise):
    """A function of each element alone, without parameters."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The largest element in a square window.

    Args:
        kernel_size: Size of the window on every axis.
        stride: Stride of the window on every axis.
        padding: Padding on both sides of every axis; at most half of the window, as in torch.
    """

    kernel_size: Int
    stride: Int
    padding: Int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that torch refuses."""
        require_at_least(1, kernel_size=self.kernel_size, stride=self.stride)
        require_at_least(0, padding=self.padding)
        require_at_least(2 * self.padding, kernel_size=self.kernel_size)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape after a depthwise convolution with this window."""
        window = (self.kernel_size,) * len(shape.spatial)
        channels = shape.channels
        return Conv(channels, channels, window, self.stride, self.padding, groups=channels).output_shape(shape)


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean of each channel: every spatial size becomes 1."""

    def output_shape(self, shape: Shape) -> Shape:
        """(N, C, 1, ...)."""
        return Shape(shape.batch, shape.channels, (1,) * len(shape.spatial))


Between: TypeAlias = Norm | Activation | MaxPool | GlobalPool


@dataclass(frozen=True, slots=True)
class Layer:
    """An operation placed on an input; its costs are functions of this value.

    The padding of a convolution is explicit in a layer: "same" is resolved for the input's sizes.

    Attributes:
        name: Name of the layer.
        op: Operation.
        input: Shape of the input.
        output: Shape of the output.
    """

    name: str
    op: Conv | Add | Between
    input: Shape
    output: Shape = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Resolve "same" padding, and refuse an input that does not fit."""
        if isinstance(self.op, Conv):
            padding = self.op.explicit_padding(self.input.spatial)
            if padding is not self.op.padding:
                object.__setattr__(self, "op", replace(self.op, padding=padding))
        object.__setattr__(self, "output", self.op.output_shape(self.input))

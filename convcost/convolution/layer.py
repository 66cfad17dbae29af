"""A stage placed on its input: `Layer`, of a convolution or of what lies between convolutions in a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.convolution.conv import Conv, with_padding
from convcost.convolution.shape import Shape, require_at_least

if TYPE_CHECKING:
    from convcost.convolution.formula import Int

    Kind: TypeAlias = Literal["relu", "relu6", "silu", "hardswish", "gelu"]

__all__ = ["ACTIVATIONS", "Activation", "Add", "Between", "GlobalPool", "Layer", "MaxPool", "Norm"]


@dataclass(frozen=True, slots=True)
class Add:
    """The elementwise sum that closes a residual block: memory traffic and time, no multiplication, no parameters.

    Args:
        operands: how many activations of one shape are added.
    """

    operands: int = 2

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of every operand."""
        return shape


@dataclass(frozen=True, slots=True)
class Layer:
    """An operation placed on an input: what costs are asked of.

    The padding of a convolution is explicit in a layer: "same" is worked out for the input's sizes.
    """

    name: str
    op: Conv | Add | Between
    input: Shape

    def __post_init__(self) -> None:
        """Work out "same" padding and refuse an input that does not fit."""
        if isinstance(self.op, Conv):
            object.__setattr__(self, "op", with_padding(self.op, self.op.explicit_padding(self.input.spatial)))
        self.op.output_shape(self.input)

    @property
    def output(self) -> Shape:
        """The shape of the result."""
        return self.op.output_shape(self.input)


ACTIVATIONS: Final[tuple[Kind, ...]] = ("relu", "relu6", "silu", "hardswish", "gelu")
"""The activations that a network may name."""


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch normalisation in eval mode: a scale and a shift for each channel."""

    channels: Int

    def output_shape(self, shape: Shape) -> Shape:
        """The input's shape."""
        return shape


@dataclass(frozen=True, slots=True)
class Activation:
    """A function of each element alone, without parameters."""

    kind: Kind

    def output_shape(self, shape: Shape) -> Shape:
        """The input's shape."""
        return shape


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The largest element under a square window.

    Args:
        kernel_size: of the window, on every axis.
        stride: of the window, on every axis.
        padding: before and after every axis; at most half of the window, as torch wants it.
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
        """The shape that a convolution of each channel alone with this window would give."""
        window = (self.kernel_size,) * len(shape.spatial)
        channels = shape.channels
        window_of_each = Conv(channels, channels, window, self.stride, self.padding, groups=channels)
        return window_of_each.output_shape(shape)


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean of each channel: every spatial size becomes 1."""

    def output_shape(self, shape: Shape) -> Shape:
        """(N, C, 1, ...)."""
        return Shape(shape.batch, shape.channels, (1,) * len(shape.spatial))


Between: TypeAlias = Norm | Activation | MaxPool | GlobalPool

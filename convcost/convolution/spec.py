"""The layer shape that every block is asked to fill: `Spec`, with the two kinds of stage a block is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape, require_at_least
from convcost.convolution.tree import Stage

if TYPE_CHECKING:
    from convcost.convolution.formula import Int

__all__ = ["Spec"]


@dataclass(frozen=True, slots=True)
class Spec:
    """One layer shape: what goes in, what should come out, and with which kernel.

    Attributes:
        in_channels: C.
        out_channels: O.
        kernel_size: (height, width).
        height: of the input.
        width: of the input.
        batch: N, the samples of the batch.
        stride: (vertical, horizontal).
        dilation: (vertical, horizontal).
        padding: "same" (output ceil(input / stride), TensorFlow's SAME), "valid" (none), or a size for each axis.
        bias: whether every stage has one.

    Raises:
        ShapeError: a size below its least value, or a kernel larger than the padded input.
    """

    in_channels: Int
    out_channels: Int
    kernel_size: tuple[Int, Int]
    height: Int = 224
    width: Int = 224
    batch: Int = 1
    stride: tuple[Int, Int] = (1, 1)
    dilation: tuple[Int, Int] = (1, 1)
    padding: tuple[Int, Int] | Literal["same", "valid"] = "same"
    bias: bool = False

    def __post_init__(self) -> None:
        """Refuse a shape on which no K-sized convolution could be placed, whatever the block."""
        require_at_least(1, out_channels=self.out_channels)
        kernel = Conv(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation)
        kernel.output_shape(self.input)

    @property
    def input(self) -> Shape:
        """The shape of the block's input, (N, C, height, width)."""
        return Shape(self.batch, self.in_channels, (self.height, self.width))

    def spatial(  # noqa: PLR0913 - the hyper-parameters of one stage
        self,
        name: str,
        in_channels: Int,
        out_channels: Int,
        *,
        groups: Int = 1,
        tied: bool = False,
        axis: int | None = None,
        strided: bool = True,
    ) -> Stage:
        """A stage with the spec's kernel, stride, dilation and padding.

        Args:
            name: of the stage, unique in its block.
            in_channels: of the stage.
            out_channels: of the stage.
            groups: of the stage.
            tied: all groups share one filter bank.
            axis: keep only this axis (0: K×1, 1: 1×K), with its stride, dilation and padding.
            strided: whether the stride and the padding are the spec's; else stride 1 and the size is kept.
        """
        keep = (axis in {None, 0}, axis in {None, 1})
        kernel, dilation = _where(keep, self.kernel_size), _where(keep, self.dilation)
        stride = _where(keep, self.stride) if strided else (1, 1)
        if not strided:
            padding: tuple[Int, Int] | Literal["same", "valid"] = "same"
        else:
            padding = self.padding if isinstance(self.padding, str) else _where(keep, self.padding, fill=0)
        return Stage(
            name, Conv(in_channels, out_channels, kernel, stride, padding, dilation, groups, self.bias, tied=tied)
        )

    def pointwise(self, name: str, in_channels: Int, out_channels: Int, stride: tuple[Int, Int] = (1, 1)) -> Stage:
        """A 1×1 stage without padding."""
        return Stage(name, Conv(in_channels, out_channels, (1, 1), stride, 0, 1, 1, self.bias))


def _where(keep: tuple[bool, bool], sizes: tuple[Int, Int], fill: int = 1) -> tuple[Int, Int]:
    return (sizes[0] if keep[0] else fill, sizes[1] if keep[1] else fill)

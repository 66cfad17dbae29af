"""What a convolution is: `Conv`, `Add` and `Layer`, frozen values with torch's names and rules.

Sizes are tuples of length 1 to 3 in torch's order (depth, height, width); shapes are (N, C, *spatial). A size may be a
Python int or, for a sweep, a NumPy int64 array.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from convcost.convolution.formula import holds
from convcost.convolution.shape import AXES, Shape, require_at_least
from convcost.text.errors import ShapeError

if TYPE_CHECKING:
    from convcost.convolution.formula import Int
    from convcost.convolution.shape import Sizes

    Pairs: TypeAlias = tuple[tuple[Int, Int], ...]
    Padding: TypeAlias = Pairs | Literal["same"]

__all__ = ["Conv"]


@dataclass(frozen=True, slots=True, init=False)
class Conv:
    """A convolution: the hyper-parameters of torch.nn.ConvNd under torch's names.

    Two things torch does not have: the padding of an axis is (before, after) or "same" (TensorFlow's SAME: output
    ceil(n / stride), the odd pixel at the end), and `tied` makes all groups share one bank of filters.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: K, or a tuple of 1 to 3 sizes. A plain K means a square 2-D kernel, as in nn.Conv2d.
        stride: one size for all axes, or one for each.
        padding: a size for all axes, a size or a (before, after) pair for each, "same" or "valid".
        dilation: one size for all axes, or one for each.
        groups: must divide both channel counts.
        bias: whether each output channel (each filter of a tied bank) has one.
        transposed: nn.ConvTransposeNd.
        output_padding: of a transposed convolution, one size for all axes or one for each.
        tied: all groups share one filter bank, of weight shape (O / groups, C / groups, *kernel_size).

    Raises:
        ShapeError: a size below its least value, channels that the groups do not divide, "same" with `transposed`.
    """

    in_channels: Int
    out_channels: Int
    kernel_size: Sizes
    stride: Sizes
    padding: Padding
    dilation: Sizes
    groups: Int
    bias: bool
    transposed: bool
    output_padding: Sizes
    tied: bool

    def __init__(  # noqa: PLR0913, PLR0917 - torch's own argument list
        self,
        in_channels: Int,
        out_channels: Int,
        kernel_size: Int | Sizes,
        stride: Int | Sizes = 1,
        padding: Int | Sizes | Pairs | Literal["same", "valid"] = 0,
        dilation: Int | Sizes = 1,
        groups: Int = 1,
        bias: bool = False,  # noqa: FBT001, FBT002 - torch's own argument
        *,
        transposed: bool = False,
        output_padding: Int | Sizes = 0,
        tied: bool = False,
    ) -> None:
        kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
        rank = len(kernel)
        values = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel,
            "stride": _per_axis("stride", stride, rank),
            "padding": _pairs(padding, rank),
            "dilation": _per_axis("dilation", dilation, rank),
            "groups": groups,
            "bias": bias,
            "transposed": transposed,
            "output_padding": _per_axis("output_padding", output_padding, rank),
            "tied": tied,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        if len(self.kernel_size) not in AXES:
            msg = f"kernel_size (={self.kernel_size}) must have 1 to 3 sizes; give one for each spatial axis."
            raise ShapeError(msg)
        require_at_least(1, in_channels=self.in_channels, out_channels=self.out_channels, groups=self.groups)
        for name in ("kernel_size", "stride", "dilation"):
            for size in getattr(self, name):
                require_at_least(1, **{name: size})
        for name in ("in_channels", "out_channels"):
            channels = getattr(self, name)
            if not holds(channels % self.groups == 0):
                msg = f"{name} (={channels}) must be divisible by groups (={self.groups})."
                raise ShapeError(msg)
        self._check_output_padding()
        self._check_padding()

    def _check_output_padding(self) -> None:
        for size, stride, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            require_at_least(0, output_padding=size)
            if not holds((size == 0) | ((size < stride) | (size < dilation)) & self.transposed):
                msg = (
                    f"output_padding (={size}) must be 0, or below stride (={stride}) or dilation (={dilation}) of a "
                    "transposed convolution; give a smaller number."
                )
                raise ShapeError(msg)

    def _check_padding(self) -> None:
        if self.padding == "same":
            if self.transposed:
                msg = "padding (=same) is not defined for a transposed convolution; give (before, after) sizes."
                raise ShapeError(msg)
            return
        for before, after in self.padding:
            require_at_least(0, padding=before)
            require_at_least(0, padding=after)
            if self.transposed and not holds(before == after):
                msg = f"padding (={before}, {after}) of a transposed convolution must be the same on both sides."
                raise ShapeError(msg)

    def explicit_padding(self, spatial: Sizes) -> Pairs:
        """The (before, after) padding of each axis for an input of these sizes, with "same" worked out.

        Source: TensorFlow's SAME: total max((out - 1)·s + d·(k - 1) + 1 - n, 0), the odd pixel at the end.

        Raises:
            ShapeError: the number of axes does not match.
        """
        if len(spatial) != len(self.kernel_size):
            axes = len(self.kernel_size)
            msg = f"the input has {len(spatial)} spatial sizes and kernel_size has {axes}; give as many."
            raise ShapeError(msg)
        if self.padding != "same":
            return self.padding
        pairs = []
        for n, k, s, d in zip(spatial, self.kernel_size, self.stride, self.dilation, strict=True):
            wanted = ((n + s - 1) // s - 1) * s + d * (k - 1) + 1 - n
            total = wanted * (wanted > 0)
            pairs.append((total // 2, total - total // 2))
        return tuple(pairs)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that this convolution makes of `shape`.

        Raises:
            ShapeError: the channels or the number of axes do not match, or the kernel is larger than the padded input.
        """
        if not holds(shape.channels == self.in_channels):
            msg = f"the input has {shape.channels} channels and in_channels is {self.in_channels}; make them equal."
            raise ShapeError(msg)
        pads = self.explicit_padding(shape.spatial)
        spatial = tuple(self._output_size(axis, n, pads[axis]) for axis, n in enumerate(shape.spatial))
        return Shape(shape.batch, self.out_channels, spatial)

    def _output_size(self, axis: int, n: Int, pad: tuple[Int, Int]) -> Int:
        k, s, d = self.kernel_size[axis], self.stride[axis], self.dilation[axis]
        reach = d * (k - 1) + 1
        if self.transposed:
            size = (n - 1) * s - pad[0] - pad[1] + reach + self.output_padding[axis]
            require_at_least(1, **{f"output {AXES[len(self.kernel_size)][axis]}": size})
        else:
            padded = n + pad[0] + pad[1]
            if not holds(reach <= padded):
                name = AXES[len(self.kernel_size)][axis]
                msg = (
                    f"kernel_size (={k}, over {reach} with dilation {d}) must be at most the padded input {name} "
                    f"(={padded}); take a smaller kernel or more padding."
                )
                raise ShapeError(msg)
            size = (padded - reach) // s + 1
        return n if isinstance(n, int) and size == n else size


def with_padding(conv: Conv, padding: Pairs) -> Conv:
    """The same convolution with this padding."""
    return replace(conv, padding=padding)


def _per_axis(name: str, value: Int | Sizes, rank: int) -> Sizes:
    if not isinstance(value, tuple):
        return (value,) * rank
    if len(value) != rank:
        msg = f"{name} (={value}) must have {rank} sizes, one for each axis of the kernel."
        raise ShapeError(msg)
    return value


def _pairs(padding: Int | Sizes | Pairs | Literal["same", "valid"], rank: int) -> Padding:
    if isinstance(padding, str):
        if padding not in {"same", "valid"}:
            msg = f"padding (={padding}) must be same, valid, a size, or a size for each axis."
            raise ShapeError(msg)
        return "same" if padding == "same" else ((0, 0),) * rank
    sizes = padding if isinstance(padding, tuple) else (padding,) * rank
    if len(sizes) != rank:
        msg = f"padding (={padding}) must have {rank} sizes, one for each axis of the kernel."
        raise ShapeError(msg)
    return tuple(size if isinstance(size, tuple) else (size, size) for size in sizes)

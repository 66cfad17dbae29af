"""A convolution: `Conv`, a frozen value with torch's names and rules.

Sizes are tuples of length 1 to 3 in torch's order (depth, height, width). A size may be a Python int or, for a sweep, a
NumPy int64 array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from convcost.convolution.formula import holds
from convcost.convolution.shape import AXES, Shape, require_at_least
from convcost.text.errors import ShapeError, as_text

if TYPE_CHECKING:
    from convcost.convolution.formula import Int
    from convcost.convolution.shape import Sizes

    Pairs: TypeAlias = tuple[tuple[Int, Int], ...]
    Padding: TypeAlias = Pairs | Literal["same"]

Size = TypeVar("Size")


@dataclass(frozen=True, slots=True, init=False)
class Conv:
    """A convolution with the hyper-parameters of torch.nn.ConvNd.

    Torch lacks two of its features: padding that differs between both sides of an axis, as in TensorFlow's SAME
    (output ceil(n / stride), the odd pixel at the end), and groups that share one bank of filters (`tied`).

    Args:
        in_channels: Input channels, C.
        out_channels: Output channels, O.
        kernel_size: 1 to 3 sizes; one plain K is a square 2-D kernel, as in nn.Conv2d.
        stride: One size for all axes, or one for each.
        padding: One size for all axes, a size or a (before, after) pair for each, "same" or "valid".
        dilation: One size for all axes, or one for each.
        groups: Number of groups, which must divide both channel counts.
        bias: Whether each output channel (each filter of a tied bank) has a bias.
        transposed: Whether it is an nn.ConvTransposeNd.
        output_padding: One size for all axes of a transposed convolution, or one for each.
        tied: Whether all groups share one filter bank, of weight shape (O / groups, C / groups, *kernel_size).

    Raises:
        ShapeError: A size is too small, the groups do not divide the channels, or "same" is used with `transposed`.
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
        bias: bool = False,  # noqa: FBT001, FBT002 - positional in torch too
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
        names = ("in_channels", "out_channels", "groups", "kernel_size", "stride", "dilation")
        require_at_least(1, **{name: getattr(self, name) for name in names})
        require_at_least(0, output_padding=self.output_padding)
        for name, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if not holds(channels % self.groups == 0):
                raise ShapeError(f"{name} (={channels}) must be divisible by groups (={self.groups}).")
        for size, stride, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if not holds((size == 0) | ((size < stride) | (size < dilation)) & self.transposed):
                raise ShapeError(
                    f"output_padding (={size}) must be 0, or below stride (={stride}) or dilation (={dilation}) of a "
                    "transposed convolution; give a smaller number."
                )
        if self.padding == "same" and self.transposed:
            raise ShapeError("padding (=same) is not defined for a transposed convolution; give (before, after) sizes.")
        for before, after in () if self.padding == "same" else self.padding:
            require_at_least(0, padding=(before, after))
            if self.transposed and not holds(before == after):
                msg = f"padding (={before}, {after}) of a transposed convolution must be the same on both sides."
                raise ShapeError(msg)

    def explicit_padding(self, spatial: Sizes) -> Pairs:
        """The (before, after) padding of each axis for an input of these sizes, with "same" resolved.

        TensorFlow's SAME pads max((out - 1)·s + d·(k - 1) + 1 - n, 0) in total, the odd pixel at the end.

        Raises:
            ShapeError: The number of axes does not match.
        """
        if len(spatial) != len(self.kernel_size):
            axes = len(self.kernel_size)
            raise ShapeError(f"the input has {len(spatial)} spatial sizes and kernel_size has {axes}; give as many.")
        if self.padding != "same":
            return self.padding
        pairs = []
        for n, k, s, d in zip(spatial, self.kernel_size, self.stride, self.dilation, strict=True):
            missing = ((n + s - 1) // s - 1) * s + d * (k - 1) + 1 - n
            total = missing * (missing > 0)
            pairs.append((total // 2, total - total // 2))
        return tuple(pairs)

    def output_shape(self, shape: Shape) -> Shape:
        """The output shape for an input of this shape.

        Raises:
            ShapeError: The channels or the number of axes do not match, or the kernel is larger than the padded input.
        """
        if not holds(shape.channels == self.in_channels):
            msg = f"the input has {shape.channels} channels and in_channels is {self.in_channels}; make them equal."
            raise ShapeError(msg)
        pads = self.explicit_padding(shape.spatial)
        spatial = tuple(self._output_size(axis, n, pads[axis]) for axis, n in enumerate(shape.spatial))
        return Shape(shape.batch, self.out_channels, spatial)

    def _output_size(self, axis: int, n: Int, pad: tuple[Int, Int]) -> Int:
        k, s, d = self.kernel_size[axis], self.stride[axis], self.dilation[axis]
        name, reach = AXES[len(self.kernel_size)][axis], d * (k - 1) + 1
        if self.transposed:
            size = (n - 1) * s - pad[0] - pad[1] + reach + self.output_padding[axis]
            require_at_least(1, **{f"output {name}": size})
        else:
            padded = n + pad[0] + pad[1]
            if not holds(reach <= padded):
                raise ShapeError(
                    f"kernel_size (={k}, over {reach} with dilation {d}) must be at most the padded input {name} "
                    f"(={padded}); take a smaller kernel or more padding."
                )
            size = (padded - reach) // s + 1
        # A `Symbol` of the same size keeps its name.
        return n if isinstance(n, int) and isinstance(size, int) and size == n else size


def _per_axis(name: str, value: Size | tuple[Size, ...], rank: int) -> tuple[Size, ...]:
    if not isinstance(value, tuple):
        return (value,) * rank
    if len(value) != rank:
        raise ShapeError(f"{name} (={as_text(value)}) must have {rank} sizes, one for each axis of the kernel.")
    return value


def _pairs(padding: Int | Sizes | Pairs | Literal["same", "valid"], rank: int) -> Padding:
    if isinstance(padding, str):
        if padding not in {"same", "valid"}:
            raise ShapeError(f"padding (={padding}) must be same, valid, a size, or a size for each axis.")
        return "same" if padding == "same" else ((0, 0),) * rank
    sizes: tuple[Int | tuple[Int, Int], ...] = _per_axis("padding", padding, rank)
    return tuple(size if isinstance(size, tuple) else (size, size) for size in sizes)

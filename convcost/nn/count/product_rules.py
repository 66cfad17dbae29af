"""Shape rules of convolutions and matrix products; see `shape_rules`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.nn.build.conv_module import per_axis
from convcost.nn.count.layouts import broadcast
from convcost.nn.count.rule_table import Rules, empty, float_dtype, number_dtype, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

RULES: Final = Rules()


@lru_cache(maxsize=4096)
def _convolved(
    sizes: tuple[int, ...],
    weight: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    transposed: bool,
    output_padding: tuple[int, ...],
    groups: int,
) -> tuple[int, ...]:
    """The output sizes of a convolution."""
    axes = len(weight) - 2
    sure(len(sizes) == len(weight), all(len(one) in {1, axes} for one in (stride, padding, dilation, output_padding)))
    conv = Conv(
        weight[0] if transposed else weight[1] * groups,
        weight[1] * groups if transposed else weight[0],
        weight[2:],
        per_axis(stride, axes),
        per_axis(padding, axes),
        per_axis(dilation, axes),
        groups,
        transposed=transposed,
        output_padding=per_axis(output_padding, axes) if transposed else 0,
    )
    return tuple(conv.output_shape(Shape(sizes[0], sizes[1], sizes[2:])).sizes)


@RULES.add("convolution", "_convolution")
def _convolution(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *_: bool,
) -> Tensor:
    dtype = float_dtype(data, weight, bias)
    sizes = _convolved(
        tuple(data.shape), tuple(weight.shape), tuple(stride), tuple(padding), tuple(dilation),
        transposed, tuple(output_padding), groups,
    )  # fmt: skip
    sure(bias is None or tuple(bias.shape) == (sizes[1],))
    return empty(sizes, dtype)


@RULES.add("mm")
def _mm(one: Tensor, other: Tensor) -> Tensor:
    sure(one.dim() == 2, other.dim() == 2, one.shape[1] == other.shape[0])
    return empty((one.shape[0], other.shape[1]), number_dtype(one, other))


@RULES.add("bmm")
def _bmm(one: Tensor, other: Tensor) -> Tensor:
    sure(one.dim() == 3, other.dim() == 3, one.shape[0] == other.shape[0], one.shape[2] == other.shape[1])
    return empty((*one.shape[:2], other.shape[2]), number_dtype(one, other))


@RULES.add("addmm")
def _addmm(added: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _plus(_mm(one, other), added, beta, alpha)


@RULES.add("baddbmm")
def _baddbmm(added: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _plus(_bmm(one, other), added, beta, alpha)


def _plus(product: Tensor, added: Tensor, *scales: float) -> Tensor:
    number_dtype(product, added)
    sure(all(isinstance(scale, (int, float)) for scale in scales))
    sure(broadcast(tuple(product.shape), tuple(added.shape)) == tuple(product.shape))
    return product


@RULES.add("mv")
def _mv(one: Tensor, other: Tensor) -> Tensor:
    sure(one.dim() == 2, other.dim() == 1, one.shape[1] == other.shape[0])
    return empty((one.shape[0],), number_dtype(one, other))


@RULES.add("addmv")
def _addmv(added: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _plus(_mv(one, other), added, beta, alpha)


@RULES.add("dot", "vdot")
def _dot(one: Tensor, other: Tensor) -> Tensor:
    sure(one.dim() == 1, one.shape == other.shape)
    return empty((), number_dtype(one, other))


@RULES.add("_trilinear")
def _trilinear(
    one: Tensor,
    two: Tensor,
    three: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Tensor:
    """The product of three tensors with axes of size 1 put in, summed over some axes."""
    del unroll_dim
    whole: dict[int, int] = {}
    for tensor, expand in ((one, expand1), (two, expand2), (three, expand3)):
        axes = [axis for axis in range(tensor.dim() + len(expand)) if axis not in expand]
        for axis, size in zip(axes, tensor.shape, strict=True):
            sure(whole.setdefault(axis, size) == size)
    sure(sorted(whole) == list(range(len(whole))))
    return empty([whole[axis] for axis in sorted(whole) if axis not in sumdim], float_dtype(one, two, three))

"""Shape rules of arithmetic: elementwise operators and products; see `shape_rules`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.nn.build.conv_module import per_axis
from convcost.nn.count.layouts import broadcast, is_in_order
from convcost.nn.count.rule_table import Rules, empty, float_dtype, may_write, spread, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES: Final = Rules()
_COMPARISONS: Final = ("eq", "ne", "lt", "le", "gt", "ge")
_WHOLE: Final = frozenset({torch.int32, torch.int64})


# Elementwise operators

_UNARY: Final = (
    *("relu", "sigmoid", "tanh", "silu", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "gelu", "mish"),
    *("softplus", "celu", "selu", "sqrt", "rsqrt", "exp", "log", "neg", "abs", "sin", "cos", "erf", "square"),
    *("reciprocal", "floor", "ceil", "round", "clamp", "softshrink", "log1p"),
    *("exp2", "log2", "erfinv", "expm1", "sign", "trunc"),
    *("tan", "asin", "acos", "atan", "sinh", "cosh", "erfc", "nan_to_num"),
)
"""Operators of one tensor, whose result has its layout."""
_IN_PLACE: Final = ("fill_", "add_", "sub_", "mul_", "div_", "pow_")
"""Operators in place with a number."""


@RULES.add(*_UNARY, "pow.Tensor_Scalar", "rsub.Scalar", "add.Scalar", "sub.Scalar", "mul.Scalar", "div.Scalar")
@RULES.add("remainder.Scalar", "fmod.Scalar")
def _unary(data: Tensor, *_: Any, **__: Any) -> Tensor:
    return spread(float_dtype(data), data)


@RULES.add(*(f"{name}_" for name in _UNARY))
@RULES.add(*(f"{name}.Scalar" for name in _IN_PLACE))
@RULES.add("relu6_", "clamp_min_", "clamp_max_", "threshold_", "zero_", "normal_", "uniform_", "exponential_")
def _unary_in_place(data: Tensor, *_: Any, **__: Any) -> Tensor:
    float_dtype(data)
    return may_write(data)


@RULES.add("relu6", "clamp_min", "clamp_max", "hardshrink", "threshold")
def _unary_of_contiguous(data: Tensor, *_: Any, **__: Any) -> Tensor:
    sure(is_in_order(data), data.dim() > 1)
    return empty(data.shape, float_dtype(data))


@RULES.add("log_sigmoid_forward")
def _log_sigmoid(data: Tensor) -> tuple[Tensor, Tensor]:
    return _unary_of_contiguous(data), _unary_of_contiguous(data)


@RULES.add("triu", "tril")
def _triangle(data: Tensor, diagonal: int = 0) -> Tensor:
    del diagonal
    sure(is_in_order(data), data.dim() > 1)
    return empty(data.shape, data.dtype)


@RULES.add("pow.Scalar")
def _power_of_number(base: float, exponent: Tensor) -> Tensor:
    return _binary(exponent, base)


@RULES.add("polar", "complex")
def _complex(one: Tensor, other: Tensor) -> Tensor:
    dtype = float_dtype(one, other)
    sure(dtype in {torch.float32, torch.float64}, is_in_order(one), is_in_order(other))
    return spread(dtype.to_complex(), one, other)


@RULES.add("isnan")
def _is_not_a_number(data: Tensor) -> Tensor:
    float_dtype(data)
    return spread(torch.bool, data)


@RULES.add("logical_not", "bitwise_not")
def _inverted(data: Tensor) -> Tensor:
    sure(data.dtype == torch.bool)
    return spread(torch.bool, data)


@RULES.add("bitwise_and.Tensor", "bitwise_or.Tensor", "bitwise_xor.Tensor", "logical_and", "logical_or")
def _both(data: Tensor, other: Tensor) -> Tensor:
    sure(data.dtype == torch.bool, other.dtype == torch.bool)
    return spread(torch.bool, data, other)


@RULES.add("clamp_min_.Tensor")
def _at_least(data: Tensor, other: Tensor) -> Tensor:
    float_dtype(data, other)
    return may_write(data, other)


def _arithmetic_dtype(data: Tensor, other: Any, alpha: Any = 1) -> torch.dtype:
    sure(isinstance(alpha, (int, float)), isinstance(other, (Tensor, int, float)))
    dtype = data.dtype
    if not isinstance(other, Tensor) or other.dtype != dtype:
        dtype = torch.result_type(data, other)
    sure(dtype.is_floating_point or (dtype in _WHOLE and alpha == 1))
    return dtype


@RULES.add("add.Tensor", "sub.Tensor", "mul.Tensor")
def _binary(data: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    dtype = _arithmetic_dtype(data, other, alpha)
    sure(
        alpha == 1 or (is_in_order(data) and is_in_order(other))
    )  # torch scales first, which may order the axes in another way
    return spread(dtype, data, *((other,) if isinstance(other, Tensor) else ()))


@RULES.add("maximum", "minimum")
def _extremum(data: Tensor, other: Tensor) -> Tensor:
    return spread(_arithmetic_dtype(data, other), data, other)


@RULES.add("atan2", "hypot")
def _float_binary(data: Tensor, other: Tensor) -> Tensor:
    return spread(float_dtype(data, other), data, other)


@RULES.add("xlogy.Tensor")
def _x_log_y(data: Tensor, other: Tensor) -> Tensor:
    sure(is_in_order(data), is_in_order(other))
    return spread(float_dtype(data, other), data, other)


@RULES.add("div.Tensor")
def _quotient(data: Tensor, other: Any) -> Tensor:
    sure(isinstance(other, (Tensor, int, float)))
    dtype = torch.result_type(data, other)
    if dtype.is_floating_point:
        return _binary(data, other)
    sure(dtype in _WHOLE)
    return spread(torch.get_default_dtype(), data, *((other,) if isinstance(other, Tensor) else ()))


@RULES.add("add_.Tensor", "sub_.Tensor", "mul_.Tensor", "div_.Tensor")
def _binary_in_place(data: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    dtype = _arithmetic_dtype(data, other, alpha)
    sure(dtype == data.dtype, dtype.is_floating_point)
    return may_write(data, other)


@RULES.add("copy_")
def _copy(data: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    del non_blocking
    float_dtype(data, source)
    return may_write(data, source)


@RULES.add(*(f"{name}.Tensor" for name in _COMPARISONS))
def _comparison(data: Tensor, other: Tensor) -> Tensor:
    _arithmetic_dtype(data, other)
    sure(data.dtype == other.dtype or (is_in_order(data) and is_in_order(other)))  # one is copied first
    return spread(torch.bool, data, other)


@RULES.add(*(f"{name}.Scalar" for name in _COMPARISONS))
def _comparison_with_scalar(data: Tensor, other: float) -> Tensor:
    _arithmetic_dtype(data, other)
    return spread(torch.bool, data)


@RULES.add("where.self")
def _where(condition: Tensor, data: Tensor, other: Tensor) -> Tensor:
    sure(condition.dtype == torch.bool)
    return spread(float_dtype(data, other), condition, data, other)


@RULES.add("addcmul", "addcdiv")
def _three(data: Tensor, one: Tensor, other: Tensor, *, value: float = 1) -> Tensor:
    sure(isinstance(value, (int, float)))
    return spread(float_dtype(data, one, other), data, one, other)


@RULES.add("_prelu_kernel")
def _prelu(data: Tensor, weight: Tensor) -> Tensor:
    sure(is_in_order(data), is_in_order(weight))
    return spread(float_dtype(data, weight), data, weight)


# Products


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
    return empty((one.shape[0], other.shape[1]), float_dtype(one, other))


@RULES.add("bmm")
def _bmm(one: Tensor, other: Tensor) -> Tensor:
    sure(one.dim() == 3, other.dim() == 3, one.shape[0] == other.shape[0], one.shape[2] == other.shape[1])
    return empty((*one.shape[:2], other.shape[2]), float_dtype(one, other))


@RULES.add("addmm")
def _addmm(added: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _plus(_mm(one, other), added, beta, alpha)


@RULES.add("baddbmm")
def _baddbmm(added: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _plus(_bmm(one, other), added, beta, alpha)


def _plus(product: Tensor, added: Tensor, *scales: float) -> Tensor:
    float_dtype(product, added)
    sure(all(isinstance(scale, (int, float)) for scale in scales))
    sure(broadcast(tuple(product.shape), tuple(added.shape)) == tuple(product.shape))
    return product


@RULES.add("mv")
def _mv(one: Tensor, other: Tensor) -> Tensor:
    sure(one.dim() == 2, other.dim() == 1, one.shape[1] == other.shape[0])
    return empty((one.shape[0],), float_dtype(one, other))


@RULES.add("dot", "vdot")
def _dot(one: Tensor, other: Tensor) -> Tensor:
    sure(one.dim() == 1, one.shape == other.shape)
    return empty((), float_dtype(one, other))


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

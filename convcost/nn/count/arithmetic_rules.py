"""Shape rules of elementwise operators; see `shape_rules`."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from convcost.nn.count.layouts import is_in_order
from convcost.nn.count.rule_table import Rules, empty, float_dtype, may_write, number_dtype, one_dtype, spread, sure

RULES: Final = Rules()
_COMPARISONS: Final = ("eq", "ne", "lt", "le", "gt", "ge")
_WHOLE: Final = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})


_UNARY: Final = (
    *("relu", "silu", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "mish"),
    *("softplus", "celu", "selu", "erf", "floor", "ceil", "round", "log1p", "logit", "frac"),
    *("exp2", "log2", "log10", "erfinv", "expm1", "sign", "trunc", "asin", "acos", "atan", "erfc", "nan_to_num"),
    *("sinc", "lgamma", "digamma", "deg2rad", "rad2deg"),
)
"""Operators of one real tensor, whose result has its layout."""
_UNARY_OF_COMPLEX: Final = (
    *("neg", "exp", "log", "sqrt", "rsqrt", "reciprocal", "square", "sin", "cos", "tan", "sinh", "cosh", "sgn"),
    *("tanh", "sigmoid"),
)
"""The same of real or complex ones."""
_GELUS: Final = ("none", "tanh")
"""Ways to compute a GELU."""
_IN_PLACE: Final = ("fill_", "add_", "sub_", "mul_", "div_", "pow_")
"""Operators in place with a number."""


@RULES.add(*_UNARY, "round.decimals")
def _unary(data: Tensor, *others: Any, **_: Any) -> Tensor:
    sure(complex not in map(type, others))
    return spread(float_dtype(data), data)


@RULES.add(*_UNARY_OF_COMPLEX)
def _unary_of_complex(data: Tensor) -> Tensor:
    return spread(number_dtype(data), data)


@RULES.add("abs", "angle")
def _size_or_angle(data: Tensor) -> Tensor:
    return spread(number_dtype(data).to_real(), data)


@RULES.add(*(f"{name}_" for name in (*_UNARY, *_UNARY_OF_COMPLEX, "abs")))
@RULES.add(*(f"{name}.Scalar" for name in _IN_PLACE))
@RULES.add("relu6_", "clamp_min_", "clamp_max_", "threshold_", "zero_", "uniform_")
def _unary_in_place(data: Tensor, *others: Any, **_: Any) -> Tensor:
    sure(complex not in map(type, others))
    float_dtype(data)
    return may_write(data)


@RULES.add("gelu")
def _gelu(data: Tensor, *, approximate: str = "none") -> Tensor:
    sure(approximate in _GELUS)
    return _unary(data)


@RULES.add("gelu_")
def _gelu_in_place(data: Tensor, *, approximate: str = "none") -> Tensor:
    sure(approximate in _GELUS)
    return _unary_in_place(data)


@RULES.add("softshrink")
def _softshrink(data: Tensor, lambd: float = 0.5) -> Tensor:
    sure(lambd >= 0)
    return _unary(data)


@RULES.add("clamp")
def _clamp(data: Tensor, *bounds: float | None, **named: float | None) -> Tensor:
    sure(not {None}.issuperset((*bounds, *named.values())))
    return _unary(data, *bounds, *named.values())


@RULES.add("clamp_")
def _clamp_in_place(data: Tensor, *bounds: float | None, **named: float | None) -> Tensor:
    sure(not {None}.issuperset((*bounds, *named.values())))
    return _unary_in_place(data, *bounds, *named.values())


@RULES.add("normal_")
def _normal(data: Tensor, mean: float = 0, std: float = 1, **_: Any) -> Tensor:
    sure(std >= 0)
    return _unary_in_place(data, mean)


@RULES.add("exponential_")
def _exponential(data: Tensor, lambd: float = 1, **_: Any) -> Tensor:
    sure(lambd > 0)
    return _unary_in_place(data)


@RULES.add("relu6", "clamp_min", "clamp_max", "hardshrink", "threshold")
def _unary_of_contiguous(data: Tensor, *others: Any, **_: Any) -> Tensor:
    sure(complex not in map(type, others), is_in_order(data), data.dim() > 1)
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


@RULES.add("isnan", "isinf")
def _is_not_a_number(data: Tensor) -> Tensor:
    float_dtype(data)
    return spread(torch.bool, data)


@RULES.add("logical_not", "bitwise_not")
def _inverted(data: Tensor) -> Tensor:
    sure(data.dtype == torch.bool)
    return spread(torch.bool, data)


@RULES.add("bitwise_and.Tensor", "bitwise_or.Tensor", "bitwise_xor.Tensor")
def _bits(data: Tensor, other: Tensor) -> Tensor:
    dtype = one_dtype(data, other)
    sure(dtype == torch.bool or dtype in _WHOLE)
    return spread(dtype, data, other)


@RULES.add("bitwise_and.Scalar", "bitwise_or.Scalar", "bitwise_xor.Scalar", "__lshift__.Scalar", "__rshift__.Scalar")
def _bits_with_number(data: Tensor, other: int) -> Tensor:
    sure(data.dtype in _WHOLE, type(other) is int)
    return spread(data.dtype, data)


@RULES.add("logical_and", "logical_or", "logical_xor")
def _both(data: Tensor, other: Tensor) -> Tensor:
    sure(data.dtype == torch.bool, other.dtype == torch.bool)
    return spread(torch.bool, data, other)


@RULES.add("clamp_min_.Tensor")
def _at_least(data: Tensor, other: Tensor) -> Tensor:
    float_dtype(data, other)
    return may_write(data, other)


def _arithmetic_dtype(data: Tensor, other: Any, alpha: Any = 1) -> torch.dtype:
    sure(isinstance(alpha, (int, float)), isinstance(other, (Tensor, int, float, complex)))
    dtype = data.dtype
    if not isinstance(other, Tensor) or other.dtype != dtype:
        dtype = torch.result_type(data, other)
    sure(dtype.is_floating_point or dtype.is_complex or (dtype in _WHOLE and alpha == 1))
    return dtype


@RULES.add("add.Tensor", "sub.Tensor", "add.Scalar", "sub.Scalar", "mul.Scalar", "rsub.Scalar")
def _binary(data: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    dtype = _arithmetic_dtype(data, other, alpha)
    operands = _tensors(data, other)
    is_copied = alpha != 1 or (dtype.is_complex and len({one.dtype for one in operands}) > 1)
    return (_spread_copies if is_copied else spread)(dtype, *operands)


def _tensors(*values: Any) -> list[Tensor]:
    return [value for value in values if isinstance(value, Tensor)]


def _spread_copies(dtype: torch.dtype, *operands: Tensor) -> Tensor:
    """The result of an operator that first scales or copies an operand, which may order its axes in another way."""
    sure(all(map(is_in_order, operands)))
    return spread(dtype, *operands)


@RULES.add("mul.Tensor")
def _product(data: Tensor, other: Any) -> Tensor:
    if isinstance(other, Tensor) and data.dtype == other.dtype == torch.bool:
        return spread(torch.bool, data, other)
    return _binary(data, other)


@RULES.add("maximum", "minimum", "remainder.Tensor", "fmod.Tensor", "pow.Tensor_Tensor")
def _of_real(data: Tensor, other: Tensor) -> Tensor:
    dtype = _arithmetic_dtype(data, other)
    sure(not dtype.is_complex)
    return spread(dtype, data, other)


@RULES.add("remainder.Scalar", "fmod.Scalar")
def _of_real_and_number(data: Tensor, other: float) -> Tensor:
    dtype = _arithmetic_dtype(data, other)
    sure(not dtype.is_complex)
    return spread(dtype, data)


@RULES.add("floor_divide", "floor_divide.Scalar")
def _whole_quotient(data: Tensor, other: Any) -> Tensor:
    dtype = _arithmetic_dtype(data, other)
    sure(not dtype.is_complex)
    return _spread_copies(dtype, *_tensors(data, other))


@RULES.add("pow.Tensor_Scalar")
def _power(data: Tensor, exponent: float) -> Tensor:
    sure(data.dtype.is_floating_point or exponent >= 0)
    return _binary(data, exponent)


@RULES.add("lerp.Scalar", "lerp.Tensor")
def _between(data: Tensor, end: Tensor, weight: Any) -> Tensor:
    between = _tensors(data, end, weight)
    return spread(float_dtype(*between), *between)


@RULES.add("clamp.Tensor")
def _clamped(data: Tensor, least: Tensor | None = None, most: Tensor | None = None) -> Tensor:
    operands = _tensors(data, least, most)
    sure(len(operands) > 1)
    return _spread_copies(float_dtype(*operands), *operands)


@RULES.add("atan2", "hypot", "fmax", "fmin")
def _float_binary(data: Tensor, other: Tensor) -> Tensor:
    return spread(float_dtype(data, other), data, other)


@RULES.add("xlogy.Tensor", "logaddexp", "heaviside", "copysign.Tensor")
def _x_log_y(data: Tensor, other: Tensor) -> Tensor:
    return _spread_copies(float_dtype(data, other), data, other)


@RULES.add("div.Tensor", "div.Scalar")
def _quotient(data: Tensor, other: Any) -> Tensor:
    dtype = torch.result_type(data, other)
    if dtype.is_floating_point or dtype.is_complex:
        return _binary(data, other)
    sure(dtype in _WHOLE)
    return spread(torch.get_default_dtype(), *_tensors(data, other))


@RULES.add("div.Tensor_mode", "div.Scalar_mode")
def _rounded_quotient(data: Tensor, other: Any, *, rounding_mode: str | None) -> Tensor:
    sure(rounding_mode in {None, "floor", "trunc"})
    return _whole_quotient(data, other) if rounding_mode else _quotient(data, other)


@RULES.add("add_.Tensor", "sub_.Tensor", "mul_.Tensor", "div_.Tensor")
def _binary_in_place(data: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    dtype = _arithmetic_dtype(data, other, alpha)
    sure(dtype == data.dtype, dtype.is_floating_point or dtype.is_complex)
    return may_write(data, other)


@RULES.add("lerp_.Scalar", "lerp_.Tensor")
def _between_in_place(data: Tensor, end: Tensor, weight: Any) -> Tensor:
    _between(data, end, weight)
    return may_write(data, end, weight)


@RULES.add("copy_")
def _copy(data: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    del non_blocking
    number_dtype(data, source)
    return may_write(data, source)


@RULES.add(*(f"{name}.Tensor" for name in _COMPARISONS))
def _comparison(data: Tensor, other: Tensor) -> Tensor:
    sure(not _arithmetic_dtype(data, other).is_complex)
    return (spread if data.dtype == other.dtype else _spread_copies)(torch.bool, data, other)


@RULES.add(*(f"{name}.Scalar" for name in _COMPARISONS))
def _comparison_with_scalar(data: Tensor, other: float) -> Tensor:
    sure(not _arithmetic_dtype(data, other).is_complex)
    return spread(torch.bool, data)


@RULES.add("where.self")
def _where(condition: Tensor, data: Tensor, other: Tensor) -> Tensor:
    sure(condition.dtype == torch.bool)
    if data.dtype == other.dtype:
        return spread(data.dtype, condition, data, other)
    return _spread_copies(torch.result_type(data, other), condition, data, other)


@RULES.add("addcmul", "addcdiv")
def _three(data: Tensor, one: Tensor, other: Tensor, *, value: float = 1) -> Tensor:
    sure(isinstance(value, (int, float)))
    return spread(float_dtype(data, one, other), data, one, other)


@RULES.add("_prelu_kernel")
def _prelu(data: Tensor, weight: Tensor) -> Tensor:
    sure(is_in_order(data), is_in_order(weight))
    return spread(float_dtype(data, weight), data, weight)

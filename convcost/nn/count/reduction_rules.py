"""Shape rules of reductions, normalisation, distances, losses and Fourier transforms; see `shape_rules`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from convcost.nn.count.layouts import broadcast, is_in_order
from convcost.nn.count.rule_table import Rules, axis_of, empty, float_dtype, number_dtype, spread, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES: Final = Rules()
_HALF_BYTES: Final = 2


# Reductions


def _axes(dim: int | Sequence[int] | None, rank: int) -> set[int]:
    """The reduced axes; none given are all."""
    given = (dim,) if isinstance(dim, int) else tuple(dim or range(rank))
    axes = {axis_of(axis, rank) for axis in given}
    sure(rank > 0, len(axes) == len(given))
    return axes


def _reduced_to(
    dtype: torch.dtype,
    data: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
) -> Tensor:
    axes = _axes(dim, data.dim())
    return empty([1 if at in axes else n for at, n in enumerate(data.shape) if keepdim or at not in axes], dtype)


@RULES.add("sum.dim_IntList", "sum", "prod.dim_int", "prod")
def _summed(
    data: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    return _reduced_to(dtype or _sum_dtype(data), data, dim, keepdim)


def _sum_dtype(data: Tensor) -> torch.dtype:
    return data.dtype if data.dtype.is_floating_point or data.dtype.is_complex else torch.int64


@RULES.add("mean.dim", "mean")
def _averaged(
    data: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    sure(dtype is None or dtype.is_floating_point)
    return _reduced_to(dtype or number_dtype(data), data, dim, keepdim)


@RULES.add("amax", "amin", "max", "min", "median")
def _picked(data: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    sure(not data.dtype.is_complex)
    return _reduced_to(data.dtype, data, dim, keepdim)


@RULES.add("aminmax")
def _both_extremes(data: Tensor, *, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return _picked(data, dim, keepdim), _picked(data, dim, keepdim)


@RULES.add("var.correction", "std.correction")
def _spread_of(
    data: Tensor,
    dim: int | Sequence[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> Tensor:
    del correction
    return _reduced_to(float_dtype(data), data, dim, keepdim)


@RULES.add("var_mean.correction", "std_mean.correction")
def _spread_and_mean(data: Tensor, dim: Sequence[int] | None = None, **options: Any) -> tuple[Tensor, Tensor]:
    return _spread_of(data, dim, **options), _spread_of(data, dim, **options)


@RULES.add("count_nonzero", "count_nonzero.dim_IntList")
def _counted(data: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    return _reduced_to(torch.int64, data, dim)


@RULES.add("any.dim", "any", "all.dim", "all")
def _truth(data: Tensor, *dim_and_keepdim: Any) -> Tensor:
    sure(data.dtype != torch.uint8)  # whose result is uint8
    return _reduced_to(torch.bool, data, *dim_and_keepdim)


@RULES.add("argmax", "argmin")
def _place(data: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    sure(not data.dtype.is_complex, data.dtype != torch.bool)
    return _reduced_to(torch.int64, data, dim, keepdim)


@RULES.add("logsumexp")
def _logsumexp(data: Tensor, dim: Sequence[int], keepdim: bool = False) -> Tensor:
    sure(len(dim) > 0)
    return _reduced_to(float_dtype(data), data, dim, keepdim)


@RULES.add("max.dim", "min.dim", "median.dim")
def _extreme(data: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return _picked(data, dim, keepdim), _reduced_to(torch.int64, data, dim, keepdim)


@RULES.add("linalg_vector_norm")
def _norm(
    data: Tensor,
    order: float = 2,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
) -> Tensor:
    sure(isinstance(order, (int, float)))
    return _reduced_to(float_dtype(data), data, dim, keepdim)


@RULES.add("norm.ScalarOpt_dim")
def _norm_over(data: Tensor, order: float | None, dim: Sequence[int], keepdim: bool = False) -> Tensor:
    return _norm(data, 2 if order is None else order, dim, keepdim)


@RULES.add("_softmax", "_log_softmax")
def _softmax(data: Tensor, dim: int, half_to_float: bool) -> Tensor:
    sure(not half_to_float)
    return _safe_softmax(data, dim)


@RULES.add("_safe_softmax", "logcumsumexp")
def _safe_softmax(data: Tensor, dim: int) -> Tensor:
    axis_of(dim, data.dim())
    return empty(data.shape, float_dtype(data))


@RULES.add("cumsum", "cumprod")
def _summed_up(data: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    axis_of(dim, data.dim())
    return empty(data.shape, dtype or _sum_dtype(data))


@RULES.add("cummax", "cummin")
def _extremes_up_to(data: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    axis_of(dim, data.dim())
    return empty(data.shape, float_dtype(data)), empty(data.shape, torch.int64)


# Normalisation


@RULES.add("native_batch_norm")
def _batch_norm(
    data: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    del momentum, eps
    dtype = _normed_dtype(data, weight, bias, mean, var)
    sure(data.dim() > 1, 1 not in data.shape or is_in_order(data))
    channels = (data.shape[1],)
    sure(data.numel() > data.shape[1] if training else mean is not None and var is not None)
    sure(all(tensor is None or tensor.shape == channels for tensor in (weight, bias, mean, var)))
    if training:
        return spread(dtype, data), empty(channels, _saved(dtype)), empty(channels, _saved(dtype))
    nothing = empty((0,), _saved(dtype))  # as on the CPU; torch's meta kernel makes mean and variance in both modes
    return spread(dtype, data), nothing, nothing


def _normed_dtype(data: Tensor, *parameters: Tensor | None) -> torch.dtype:
    """The dtype of the data, which may have half the bytes of the parameters, as under autocast."""
    given = [one for one in parameters if one is not None]
    is_mixed = bool(given) and data.dtype.itemsize == _HALF_BYTES and float_dtype(*given) is torch.float32
    return float_dtype(data) if is_mixed else float_dtype(data, *given)


def _saved(dtype: torch.dtype) -> torch.dtype:
    """The dtype of mean and variance."""
    return dtype if dtype.itemsize > _HALF_BYTES else torch.float32


@RULES.add("_native_batch_norm_legit_no_training")
def _batch_norm_in_eval(
    data: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _batch_norm(data, weight, bias, mean, var, False, momentum, eps)


@RULES.add("native_layer_norm")
def _layer_norm(
    data: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    del eps
    dtype, axes = _normed_dtype(data, weight, bias), len(shape)
    sure(
        is_in_order(data) or not data.is_contiguous(),
        0 < axes <= data.dim(),
        tuple(data.shape[data.dim() - axes :]) == tuple(shape),
    )
    sure(all(one is None or (is_in_order(one) and tuple(one.shape) == tuple(shape)) for one in (weight, bias)))
    saved = (*data.shape[: data.dim() - axes], *(1,) * axes)
    return empty(data.shape, dtype), empty(saved, _saved(dtype)), empty(saved, _saved(dtype))


@RULES.add("native_group_norm")
def _group_norm(
    data: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    batch: int,
    channels: int,
    pixels: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    del eps
    dtype = _normed_dtype(data, weight, bias)
    sure(is_in_order(data), data.dim() > 1, tuple(data.shape[:2]) == (batch, channels), groups > 0)
    sure(data.numel() == batch * channels * pixels, channels % groups == 0)
    sure(all(tensor is None or tuple(tensor.shape) == (channels,) for tensor in (weight, bias)))
    given = [one for one in (weight, bias) if one is not None]
    saved = float_dtype(*given) if given else dtype  # as on the CPU; torch's meta kernel takes that of the data
    return spread(dtype, data), empty((batch, groups), saved), empty((batch, groups), saved)


@RULES.add("_weight_norm_interface")
def _weight_norm(direction: Tensor, length: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    dtype = float_dtype(direction, length)
    sure(0 <= dim < direction.dim() > 1)
    norm = empty([n if at == dim else 1 for at, n in enumerate(direction.shape)], _saved(dtype))
    sure(length.shape == norm.shape, dtype.itemsize > _HALF_BYTES)
    return spread(dtype, direction, spread(dtype, length, norm)), norm


# Distances and losses


@RULES.add("_cdist_forward")
def _distances(one: Tensor, other: Tensor, p: float, mode: int | None) -> Tensor:
    sure(one.dim() > 1, other.dim() > 1, one.shape[-1] == other.shape[-1], p >= 0, mode in {None, 0, 1, 2})
    batch = broadcast(tuple(one.shape[:-2]), tuple(other.shape[:-2]))
    sure(batch is not None)
    return empty((*(batch or ()), one.shape[-2], other.shape[-2]), float_dtype(one, other))


@RULES.add("nll_loss_forward", "nll_loss2d_forward")
def _negative_log_likelihood(
    data: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignored: int
) -> tuple[Tensor, Tensor]:
    del ignored
    dtype = float_dtype(data, weight)
    sure(data.dim() in {2, 4}, target.dtype == torch.int64, is_in_order(target))
    sure(target.shape == (data.shape[0], *data.shape[2:]), weight is None or weight.shape == (data.shape[1],))
    return empty(() if reduction else target.shape, dtype), empty((), dtype)


@RULES.add("mse_loss", "smooth_l1_loss", "huber_loss")
def _difference(data: Tensor, target: Tensor, reduction: int = 1, scale: float = 1) -> Tensor:
    sure(scale > 0, reduction > 0 or (is_in_order(data) and is_in_order(target)))
    result = spread(float_dtype(data, target), data, target)
    return empty((), result.dtype) if reduction else result


@RULES.add("soft_margin_loss")
def _soft_margin(data: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return _difference(data, target, reduction)


@RULES.add("binary_cross_entropy")
def _binary_cross_entropy(data: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = 1) -> Tensor:
    return _binary_cross_entropy_with_logits(data, target, weight, None, reduction)


@RULES.add("binary_cross_entropy_with_logits")
def _binary_cross_entropy_with_logits(
    data: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    positive_weight: Tensor | None = None,
    reduction: int = 1,
) -> Tensor:
    weights = [one for one in (weight, positive_weight) if one is not None]
    shape = tuple(data.shape)
    sure(target.shape == shape, all(broadcast(shape, tuple(one.shape)) == shape for one in weights))
    sure(not weights or reduction > 0)
    float_dtype(data, target, *weights)
    return _difference(data, target, reduction)


# Fourier transforms


def _sure_of_last_axes(data: Tensor, dim: Sequence[int]) -> None:
    """Give up unless the last axes of a contiguous tensor are transformed; torch lays others out in ways of its own."""
    axes = sorted(axis_of(axis, data.dim()) for axis in dim)
    sure(is_in_order(data), 1 not in data.shape, axes == list(range(data.dim() - len(axes), data.dim())))
    sure(len(axes) in {1, 2}, data.dim() > len(axes), axis_of(dim[-1], data.dim()) == axes[-1])


@RULES.add("_fft_c2c")
def _fourier(data: Tensor, dim: Sequence[int], normalization: int, forward: bool) -> Tensor:
    del normalization, forward
    sure(data.dtype.is_complex)
    _sure_of_last_axes(data, dim)
    return empty(data.shape, data.dtype)


@RULES.add("_fft_r2c")
def _fourier_of_real(data: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Tensor:
    del normalization
    _sure_of_last_axes(data, dim)
    last = data.shape[-1] // 2 + 1 if onesided else data.shape[-1]
    return empty((*data.shape[:-1], last), float_dtype(data).to_complex())


@RULES.add("_fft_c2r")
def _fourier_to_real(data: Tensor, dim: Sequence[int], normalization: int, size: int) -> Tensor:
    del normalization
    sure(data.dtype.is_complex, size > 0)
    _sure_of_last_axes(data, dim)
    return empty((*data.shape[:-1], size), data.dtype.to_real())

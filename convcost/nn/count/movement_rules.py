"""Shape rules of operators that move or pick elements; see `shape_rules`."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from convcost.nn.count.layouts import broadcast, elementwise_strides, format_strides, is_in_order
from convcost.nn.count.rule_table import INDICES, Rules, axis_of, empty, float_dtype, may_write, one_dtype, spread, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES: Final = Rules()


# Moved elements


@RULES.add("cat")
def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    dtype, shape = reduce(torch.promote_types, [one.dtype for one in tensors]), list(tensors[0].shape)
    axis = axis_of(dim, len(shape))
    for tensor in tensors:
        sure(tensor.dim() == len(shape))
        sure(all(size == shape[at] for at, size in enumerate(tensor.shape) if at != axis))
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    strides = {format_strides(tensor, shape) for tensor in tensors}
    return empty(shape, dtype, strides.pop() if len(strides) == 1 else None)


@RULES.add("stack")
def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    shape = tuple(tensors[0].shape)
    axis = axis_of(dim, len(shape) + 1)
    sure(all(tuple(tensor.shape) == shape for tensor in tensors))
    if axis == len(shape):
        return _cat([tensor.unsqueeze(axis) for tensor in tensors], axis)
    whole = _cat(tensors, axis)
    sure(is_in_order(whole))
    return empty((*shape[:axis], len(tensors), *shape[axis:]), whole.dtype)


@RULES.add("roll")
def _rolled(data: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    sure(len(shifts) == (len(dims) or 1), all(-data.dim() <= dim < data.dim() for dim in dims))
    return empty(data.shape, data.dtype)


@RULES.add("flip")
def _flipped(data: Tensor, dims: Sequence[int]) -> Tensor:
    sure(len({axis_of(dim, data.dim()) for dim in dims}) == len(dims))
    return spread(float_dtype(data), data)


@RULES.add("repeat")
def _repeated(data: Tensor, repeats: Sequence[int]) -> Tensor:
    added = len(repeats) - data.dim()
    sure(added >= 0, all(times > 0 for times in repeats))
    shape = (*(1,) * added, *data.shape)
    return empty([size * times for size, times in zip(shape, repeats, strict=True)], data.dtype)


@RULES.add("unsafe_split.Tensor")
def _split(data: Tensor, size: int, dim: int = 0) -> list[Tensor]:
    axis_of(dim, data.dim())
    sure(size > 0)
    return list(torch.ops.aten.split.Tensor(data, size, dim))


@RULES.add("glu")
def _gated(data: Tensor, dim: int = -1) -> Tensor:
    axis = axis_of(dim, data.dim())
    sure(data.shape[axis] % 2 == 0, data.is_contiguous())
    half = data.shape[axis] // 2
    halves = (data.narrow(axis, 0, half), data.narrow(axis, half, half))
    return spread(float_dtype(data), *halves)


@RULES.add("diag_embed")
def _diagonals(data: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    sure(data.dim() > 0, is_in_order(data), dim1 == -2, dim2 == -1)
    size = data.shape[-1] + abs(offset)
    return empty((*data.shape[:-1], size, size), data.dtype)


# Elements by index


@RULES.add("index.Tensor")
def _indexed(data: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    given = [index for index in indices if index is not None]
    sure(len(indices) <= data.dim(), bool(axes), all(index.dtype in INDICES for index in given))
    picked = broadcast(*(tuple(index.shape) for index in given))
    sure(picked is not None, picked != () or (is_in_order(data) and 1 not in data.shape))
    first = axes[0] if len(axes) == axes[-1] + 1 - axes[0] else 0  # axes that are not neighbours move to the front
    kept = [axis for axis in range(data.dim()) if axis not in axes]
    shape = (
        *(data.shape[axis] for axis in kept[:first]),
        *(picked or ()),
        *(data.shape[axis] for axis in kept[first:]),
    )
    steps = (*(data.stride(axis) for axis in kept[:first]), *(0 for _ in picked or ()), *map(data.stride, kept[first:]))
    return empty(shape, data.dtype, elementwise_strides(shape, [data.as_strided(shape, steps)]))


@RULES.add("index_put")
def _put(data: Tensor, indices: Sequence[Tensor | None], values: Tensor, *_: bool) -> Tensor:
    place = tuple(_indexed(data, indices).shape)
    sure(broadcast(place, tuple(values.shape)) == place)
    return spread(one_dtype(data, values), data)


@RULES.add("index_add", "index_copy")
def _index_added(data: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    sure(
        isinstance(alpha, (int, float)),
        data.dim() > 0,
        is_in_order(data),
        source.shape == _index_select(data, dim, index).shape,
    )
    return empty(data.shape, float_dtype(data, source))


@RULES.add("index_add_", "index_copy_")
def _index_added_in_place(data: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    _index_added(data, dim, index, source, alpha=alpha)
    return may_write(data)


@RULES.add("index_fill.int_Scalar")
def _index_filled(data: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    sure(isinstance(value, (int, float)), data.dim() > 0, index.dtype == torch.int64)
    _index_select(data, dim, index)
    sure(is_in_order(data))
    return empty(data.shape, float_dtype(data))


@RULES.add("take")
def _taken(data: Tensor, index: Tensor) -> Tensor:
    sure(index.dtype == torch.int64, is_in_order(index))
    return empty(index.shape, data.dtype)


@RULES.add("topk")
def _topk(data: Tensor, k: int, dim: int = -1, *_: bool) -> tuple[Tensor, Tensor]:
    axis, shape = axis_of(dim, data.dim()), list(data.shape)
    sure(0 < k <= shape[axis])
    shape[axis] = k
    sure(not data.dtype.is_complex, data.dtype != torch.bool)
    return empty(shape, data.dtype), empty(shape, torch.int64)


@RULES.add("sort")
def _sorted(data: Tensor, dim: int = -1, *_: bool) -> tuple[Tensor, Tensor]:
    axis_of(dim, data.dim())
    sure(is_in_order(data), not data.dtype.is_complex)
    return empty(data.shape, data.dtype), empty(data.shape, torch.int64)


@RULES.add("sort.stable")
def _sorted_in_order(
    data: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    del stable, descending
    return _sorted(data, dim)


@RULES.add("searchsorted.Tensor")
def _searched(
    data: Tensor, values: Tensor, *, out_int32: bool = False, right: bool = False, side: str | None = None
) -> Tensor:
    del right
    sure(side is None, data.dtype == values.dtype, data.dim() in {1, values.dim()}, is_in_order(values))
    sure(data.dim() == 1 or data.shape[:-1] == values.shape[:-1])
    return empty(values.shape, torch.int32 if out_int32 else torch.int64)


@RULES.add("multinomial")
def _drawn(data: Tensor, samples: int, replacement: bool = False) -> Tensor:
    float_dtype(data)
    sure(data.dim() in {1, 2}, samples > 0, replacement or samples <= data.shape[-1])
    return empty((*data.shape[:-1], samples), torch.int64)


@RULES.add("embedding")
def _embedding(weight: Tensor, indices: Tensor, *_: Any, **__: Any) -> Tensor:
    sure(weight.dim() == 2, indices.dtype in INDICES)
    return empty((*indices.shape, weight.shape[1]), float_dtype(weight))


@RULES.add("index_select")
def _index_select(data: Tensor, dim: int, index: Tensor) -> Tensor:
    axis, shape = axis_of(dim, data.dim()), list(data.shape)
    sure(index.dim() == 1, index.dtype in INDICES)
    shape[axis] = index.shape[0]
    return empty(shape, data.dtype)


@RULES.add("gather")
def _gather(data: Tensor, dim: int, index: Tensor) -> Tensor:
    axis = axis_of(dim, data.dim())
    sure(index.dtype == torch.int64, index.dim() == data.dim())
    sure(all(index.shape[at] <= size for at, size in enumerate(data.shape) if at != axis))
    return empty(index.shape, data.dtype)


@RULES.add("masked_fill.Scalar")
def _masked_fill(data: Tensor, mask: Tensor, value: float) -> Tensor:
    _sure_of_filling(data, mask, value)
    result = spread(data.dtype, mask, data)
    sure(1 not in result.shape or (is_in_order(data) and is_in_order(mask)))
    return empty(result.shape, result.dtype)


def _sure_of_filling(data: Tensor, mask: Tensor, value: float) -> None:
    """Give up unless a value fits the masked elements."""
    sure(mask.dtype == torch.bool, isinstance(value, (int, float)))
    sure(data.dtype.is_floating_point or (data.dtype in INDICES and type(value) is int))


@RULES.add("masked_fill.Tensor")
def _masked_fill_tensor(data: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    sure(value.dim() == 0, value.dtype == data.dtype)
    return _masked_fill(data, mask, 0)


@RULES.add("masked_fill_.Scalar")
def _masked_fill_in_place(data: Tensor, mask: Tensor, value: float) -> Tensor:
    _sure_of_filling(data, mask, value)
    return may_write(data, mask)


@RULES.add("masked_scatter")
def _masked_scatter(data: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    sure(mask.dtype == torch.bool, is_in_order(data), broadcast(tuple(data.shape), tuple(mask.shape)) == data.shape)
    return empty(data.shape, one_dtype(data, source))


@RULES.add("masked_scatter_")
def _masked_scatter_in_place(data: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    _masked_scatter(data, mask, source)
    return may_write(data, mask)


@RULES.add("scatter.value")
def _scattered(data: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    sure(isinstance(value, (int, float)))
    axis = axis_of(dim, data.dim())
    sure(index.dtype == torch.int64, index.dim() == data.dim())
    sure(all(index.shape[at] <= size for at, size in enumerate(data.shape) if at != axis))
    return empty(data.shape, data.dtype)


@RULES.add("scatter.src", "scatter_add")
def _scattered_from(data: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    sure(source.dtype == data.dtype, source.dim() == index.dim())
    sure(all(size <= limit for size, limit in zip(index.shape, source.shape, strict=True)))
    return _scattered(data, dim, index, 0)


@RULES.add("scatter_reduce.two")
def _scatter_reduced(
    data: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    del include_self
    sure(reduce in {"sum", "prod", "mean", "amax", "amin"}, data.dtype.is_floating_point)
    return _scattered_from(data, dim, index, source)


@RULES.add("scatter_reduce_.two")
def _scatter_reduced_in_place(data: Tensor, *args: Any, **options: Any) -> Tensor:
    _scatter_reduced(data, *args, **options)
    return may_write(data)


@RULES.add("scatter_.value")
def _scatter_in_place(data: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    _scattered(data, dim, index, value)
    return may_write(data)


@RULES.add("scatter_.src", "scatter_add_")
def _scatter_in_place_from(data: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    _scattered_from(data, dim, index, source)
    return may_write(data)


@RULES.add("_embedding_bag", "_embedding_bag_forward_only")
def _embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    del scale_grad_by_freq, sparse, padding
    sure(weights is None, not include_last_offset, mode in {0, 1})
    sure(weight.dim() == 2, indices.dim() == 1, offsets.dim() == 1, indices.dtype == offsets.dtype)
    sure(indices.dtype in INDICES)
    out = empty((offsets.shape[0], weight.shape[1]), float_dtype(weight))
    of_each, in_each, largest = (empty(shape, indices.dtype) for shape in (indices.shape, offsets.shape, (0,)))
    return out, of_each, in_each, largest

"""Shape rules of operators that move, pick or make elements; see `shape_rules`."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from convcost.nn.count.layouts import broadcast, format_strides, is_in_order
from convcost.nn.count.rule_table import Rules, axis_of, empty, float_dtype, may_write, spread, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES: Final = Rules()
_INDICES: Final = frozenset({torch.int32, torch.int64})


# Moved elements


@RULES.add("cat")
def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    dtype, shape = float_dtype(*tensors), list(tensors[0].shape)
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
    sure(all(tuple(tensor.shape) == shape and is_in_order(tensor) for tensor in tensors))
    return empty((*shape[:axis], len(tensors), *shape[axis:]), float_dtype(*tensors))


@RULES.add("roll")
def _rolled(data: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    sure(len(shifts) == len(dims) > 0, all(-data.dim() <= dim < data.dim() for dim in dims))
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


# Elements by index


@RULES.add("index.Tensor")
def _indexed(data: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    given = [index for index in indices if index is not None]
    sure(
        is_in_order(data),
        1 not in data.shape,
        len(indices) <= data.dim(),
        bool(axes),
        all(index.dtype in _INDICES for index in given),
    )
    first, last = axes[0], axes[-1] + 1
    sure(len(axes) == last - first)  # indices of axes that are not neighbours move these axes to the front
    picked = broadcast(*(tuple(index.shape) for index in given))
    sure(picked is not None)
    return empty((*data.shape[:first], *(picked or ()), *data.shape[last:]), data.dtype)


@RULES.add("topk")
def _topk(data: Tensor, k: int, dim: int = -1, *_: bool) -> tuple[Tensor, Tensor]:
    axis, shape = axis_of(dim, data.dim()), list(data.shape)
    sure(0 < k <= shape[axis])
    shape[axis] = k
    return empty(shape, float_dtype(data)), empty(shape, torch.int64)


@RULES.add("sort")
def _sorted(data: Tensor, dim: int = -1, *_: bool) -> tuple[Tensor, Tensor]:
    axis_of(dim, data.dim())
    sure(is_in_order(data))
    return empty(data.shape, float_dtype(data)), empty(data.shape, torch.int64)


@RULES.add("embedding")
def _embedding(weight: Tensor, indices: Tensor, *_: Any, **__: Any) -> Tensor:
    sure(weight.dim() == 2, indices.dtype in _INDICES)
    return empty((*indices.shape, weight.shape[1]), float_dtype(weight))


@RULES.add("index_select")
def _index_select(data: Tensor, dim: int, index: Tensor) -> Tensor:
    axis, shape = axis_of(dim, data.dim()), list(data.shape)
    sure(index.dim() == 1, index.dtype in _INDICES)
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
    sure(mask.dtype == torch.bool, isinstance(value, (int, float)))
    result = spread(float_dtype(data), mask, data)
    sure(1 not in result.shape or (is_in_order(data) and is_in_order(mask)))
    return empty(result.shape, result.dtype)


@RULES.add("masked_fill.Tensor")
def _masked_fill_tensor(data: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    sure(value.dim() == 0, value.dtype == data.dtype)
    return _masked_fill(data, mask, 0)


@RULES.add("masked_fill_.Scalar")
def _masked_fill_in_place(data: Tensor, mask: Tensor, value: float) -> Tensor:
    sure(mask.dtype == torch.bool, isinstance(value, (int, float)))
    float_dtype(data)
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
    sure(indices.dtype in _INDICES)
    out = empty((offsets.shape[0], weight.shape[1]), float_dtype(weight))
    of_each, in_each, largest = (empty(shape, indices.dtype) for shape in (indices.shape, offsets.shape, (0,)))
    return out, of_each, in_each, largest


# New tensors


@RULES.add("zeros_like", "ones_like", "empty_like")
def _like(data: Tensor, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    if options.get("memory_format") is torch.contiguous_format:
        options.pop("memory_format")
        data = empty(data.shape, data.dtype)
    sure(all(value is None or value is False for key, value in options.items() if key not in {"device", "layout"}))
    sure(options.get("layout") in {None, torch.strided}, options.get("device") in {None, torch.device("meta")})
    return spread(dtype or data.dtype, data)


@RULES.add("rand_like", "randn_like")
def _random_like(data: Tensor, **options: Any) -> Tensor:
    result = _like(data, **options)
    float_dtype(result)
    return result


@RULES.add("full_like")
def _full_like(data: Tensor, value: float, **options: Any) -> Tensor:
    sure(isinstance(value, (int, float)))
    return _like(data, **options)


@RULES.add("scalar_tensor")
def _scalar_tensor(value: float, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    sure(isinstance(value, (int, float)))
    return empty((), dtype or torch.get_default_dtype())


@RULES.add("randn")
def _randn(size: Sequence[int], *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    sure(all(n > 0 for n in size))
    dtype = dtype or torch.get_default_dtype()
    sure(dtype.is_floating_point)
    return empty(size, dtype)


@RULES.add("arange")
def _arange(end: float, **options: Any) -> Tensor:
    return _stepped(0, end, **options)


@RULES.add("arange.start", "arange.start_step")
def _stepped(start: float, end: float, step: float = 1, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    sure(step > 0, end > start)
    if all(type(value) is int for value in (start, end, step)):
        return empty((ceil((end - start) / step),), dtype or torch.int64)
    dtype = dtype or torch.get_default_dtype()
    sure(dtype.is_floating_point, all(type(value) in {int, float} for value in (start, end, step)))
    return empty((ceil((end - start) / step),), dtype)


@RULES.add("eye")
def _eye(size: int, **options: Any) -> Tensor:
    return _rectangular_eye(size, size, **options)


@RULES.add("eye.m")
def _rectangular_eye(rows: int, columns: int, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    sure(rows > 0, columns > 0)
    return empty((rows, columns), dtype or torch.get_default_dtype())


@RULES.add("linspace")
def _spaced(start: float, end: float, steps: int, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    dtype = dtype or torch.get_default_dtype()
    sure(isinstance(start, (int, float)), isinstance(end, (int, float)), steps > 0, dtype.is_floating_point)
    return empty((steps,), dtype)


def _sure_of(options: dict[str, Any]) -> None:
    """Give up the rule unless a new tensor is an ordinary one of the meta device."""
    sure(options.get("layout") in {None, torch.strided}, not options.get("pin_memory"))
    sure(options.get("device") is not None and torch.device(options["device"]).type == "meta")

"""Shape rules of operators that make tensors; see `shape_rules`."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from convcost.nn.count.rule_table import INDICES, META, Rules, empty, float_dtype, spread, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES: Final = Rules()


@RULES.add("empty.memory_format")
def _empty(size: Sequence[int], *, dtype: torch.dtype, layout: Any = torch.strided, device: Any = None) -> Tensor:
    sure(device == META, layout is torch.strided, min(size, default=0) >= 0)
    return empty(size, dtype)


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
    sure(step != 0, (end - start) * step > 0)
    if all(type(value) is int for value in (start, end, step)):
        return empty((ceil((end - start) / step),), dtype or torch.int64)
    dtype = dtype or torch.get_default_dtype()
    sure(dtype.is_floating_point, all(type(value) in {int, float} for value in (start, end, step)))
    return empty((ceil((end - start) / step),), dtype)


@RULES.add("randint")
def _whole_numbers(
    high: int, size: Sequence[int], *, dtype: torch.dtype | None = torch.int64, **options: Any
) -> Tensor:
    return _whole_numbers_between(0, high, size, dtype=dtype, **options)


@RULES.add("randint.low")
def _whole_numbers_between(
    low: int, high: int, size: Sequence[int], *, dtype: torch.dtype | None = torch.int64, **options: Any
) -> Tensor:
    _sure_of(options)
    sure(low < high, all(n > 0 for n in size), dtype == torch.int64)
    return empty(size, torch.int64)


@RULES.add("tril_indices")
def _lower_triangle(
    rows: int, columns: int, offset: int = 0, *, dtype: torch.dtype | None = None, **options: Any
) -> Tensor:
    _sure_of(options)
    sure(rows >= 0, columns >= 0, dtype in {None, *INDICES})
    count = sum(min(max(row + offset + 1, 0), columns) for row in range(rows))
    return empty((2, count), dtype or torch.int64)


@RULES.add("triu_indices")
def _upper_triangle(rows: int, columns: int, offset: int = 0, **options: Any) -> Tensor:
    below = _lower_triangle(rows, columns, offset - 1, **options)
    return empty((2, rows * columns - below.shape[1]), below.dtype)


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

"""What shape rules share: their table, the checks that make a rule give up, and the tensors that they return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch import Tensor

from convcost.nn.count.layouts import broadcast, elementwise_strides, format_strides, is_plainly_contiguous

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

META: Final = torch.device("meta")
INDICES: Final = frozenset({torch.int32, torch.int64})
"""Dtypes of indices."""
Rule = TypeVar("Rule", bound="Callable[..., Any]")


class UnsureError(Exception):
    """A shape rule does not know what torch does with these arguments."""


class Rules(dict[str, "Callable[..., Any]"]):
    """Shape rules by an operator's name, such as `aten::add.Tensor`; torch makes an operator only where it is called.

    Each takes the operator's arguments and returns its output.
    """

    def add(self, *names: str) -> Callable[[Rule], Rule]:
        """Add a rule for operators of aten, each named as `operator` or `operator.overload`; torch may lack some."""

        def remember(rule: Rule) -> Rule:
            self.update(dict.fromkeys([f"aten::{name}" for name in names], rule))
            return rule

        return remember


def sure(*conditions: bool) -> None:
    """Give up the rule unless all conditions hold.

    Raises:
        UnsureError: One does not hold.
    """
    if not all(conditions):
        raise UnsureError


def one_dtype(*tensors: Tensor | None) -> torch.dtype:
    """The dtype of all these tensors.

    Raises:
        UnsureError: They have different ones.
    """
    dtype = None
    for tensor in tensors:
        if tensor is not None:
            if not isinstance(tensor, Tensor) or (dtype is not None and tensor.dtype is not dtype):
                raise UnsureError
            dtype = tensor.dtype
    if dtype is None:
        raise UnsureError
    return dtype


def float_dtype(*tensors: Tensor | None) -> torch.dtype:
    """The dtype of all these tensors.

    Raises:
        UnsureError: They have different ones, or it is not a floating one.
    """
    dtype = one_dtype(*tensors)
    sure(dtype.is_floating_point)
    return dtype


def number_dtype(*tensors: Tensor | None) -> torch.dtype:
    """The dtype of all these tensors.

    Raises:
        UnsureError: They have different ones, or it is neither a floating nor a complex one.
    """
    dtype = one_dtype(*tensors)
    sure(dtype.is_floating_point or dtype.is_complex)
    return dtype


def axis_of(axis: int, rank: int) -> int:
    """An axis that may be counted from the end, as one counted from the start.

    Raises:
        UnsureError: There is no such axis.
    """
    sure(-rank <= axis < rank)
    return axis % rank


def empty(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int] | None = None) -> Tensor:
    """A meta tensor, contiguous unless other strides are given; torch imports nothing for it."""
    if strides is None:
        return torch.empty(shape, dtype=dtype, device=META)
    return torch.empty_strided(shape, strides, dtype=dtype, device=META)


def spread(dtype: torch.dtype, *operands: Tensor) -> Tensor:
    """The result of an elementwise operator on these tensors.

    Raises:
        UnsureError: Their shapes do not fit together.
    """
    if len(operands) == 1 and is_plainly_contiguous(operands[0]):
        return empty(operands[0].shape, dtype)
    shape = broadcast(*[tuple(operand.shape) for operand in operands])
    if shape is None:
        raise UnsureError
    return empty(shape, dtype, elementwise_strides(shape, operands))


def in_format(of: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """A tensor in the memory format that torch suggests for another one."""
    return empty(shape, dtype or of.dtype, format_strides(of, shape))


def may_write(target: Tensor, *others: object) -> Tensor:
    """The target of an operator in place.

    Raises:
        UnsureError: Two of its elements may share memory, another operand may overlap it, or does not fit its shape.
    """
    sure(all(stride or size == 1 for stride, size in zip(target.stride(), target.shape, strict=True)))
    for other in others:
        if isinstance(other, Tensor) and other is not target:
            sure(broadcast(tuple(target.shape), tuple(other.shape)) == tuple(target.shape))
    return target

"""Strides of an operator's result, as torch's kernels choose them from those of its operands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

IMAGE_AXES: Final = 4
"""Axes of a batch of images, for which torch knows the format channels_last."""
_CHANNELS_LAST: Final = (1, 3, 2, 0)
"""Axes of an image as they lie in memory, the innermost first."""
_LAST_BY_RANK: Final = {4: _CHANNELS_LAST, 5: (1, 4, 3, 2, 0)}
"""The same of a batch of images, and of volumes."""


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape to which all of these are broadcast; None where they do not fit together."""
    if len(shapes) == 1 or len(set(shapes)) == 1:
        return shapes[0]
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1:
                if result[axis] not in {1, size}:
                    return None
                result[axis] = size
    return tuple(result)


def ordered_strides(shape: Sequence[int], order: Iterable[int]) -> tuple[int, ...]:
    """Strides of a dense tensor.

    Args:
        shape: Its sizes.
        order: Its axes as they lie in memory, the innermost first.
    """
    strides, step = [0] * len(shape), 1
    for axis in order:
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def is_in_order(tensor: Tensor) -> bool:
    """Whether a tensor is contiguous, with the usual strides of axes of size 1 too."""
    if not tensor.is_contiguous() or min(tensor.shape, default=2) > 1:
        return tensor.is_contiguous()
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if stride != step:
            return False
        step *= max(size, 1)
    return True


def format_strides(of: Tensor, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Strides for a new tensor in the memory format that torch suggests for another: channels_last, or contiguous.

    Returns:
        None for contiguous ones.
    """
    return ordered_strides(shape, _LAST_BY_RANK[of.dim()]) if _suggests_channels_last(of) else None


def _suggests_channels_last(tensor: Tensor) -> bool:
    """Whether the strides of an image grow from the channels over width and height to the batch, as torch tests it."""
    order = _LAST_BY_RANK.get(tensor.dim())
    if order is None:
        return False
    sizes, strides, least = tensor.shape, tensor.stride(), 1
    for axis in order:
        if strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * sizes[axis]
    return True


def elementwise_strides(shape: tuple[int, ...], operands: Sequence[Tensor]) -> tuple[int, ...] | None:
    """Strides of the result of an elementwise operator.

    Args:
        shape: Shape of the result, to which the operands are broadcast.
        operands: The tensors.

    Returns:
        None for a contiguous result.
    """
    have_shape = are_contiguous = are_channels_last = True
    for operand in operands:
        have_shape = have_shape and operand.shape == shape
        are_contiguous = are_contiguous and operand.is_contiguous()
        are_channels_last = are_channels_last and _is_channels_last(operand)
    if have_shape and are_contiguous != are_channels_last:
        return None if are_contiguous else ordered_strides(shape, _CHANNELS_LAST)
    return ordered_strides(shape, _order(shape, [operand.expand(shape).stride() for operand in operands]))


def is_plainly_contiguous(tensor: Tensor) -> bool:
    """Whether a tensor is contiguous, and not in the format channels_last too, as one with a single channel is."""
    return tensor.is_contiguous() and not _is_channels_last(tensor)


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == IMAGE_AXES and tensor.is_contiguous(memory_format=torch.channels_last)


def _order(shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]) -> list[int]:
    """Axes from the innermost to the outermost; of several operands, the first that tells two axes apart decides."""
    order = list(reversed(range(len(shape))))
    for last in range(1, len(shape)):
        at = last
        for before in reversed(range(last)):
            verdict = _compared(order[before], order[at], shape, strides)
            if verdict > 0:
                order[before], order[at] = order[at], order[before]
                at = before
            elif verdict < 0:
                break
    return order


def _compared(inner: int, outer: int, shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]) -> int:
    """1 if the two axes must change places, -1 if they must not, 0 if no operand tells."""
    for one, other in ((operand[inner], operand[outer]) for operand in strides):
        if one and other and one != other:
            return 1 if one > other else -1
        if one and other and shape[inner] > shape[outer]:
            return 1
    return 0

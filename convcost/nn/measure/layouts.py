"""How tensors lie in memory and what their elements are: with the sizes, all that chooses a layer's kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CHANNELS_LAST", "CONTIGUOUS", "dtypes_of", "format_of"]

CONTIGUOUS, CHANNELS_LAST, STRIDED = "contiguous", "channels_last", "strided"
_IMAGE_AXES: Final = (4, 5)
"""Axes of a batch of images or volumes: only with height and width there is a channels_last."""


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether torch's convolutions take the tensor for channels_last.

    They go by the strides alone (c10's is_channels_last_strides_2d), so that depthwise weights, whose one channel makes
    them contiguous in both formats, count too.
    """
    if tensor.layout != torch.strided or tensor.is_nested or tensor.dim() not in _IMAGE_AXES:
        return False
    sizes, strides = tensor.shape, tensor.stride()
    least = 0
    for axis in (1, *range(tensor.dim() - 1, 1, -1), 0):
        if not sizes[axis] or not strides[1] or strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * sizes[axis]
    return True


def format_of(tensors: Iterable[torch.Tensor]) -> str | None:
    """The memory format that torch sees in tensors: channels_last where one of them is; None for no tensors.

    Returns:
        "contiguous", "channels_last", or "strided" where neither tells how a tensor lies in memory.
    """
    known = list(tensors)
    if any(map(_is_channels_last, known)):
        return CHANNELS_LAST
    if any(_is_strided(tensor) for tensor in known):
        return STRIDED
    return CONTIGUOUS if known else None


def _is_strided(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_contiguous()


def dtypes_of(tensors: Iterable[torch.Tensor]) -> tuple[str, ...]:
    """What is computed in: the dtypes of floating point tensors; of all where there are none."""
    known = list(tensors)
    floating = [tensor for tensor in known if tensor.is_floating_point() or tensor.is_complex()]
    return tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in floating or known}))

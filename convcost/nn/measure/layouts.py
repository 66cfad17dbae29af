"""Memory formats and dtypes of tensors, which choose a layer's kernel together with the sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

CONTIGUOUS, CHANNELS_LAST, STRIDED = "contiguous", "channels_last", "strided"
LAYOUTS: Final = {CONTIGUOUS: torch.contiguous_format, CHANNELS_LAST: torch.channels_last}
"""Memory formats of torch, by the names of `--memory-format`."""
_IMAGE_AXES: Final = (4, 5)
"""Numbers of axes of batches of images and volumes; channels_last needs height and width."""


def laid_out(module: nn.Module, layout: torch.memory_format) -> nn.Module:
    """The module with its parameters in this memory format."""
    laid: nn.Module = module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks this keyword
    return laid


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether torch's convolutions treat the tensor as channels_last.

    They go by the strides alone (c10's is_channels_last_strides_2d), so that depthwise weights, which are contiguous in
    both formats with their one channel, count too.
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
    """The memory format that torch takes tensors for: channels_last where one of them is.

    Returns:
        "contiguous", "channels_last", or "strided" for a tensor that is neither; None for no tensors.
    """
    tensors = list(tensors)
    if any(map(_is_channels_last, tensors)):
        return CHANNELS_LAST
    if any(_is_strided(tensor) for tensor in tensors):
        return STRIDED
    return CONTIGUOUS if tensors else None


def _is_strided(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_contiguous()


def dtypes_of(tensors: Iterable[torch.Tensor]) -> tuple[str, ...]:
    """The dtypes of floating point tensors; those of all tensors where none is."""
    tensors = list(tensors)
    floating = [tensor for tensor in tensors if tensor.is_floating_point() or tensor.is_complex()]
    return tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in floating or tensors}))

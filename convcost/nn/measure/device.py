"""The device of a timing: its name, threads and free memory, and the memory formats and dtypes of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import torch

from convcost.system.processor import free_host_memory, usable_cores
from convcost.text.errors import ConvcostError, as_text
from convcost.text.units import human_bytes
from convcost.timing.conditions import DEVICE_RULE, is_device

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn


def resolve_device(name: str) -> torch.device:
    """The device of this name; "auto" is the accelerator if there is one that can be timed, else the CPU.

    Raises:
        ConvcostError: The text is no name of a device, or this machine does not have the device.
    """
    if name == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return resolve_device(best)
    if not is_device(name):
        raise ConvcostError(f"device (={name}) {DEVICE_RULE}")
    kind, _, index = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            seen = f"torch {torch.__version__} sees {count} CUDA devices"
            raise ConvcostError(f"device (={name}) must be there: {seen}; take cpu.")
        return torch.device("cuda", int(index or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConvcostError(f"device (=mps) must be there: torch {torch.__version__} sees no Metal device; take cpu.")
    return torch.device(kind)


def resolve_threads(threads: int | Literal["all"]) -> int:
    """The number of threads; "all" is one for each processor that this process may use.

    Raises:
        ConvcostError: More than 16 threads for each processor.
    """
    cores = usable_cores()
    if threads == "all":
        return cores
    most = 16 * cores
    if threads > most:
        raise ConvcostError(f"threads (={as_text(threads)}) must be at most {most} on this machine; all is {cores}.")
    return threads


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on the device; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return free_host_memory()


def refusal(needed: int, device: torch.device) -> str | None:
    """The reason why the device has too little memory for this number of bytes; None if they fit."""
    free = free_memory(device)
    if free is None or needed <= free:
        return None
    where = "this machine" if device.type == "cpu" else str(device)
    lack = f"it needs {human_bytes(needed)} and {where} has {human_bytes(free)} free"
    return f"not timed: {lack}; take a smaller input or batch"


CONTIGUOUS, CHANNELS_LAST, STRIDED = "contiguous", "channels_last", "strided"
LAYOUTS: Final = {CONTIGUOUS: torch.contiguous_format, CHANNELS_LAST: torch.channels_last}
"""Memory formats of torch, by their names in the options."""
_IMAGE_AXES: Final = (4, 5)
"""Numbers of axes of batches of images and volumes, which can be channels_last."""


def laid_out(module: nn.Module, layout: torch.memory_format) -> nn.Module:
    """The module with its parameters in this memory format."""
    laid: nn.Module = module.to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stub
    return laid


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether torch's convolutions treat the tensor as channels_last.

    They decide by the strides alone (c10's is_channels_last_strides_2d), so depthwise weights count as channels_last:
    with one channel they are contiguous in both formats.
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
    """The memory format in which torch's convolutions run on these tensors: channels_last if one of them is.

    Returns:
        "contiguous", "channels_last", or "strided" for any other format; None without tensors.
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
    """The dtypes of the floating point tensors; those of all tensors if there are none."""
    tensors = list(tensors)
    floating = [tensor for tensor in tensors if tensor.is_floating_point() or tensor.is_complex()]
    return tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in floating or tensors}))

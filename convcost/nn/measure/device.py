"""The device that is timed: its name, its threads, and whether a layer fits its memory."""

from __future__ import annotations

from typing import Literal

import torch

from convcost.system.processor import free_host_memory, usable_cores
from convcost.text.errors import ConvcostError
from convcost.text.units import human_bytes
from convcost.timing.options import DEVICE_RULE, is_device


def resolve_device(name: str) -> torch.device:
    """The device of this name; `auto` is the accelerator if there is one that can be timed, else the CPU.

    Raises:
        ConvcostError: No name of a device, or a device that this machine does not have.
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
    """The number of threads; `all` is one for each processor that this process may use.

    Raises:
        ConvcostError: More threads than are sensible on this machine.
    """
    cores = usable_cores()
    if threads == "all":
        return cores
    most = 16 * cores
    if threads > most:
        raise ConvcostError(f"threads (={threads}) must be at most {most} on this machine; all is {cores}.")
    return threads


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on the device; None where unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return free_host_memory()


def refusal(needed: int, device: torch.device) -> str | None:
    """Why so many bytes are not put on the device; None when they fit."""
    free = free_memory(device)
    if free is None or needed <= free:
        return None
    where = "this machine" if device.type == "cpu" else str(device)
    lack = f"it needs {human_bytes(needed)} and {where} has {human_bytes(free)} free"
    return f"not timed: {lack}; take a smaller input or batch"

"""The device that is timed: which, how fast its memory is handed out, and whether a layer fits."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Final, Literal

import torch

from convcost.comparison.request import DEVICE_RULE, is_device
from convcost.text.errors import ConvcostError
from convcost.text.units import human_bytes

__all__ = [
    "cpu_name",
    "free_memory",
    "name_in_cpuinfo",
    "other_load",
    "pin_allocator",
    "resolve_device",
    "resolve_threads",
    "return_freed_memory",
]

M_MMAP_THRESHOLD: Final = -3
M_TRIM_THRESHOLD: Final = -1
BIGGEST_MMAP_THRESHOLD: Final = 1 << 30
NEVER_TRIM: Final = 2**31 - 1
MEGABYTE: Final = 1 << 20


def resolve_device(name: str) -> torch.device:
    """The device of this name; `auto` is the accelerator if there is one that can be timed, else the CPU.

    Raises:
        ConvcostError: a name that is none, or a device that this machine does not have.
    """
    if name == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return resolve_device(best)
    if not is_device(name):
        msg = f"device (={name}) {DEVICE_RULE}"
        raise ConvcostError(msg)
    kind, _, index = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            seen = f"torch {torch.__version__} sees {count} CUDA devices"
            msg = f"device (={name}) must be there: {seen}; take --device cpu."
            raise ConvcostError(msg)
        return torch.device("cuda", int(index or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        msg = f"device (=mps) must be there: torch {torch.__version__} sees no Metal device; take --device cpu."
        raise ConvcostError(msg)
    return torch.device(kind)


def resolve_threads(threads: int | Literal["all"]) -> int:
    """The number of threads; `all` is as many as this process may use processors.

    Raises:
        ConvcostError: more than the machine could ever run.
    """
    cores = _usable_cores()
    if threads == "all":
        return cores
    most = 16 * cores
    if threads > most:
        msg = f"threads (={threads}) must be at most {most} on this machine; all is {cores}."
        raise ConvcostError(msg)
    return threads


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pin_allocator() -> bool:
    """Make glibc keep the memory that is freed, so that a call does not pay for page faults.

    Without it each big output is mapped anew: the page faults can cost ten times the arithmetic. It stays so for the
    rest of the process.

    Returns:
        Whether it could be done: only Linux with glibc has this switch.
    """
    return _set_allocator(BIGGEST_MMAP_THRESHOLD, NEVER_TRIM)


def return_freed_memory() -> bool:
    """Make glibc give freed blocks of a megabyte and more back to the system, for work in which memory counts.

    By itself it keeps blocks of up to 32 MB once one of that size was freed, and their holes add up to a large
    layer's weights and more. It stays so for the rest of the process, or until `pin_allocator`.

    Returns:
        Whether it could be done: only Linux with glibc has this switch.
    """
    return _set_allocator(MEGABYTE, MEGABYTE)


def _set_allocator(mmap_threshold: int, trim_threshold: int) -> bool:
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_THRESHOLD, mmap_threshold) and libc.mallopt(M_TRIM_THRESHOLD, trim_threshold))


def cpu_name() -> str:
    """The processor as its maker calls it; its architecture where the system does not tell."""
    if sys.platform.startswith("linux"):
        known = Path("/proc/cpuinfo")
        if known.exists() and (name := name_in_cpuinfo(known.read_text(encoding="utf-8", errors="replace"))):
            return name
    elif sys.platform == "darwin":
        name = _sysctl("machdep.cpu.brand_string")
        if name:
            return name
    return platform.processor() or platform.machine()


def name_in_cpuinfo(cpuinfo: str) -> str:
    """The name that Linux tells; a name without a number, as hypervisors give it, gets the family and the model too.

    Two generations of a processor called AMD EPYC differ by more than a factor of two.
    """
    said: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), value.strip())
    name = next(filter(None, (said.get(key) for key in ("model name", "cpu model", "Hardware"))), "")
    if not name or any(map(str.isdigit, name)) or "cpu family" not in said or "model" not in said:
        return name
    return f"{name} (family {said['cpu family']}, model {said['model']})"


def _sysctl(name: str) -> str:
    """A text that macOS knows under this name; empty when it does not."""
    size = ctypes.c_size_t(0)
    libc = ctypes.CDLL(None)
    if libc.sysctlbyname(name.encode(), None, ctypes.byref(size), None, 0):
        return ""
    buffer = ctypes.create_string_buffer(size.value)
    return "" if libc.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0) else buffer.value.decode()


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on the device; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return _free_host_memory()


def _free_host_memory() -> int | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _free_windows_memory() if sys.platform == "win32" else None


def _free_windows_memory() -> int | None:
    """Available physical memory by GlobalMemoryStatusEx."""
    status = (ctypes.c_ulonglong * 8)()
    ctypes.c_ulong.from_buffer(status).value = ctypes.sizeof(status)
    kernel: ctypes.CDLL = getattr(ctypes, "windll").kernel32  # noqa: B009 - the name exists on Windows alone
    return int(status[2]) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def refusal(needed: int, device: torch.device) -> str | None:
    """Why something of this many bytes is not put on the device; None when it fits."""
    free = free_memory(device)
    if free is None or needed <= free:
        return None
    where = "this machine" if device.type == "cpu" else str(device)
    found = f"it needs {human_bytes(needed)} and {where} has {human_bytes(free)} free"
    return f"not timed: {found}; take a smaller input or batch"


def other_load(seconds: float) -> float | None:
    """How many processors other programs keep busy, measured while this one sleeps; None where the system is silent."""
    import time  # noqa: PLC0415 - its name is that of an option elsewhere in this package

    before = _busy_ticks()
    time.sleep(seconds)
    after = _busy_ticks()
    if before is None or after is None:
        return None
    return (after - before) / os.sysconf("SC_CLK_TCK") / seconds


def _busy_ticks() -> int | None:
    """Clock ticks that all processors spent on anything but idling and waiting, from /proc/stat."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, idle, wait, *others = map(int, stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9])
    del idle, wait
    return user + nice + system + sum(others)

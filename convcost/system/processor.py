"""The processor and the memory: cores, name, load, allocator, page faults."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
import time
from pathlib import Path
from typing import Final

__all__ = ["cpu_name", "fault_seconds", "name_in_cpuinfo", "other_load", "pin_allocator", "return_freed_memory"]

M_MMAP_THRESHOLD: Final = -3
M_TRIM_THRESHOLD: Final = -1
BIGGEST_MMAP_THRESHOLD: Final = 1 << 30
NEVER_TRIM: Final = 2**31 - 1
MEGABYTE: Final = 1 << 20


def usable_cores() -> int:
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


def free_host_memory() -> int | None:
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


def other_load(seconds: float) -> float | None:
    """How many processors other programs keep busy, measured while this one sleeps; None where the system is silent."""
    import time

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


REGION_BYTES = 8 * 2**20
TRIES = 5


def fault_seconds() -> float | None:
    """Seconds of one minor page fault, mapping and unmapping included; None where the platform does not count them."""
    try:
        import resource
    except ImportError:
        return None
    costs = []
    for _ in range(TRIES):
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        region = mmap.mmap(-1, REGION_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        view = ctypes.c_char.from_buffer(region)
        ctypes.memset(ctypes.addressof(view), 1, REGION_BYTES)
        first = time.perf_counter()
        ctypes.memset(ctypes.addressof(view), 1, REGION_BYTES)
        again = time.perf_counter() - first
        del view
        region.close()
        seconds = time.perf_counter() - start - 2 * again
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        costs.append(seconds / faults if faults else 0.0)
    return max(0.0, min(costs))

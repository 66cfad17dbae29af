"""The processor and the memory: cores, name, load, allocator and page faults."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import platform
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

M_MMAP_THRESHOLD: Final = -3
M_TRIM_THRESHOLD: Final = -1
MAX_MMAP_THRESHOLD: Final = 1 << 30
NEVER_TRIM: Final = 2**31 - 1
MEGABYTE: Final = 1 << 20
REGION_BYTES: Final = 8 * 2**20
TRIES: Final = 5


def usable_cores() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pin_allocator() -> bool:
    """Make glibc keep freed memory for the rest of the process, so that a call does not pay for page faults.

    Otherwise each large output is mapped anew, and its page faults can cost ten times the arithmetic.

    Returns:
        Whether the allocator is glibc's, which alone can be set.
    """
    return _set_allocator(MAX_MMAP_THRESHOLD, NEVER_TRIM)


def return_freed_memory() -> bool:
    """Make glibc return freed blocks of a megabyte or more to the system, until `pin_allocator` or the process ends.

    Otherwise it keeps blocks of up to 32 MB, once one of that size was freed, and their holes can add up to more than
    the weights of a large layer.

    Returns:
        Whether the allocator is glibc's, which alone can be set.
    """
    return _set_allocator(MEGABYTE, MEGABYTE)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the collection of cyclic garbage, whose moments would be those at which a cycle's tensors die.

    On the meta device they need no memory; the rows of a large model are thousands of objects, none of them garbage.
    The threshold says so, not `gc.disable`, which the model may call itself.
    """
    first, *others = gc.get_threshold()
    try:
        gc.set_threshold(0)
        yield
    finally:
        if first and not gc.get_threshold()[0]:  # or another thread paused it before, or the model has set one
            gc.set_threshold(first, *others)


def _set_allocator(mmap_threshold: int, trim_threshold: int) -> bool:
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_THRESHOLD, mmap_threshold) and libc.mallopt(M_TRIM_THRESHOLD, trim_threshold))


def cpu_name() -> str:
    """The processor's name, or its architecture where the system has no name."""
    if sys.platform.startswith("linux"):
        cpuinfo = Path("/proc/cpuinfo")
        if cpuinfo.exists() and (name := name_in_cpuinfo(cpuinfo.read_text(encoding="utf-8", errors="replace"))):
            return name
    elif sys.platform == "darwin" and (name := _sysctl("machdep.cpu.brand_string")):
        return name
    return platform.processor() or platform.machine()


def name_in_cpuinfo(cpuinfo: str) -> str:
    """The name in Linux's /proc/cpuinfo, with family and model if the name has no number, as under hypervisors.

    Two generations of processors that are both called AMD EPYC can differ by more than a factor of two.
    """
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = next(filter(None, map(fields.get, ("model name", "cpu model", "Hardware"))), "")
    if not name or any(map(str.isdigit, name)) or not {"cpu family", "model"} <= fields.keys():
        return name
    return f"{name} (family {fields['cpu family']}, model {fields['model']})"


def _sysctl(name: str) -> str:
    """A text setting of macOS; empty if there is none of this name."""
    size = ctypes.c_size_t(0)
    libc = ctypes.CDLL(None)
    if libc.sysctlbyname(name.encode(), None, ctypes.byref(size), None, 0):
        return ""
    buffer = ctypes.create_string_buffer(size.value)
    return "" if libc.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0) else buffer.value.decode()


def free_host_memory() -> int | None:
    """Bytes of memory that are available; None where the system does not report them."""
    if sys.platform == "win32":
        status = (ctypes.c_ulonglong * 8)()
        ctypes.c_ulong.from_buffer(status).value = ctypes.sizeof(status)
        return int(status[2]) if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def other_load(seconds: float) -> float | None:
    """The number of processors that other programs keep busy while this one sleeps; None where it is not reported."""
    before = _busy_ticks()
    time.sleep(seconds)
    after = _busy_ticks()
    if before is None or after is None:
        return None
    return (after - before) / os.sysconf("SC_CLK_TCK") / seconds


def _busy_ticks() -> int | None:
    """Clock ticks that all processors spent neither idle nor waiting, from /proc/stat."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, *others = map(int, stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9])
    return user + nice + system + sum(others)


def fault_seconds() -> float | None:
    """Seconds per minor page fault, with mapping and unmapping; None where the platform does not count faults."""
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

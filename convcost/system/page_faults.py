"""What a page fault costs on this machine: new memory is mapped, touched for the first time and given back."""

from __future__ import annotations

import ctypes
import mmap
import time

__all__ = ["fault_seconds"]

REGION_BYTES = 8 * 2**20
TRIES = 5


def fault_seconds() -> float | None:
    """Seconds of one minor page fault, mapping and unmapping included; None where the platform does not count them."""
    try:
        import resource  # noqa: PLC0415 - Windows has no such module
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

"""A made-up machine for tests: round figures, so that a bound can be worked out in the head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.machine import Identity, Level, Machine, Noise, Overhead, Peak

if TYPE_CHECKING:
    from collections.abc import Sequence

IDENTITY = Identity("made up", "cpu", 2, "AVX2", "2.13.0", "3.12.0")


def machine(
    identity: Identity = IDENTITY, *, dtypes: Sequence[str] = ("float32",), threads: Sequence[int] = (1,)
) -> Machine:
    """100 GFLOP/s; 10 kB at 100 GB/s, 1 MB at 10 GB/s, memory at 1 GB/s; 1 µs a call, 10 µs a convolution."""
    peaks = tuple(Peak(dtype, count, 5e10, 1e11, 0.02, "made up") for dtype in dtypes for count in threads)
    levels = tuple(
        Level(name, count, capacity, speed, spread, "made up")
        for count in threads
        for name, capacity, speed, spread in (
            ("L1", 10_000, 1e11, 0.01),
            ("L2", 1_000_000, 1e10, 0.03),
            ("memory", None, 1e9, 0.04),
        )
    )
    noise = Noise(0.05, 7, "made up")
    return Machine(identity, "2026-11-24", peaks, levels, Overhead(1e-6, 1e-5, 0.1, "made up"), noise)

"""A made-up machine for tests: round figures, so that a bound can be worked out in the head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.timing.machine import Identity, Level, Machine, Noise, Overhead, Peak

if TYPE_CHECKING:
    from collections.abc import Sequence

IDENTITY = Identity("made up", "cpu", 2, "AVX2", "2.13.0", "3.12.0")


def machine(
    identity: Identity = IDENTITY,
    *,
    dtypes: Sequence[str] = ("float32",),
    threads: Sequence[int] = (1,),
    speed: float = 1.0,
) -> Machine:
    """100 GFLOP/s; 10 kB at 100 GB/s, 1 MB at 10 GB/s, memory at 1 GB/s; 1 µs a call, 10 µs a convolution.

    All of it so many times as fast as `speed` says, but a call no faster than a file may say.
    """
    peaks = tuple(
        Peak(dtype, count, 5e10 * speed, 1e11 * speed, 0.02, "made up") for dtype in dtypes for count in threads
    )
    levels = tuple(
        Level(name, count, capacity, rate * min(speed, 1e4), spread, "made up")
        for count in threads
        for name, capacity, rate, spread in (
            ("L1", 10_000, 1e11, 0.01),
            ("L2", 1_000_000, 1e10, 0.03),
            ("memory", None, 1e9, 0.04),
        )
    )
    noise = Noise(0.05, 7, "made up")
    overhead = Overhead(max(1e-10, 1e-6 / speed), max(1e-10, 1e-5 / speed), 0.1, "made up")
    return Machine(identity, "2026-11-24", peaks, levels, overhead, noise)

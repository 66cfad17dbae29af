"""The bound after a calibration in the same run: layers that beat it, and the share that convolutions attain."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from random_layers import comparisons, described

import convcost
from convcost.timing.machine_file import MACHINE_VARIABLE
from convcost.workflows.calibrate import calibrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.comparison.result import Comparison

LAYERS = 60
SEED = 5
CALIBRATION_S = 60.0
TIME_BUDGET_S = 1.0
CHANNELS = (64, 128, 256, 512)
SIZES = ((1, 28), (3, 14), (3, 28), (3, 56), (5, 28))
"""Kernel and image of the standard convolutions."""


def standard() -> Iterator[Comparison]:
    """Standard convolutions of at least 64 channels, in both memory formats."""
    for channels in CHANNELS:
        for kernel, size in SIZES:
            for memory_format in ("contiguous", "channels_last"):
                yield convcost.compare(
                    channels,
                    channels,
                    kernel,
                    height=size,
                    blocks=["standard"],
                    memory_format=memory_format,
                    count=False,
                    time_budget=TIME_BUDGET_S,
                )


def main() -> None:
    seed = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdecimal() else SEED
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machine.toml"
        _, machine, doubts = calibrate(path, CALIBRATION_S, "cpu")
        os.environ[MACHINE_VARIABLE] = str(path)
        print("\n".join((*machine.lines, *doubts)), "\n", flush=True)
        faster = checked = 0
        for result in comparisons(seed, LAYERS, time_budget=TIME_BUDGET_S):
            faster += _judged(result)
            checked += 1
        shares = []
        for result in standard():
            faster += _judged(result)
            shares.append(result.rows[0].attained)
    print(f"\nseed {seed}, 1 thread, float32")
    print(f"rows faster than their bound, beyond its spread: {faster} of {checked + len(shares)} (wanted: 0)")
    print(f"median attained of {len(shares)} standard rows with C ≥ 64: {statistics.median(shares):.2f} (wanted: 0.4)")


def _judged(result: Comparison) -> bool:
    """Whether the row beats its bound by more than the calibration's spread; it is printed."""
    row = result.rows[0]
    bound, time_s = row.bound, row.timing.time_s
    faster = bound.is_beaten(row.attained)
    mark = "  FASTER" if faster else ""
    roof = bound.level or bound.roof
    print(f"{described(result):66} {1e6 * time_s:9.1f} µs  attained {row.attained:5.2f} {roof}{mark}", flush=True)
    return faster


if __name__ == "__main__":
    main()

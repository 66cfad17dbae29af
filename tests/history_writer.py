"""Made-up runs for tests of the history, and a program that stores them one by one and says so after each commit."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from convcost.archive.database import add
from convcost.archive.rows import Entry, Session
from convcost.timing.conditions import Conditions, Setup
from convcost.timing.statistics import Timing

__all__ = ["CONDITIONS", "SETUP", "entry", "replace", "session", "timing"]

CONDITIONS = Conditions(
    "cpu", "float32", 1, "contiguous", compiled=False, allocator="pinned", torch_version="2", cpu="x"
)
SETUP = Setup(2, "AVX2", "Linux x86_64", None, None, "", "0.1.0", "3.11.0")


def timing(time_s: float = 2e-3, warnings: tuple[str, ...] = ()) -> Timing:
    return Timing(time_s, 1e-3, 3e-3, 0.5e-3, 9e-3, 70, 0.125, None, 2.0, 1.5, 2.5, -0.01, warnings)


def session(measured_at: str = "2026-07-01T12:00:00Z", baseline: str = "standard", budget: float = 8.0) -> Session:
    return Session(measured_at, "compare", None, baseline, budget, CONDITIONS, SETUP, ("the machine was busy",))


def entry(name: str = "standard", layer: str = "{}", time_s: float = 2e-3) -> Entry:
    return Entry(name, layer, 1728, 86_704_128, (1, 3, 224, 224), 3, 64, (3, 3), (1, 1), 1, timing(time_s))


def main(path: str, who: str, count: str) -> None:
    """Store `count` runs of one row, `WHO-0`, `WHO-1`, ..., printing each number once it is committed."""
    for number in range(int(count)):
        add(Path(path), session(), [entry(f"{who}-{number}")])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

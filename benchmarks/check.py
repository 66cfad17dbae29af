"""The time of `convcost check` on the five networks of configs/ ÷ that of importing torch, in whole processes."""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

from processes import in_turn

CONFIG = Path(__file__).parents[1] / "configs" / "budgets.toml"
PAIRS = 15


def main() -> None:
    check = [sys.executable, "-m", "convcost", "check", "--config", str(CONFIG)]
    runs = in_turn({"check": check, "import": [sys.executable, "-c", "import torch"]}, PAIRS)
    for what in ("wall_s", "cpu_s"):
        ratios = [getattr(a, what) / getattr(b, what) for a, b in zip(runs["check"], runs["import"], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        seconds = statistics.median(getattr(run, what) for run in runs["check"])
        print(
            f"check / import torch, {what}: {middle:.2f} ({low:.2f} to {high:.2f}; wanted 1.2); check {seconds:.2f} s"
        )
    print(f"{PAIRS} pairs in turn, {os.cpu_count()} processors")


if __name__ == "__main__":
    main()

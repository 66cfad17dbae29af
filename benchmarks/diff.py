"""The time of `convcost diff` of two ResNet-50 ÷ that of importing torch, building both and counting both."""

from __future__ import annotations

import os
import statistics

from processes import CONVCOST, PYTHON, in_turn

TARGET = "network:resnet50"
PAIRS = 15
COUNTS = f"""
import torch
import convcost
from convcost.nn.load.target import load_target
for model in [load_target({TARGET!r}).module for _ in range(2)]:
    convcost.count(model, torch.empty(1, 3, 224, 224, device="meta"))
"""


def main() -> None:
    diff = [*CONVCOST, "diff", TARGET, TARGET, "--all"]
    runs = in_turn({"diff": diff, "counts": [PYTHON, "-c", COUNTS]}, PAIRS)
    for what in ("wall_s", "cpu_s"):
        ratios = [getattr(a, what) / getattr(b, what) for a, b in zip(runs["diff"], runs["counts"], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        seconds = statistics.median(getattr(run, what) for run in runs["diff"])
        print(
            f"diff / import torch, build and count both, {what}: {middle:.2f} ({low:.2f} to {high:.2f}; wanted 1.15); "
            f"diff {seconds:.2f} s"
        )
    print(f"{PAIRS} pairs in turn, {os.cpu_count()} processors")


if __name__ == "__main__":
    main()

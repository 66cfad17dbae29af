"""Counting a model: time ÷ that of FlopCounterMode on meta tensors, and memory for a billion parameters."""

from __future__ import annotations

import statistics
import subprocess
import time
from typing import TYPE_CHECKING

import torch
from processes import PYTHON
from torch.utils.flop_counter import FlopCounterMode

import convcost
from convcost.nn.load.target import load_target
from convcost.text.table import plain_table

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 9
PEAK = """
import re, torch
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
import convcost
from torch import nn
with torch.device("meta"):
    model = nn.Sequential(*[nn.Linear(8192, 8192, bias=False) for _ in range(16)])
report = convcost.count(model, (torch.empty(4, 8192, device="meta"),))
print(report.totals.params, peak() / before)
"""
"""ru_maxrss would be that of this process, which a child inherits."""


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    model, data = load_target("network:resnet50").module, torch.empty(1, 3, 224, 224, device="meta")

    def theirs() -> None:
        with FlopCounterMode(display=False), torch.no_grad():
            model(data)

    theirs()
    report = convcost.count(model, (data,))
    ratios = [seconds(lambda: convcost.count(model, (data,))) / seconds(theirs) for _ in range(RUNS)]
    print(f"convcost.count / FlopCounterMode, ResNet-50 on meta: {statistics.median(ratios):.2f}"
          f" ({min(ratios):.2f} to {max(ratios):.2f}; wanted: at most 1)")  # fmt: skip
    printed = seconds(lambda: (plain_table(report.columns, report.rows), report.verdicts))
    print(f"printing its {len(report.rows)} rows: {printed:.3f} s (wanted: under 0.3)")
    done = subprocess.run([PYTHON, "-c", PEAK], capture_output=True, text=True, check=True)
    params, peak = done.stdout.split()
    print(f"{int(params):,} parameters: peak memory {float(peak):.2f} of import torch alone (wanted: at most 1.6)")


if __name__ == "__main__":
    main()

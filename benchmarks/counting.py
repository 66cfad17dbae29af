"""Counting a model: every counter that is installed, in a fresh process and warm, with its time beside its error."""

from __future__ import annotations

import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

RUNS = 3
COUNTERS = {
    "convcost": "import convcost\ndef count(): return convcost.count(model, data).totals.macs",
    "FlopCounterMode": """
from torch.utils.flop_counter import FlopCounterMode
def count():
    with FlopCounterMode(display=False) as mode, torch.no_grad():
        model(data)
    return mode.get_total_flops() // 2""",
    "fvcore": """
import logging, warnings
warnings.simplefilter("ignore")
logging.disable()
from fvcore.nn import FlopCountAnalysis
def count(): return FlopCountAnalysis(model, data).total()""",
    "thop": "from thop import profile\ndef count(): return int(profile(model, (data,), verbose=False)[0])",
    "ptflops": """
from ptflops import get_model_complexity_info
def count():
    return int(get_model_complexity_info(model, (3, 224, 224), as_strings=False, print_per_layer_stat=False)[0])""",
    "torchinfo": """
from torchinfo import summary
def count(): return summary(model, input_data=data, verbose=0).total_mult_adds""",
    "torchprofile": "from torchprofile import profile_macs\ndef count(): return profile_macs(model, data)",
}
"""Each defines `count`, which returns MACs in its own convention."""
PROGRAM = """
import re, sys, time
start = time.perf_counter()
import torch
sys.path.insert(0, {folder!r})
from networks import NETWORKS
model, data = NETWORKS[{network!r}]().eval(), torch.zeros(1, 3, 224, 224)
built = time.perf_counter()
{counter}
macs, cold = 0, 0.0
if {counts}:
    macs = count()
    cold = time.perf_counter() - built
whole = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\\\s+(\\\\d+)", open("/proc/self/status").read())[1])
warm = []
for _ in range(5 if {counts} else 0):
    start = time.perf_counter()
    count()
    warm.append(time.perf_counter() - start)
print(macs, cold, whole, peak, min(warm, default=0.0))
"""
DEEP = """
import sys, time, torch, convcost
from torch import nn
convcost.count(nn.Conv2d(8, 8, 1), torch.zeros(1, 8, 8, 8))
for calls in (450, 4500):
    layers = [layer for _ in range(calls // 3) for layer in (nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU())]
    model = nn.Sequential(*layers)
    start = time.perf_counter()
    convcost.count(model, torch.zeros(1, 8, 8, 8))
    print(calls, time.perf_counter() - start)
"""
BILLION = """
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
NOTHING = "only imported and built"
HEAD = """
| network | first count ÷ the fastest other's | process ÷ import torch and build | warm counts a second (others) |
| :-- | --: | --: | --: |"""
"""Of the table in docs/speed.md."""


def output(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout


def measured(network: str, counters: dict[str, str]) -> dict[str, tuple[float, ...]]:
    """MACs, cold seconds, seconds and peak memory of the whole process, and warm seconds: medians of runs in turn."""
    runs: dict[str, list[tuple[float, ...]]] = {name: [] for name in (NOTHING, *counters)}
    folder = str(Path(__file__).parent)
    for _ in range(RUNS):
        for name, kept in runs.items():
            program = PROGRAM.format(
                folder=folder, network=network, counter=counters.get(name, ""), counts=name in counters
            )
            kept.append(tuple(map(float, output(program.replace("\\\\", "\\")).split())))
    return {name: tuple(map(statistics.median, zip(*kept, strict=True))) for name, kept in runs.items()}


def main() -> None:
    counters = {name: code for name, code in COUNTERS.items() if name == "FlopCounterMode" or find_spec(name)}
    absent = ", ".join(COUNTERS.keys() - counters.keys())
    print(f"fresh processes in turn, medians of {RUNS}; not installed: {absent or 'none'}")
    table = [HEAD]
    for network in ("ResNet-50", "MobileNetV3", "ViT", "U-Net"):
        done = measured(network, counters)
        _, _, base, base_peak, _ = done.pop(NOTHING)
        macs, ours, *_ = done["convcost"]
        print(f"\n{network}: {int(macs):,} MACs; cold: importing a counter and its first count, relative to convcost's")
        for name, (total, cold, whole, peak, warm) in done.items():
            print(
                f"  {name:16} MACs {total / macs:8.4f} of convcost's, cold {cold / ours:6.1f}, whole process "
                f"{whole / base:.2f} and peak memory {peak / base_peak:.2f} of import torch and building, "
                f"warm {1 / warm:.0f} a second"
            )
        fastest = min(cold for name, (_, cold, *_) in done.items() if name != "convcost")
        print(f"  convcost / the fastest other: {ours / fastest:.3f} (wanted: at most 0.2)")
        _, _, whole, _, warm = done["convcost"]
        others = max(1 / warm for name, (*_, warm) in done.items() if name != "convcost")
        table.append(f"| {network} | {ours / fastest:.2f} | {whole / base:.2f} | {1 / warm:.0f} ({others:.0f}) |")
    print("\n".join(table))
    short, long = (float(line.split()[1]) for line in output(DEEP).splitlines())
    print(f"\n4,500 layers: {long:.2f} s (wanted: under 0.5), {long / short:.1f} times 450 layers (wanted: about 10)")
    params, share = output(BILLION).split()
    print(f"{int(params):,} parameters: peak memory {float(share):.2f} of import torch alone (wanted: at most 1.1)")


if __name__ == "__main__":
    main()

"""Weights of blocks from weights of ResNet-50's sizes: seconds, and peak memory beside the weights, old and new."""

from __future__ import annotations

import subprocess

from processes import PYTHON

from convcost.changes.rank_choice import FACTORISED

RUN = """
import re, sys, time
from pathlib import Path
from torch import nn
from convcost.changes.rank_choice import RankChoice
from convcost.nn.alter.factorisation import factorise
from convcost.nn.load.target import load_target

def memory(what):
    return 1024 * int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

block, choice = sys.argv[1], RankChoice(**{sys.argv[2]: (int if sys.argv[2] == "rank" else float)(sys.argv[3])})
model = load_target("network:resnet50", device="cpu").module
layers = [part for part in model.modules() if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1)]
layers.sort(key=lambda layer: layer.weight.numel(), reverse=True)
largest = layers[0].weight.nbytes
factorise("", nn.Conv2d(64, 64, 3).weight, block, RankChoice(rank=1))  # LAPACK is loaded, and the allocator set
before, made, seconds, peaks = memory("VmRSS"), [], 0.0, []
for layer in layers:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start = time.process_time()
    made.append(factorise("", layer.weight, block, choice))
    seconds += time.process_time() - start
    new = sum(weight.nbytes for factors in made for weight in factors.stages)
    peaks.append((memory("VmHWM") - before - new) / largest)
errors = sorted(factors.weight_error for factors in made)
print(len(layers), seconds, max(peaks), errors[0], errors[-1])
"""
CHOICES = (("rank", "64"), ("energy", "0.99"))
"""Options by which the ranks are chosen; random weights have nearly full ranks by their energy."""


def main() -> None:
    print("processor time (wanted: at most 20 s), peak memory (wanted: at most 3 times the largest layer), errors")
    for block in FACTORISED:
        for choice in CHOICES[: 1 if block == "blueprint" else None]:  # its rank is always 1
            done = subprocess.run([PYTHON, "-c", RUN, block, *choice], capture_output=True, text=True, check=True)
            layers, seconds, peak, least, most = map(float, done.stdout.split())
            errors = f"{layers:.0f} layers, errors of {least:.2%} to {most:.2%}"
            print(f"{block}, {' '.join(choice)}: {seconds:.1f} s, {peak:.1f}, {errors}", flush=True)


if __name__ == "__main__":
    main()

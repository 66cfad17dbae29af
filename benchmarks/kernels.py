"""`convcost kernel --model` on weights of ResNet-50's sizes: seconds, and peak memory beside the weights themselves."""

from __future__ import annotations

import subprocess
import tempfile

from processes import PYTHON

RUN = """
import re, time, torch
from dataclasses import replace
from functools import partial
from pathlib import Path
from torch import Tensor
from convcost.workflows.kernel import separate_model
from convcost.nn.load.target import load_target
from convcost.nn.load.spectrum import layer_row
from convcost.nn.load.weights import convolutions_of

def memory(what):
    return 1024 * int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

torch.save({"conv.weight": torch.randn(64, 64, 3, 3)}, FILE)
list(separate_model(FILE, (), None, lambda line: None))  # LAPACK is loaded, and the allocator set
layers, _ = convolutions_of("network:resnet50", {})
numbers = sum(p.numel() for p in load_target("network:resnet50").module.parameters() if p.ndim == 4)
largest = 4 * max(layer.row.params_before for layer in layers)

def looked_at(layers):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = memory("VmRSS"), time.perf_counter()
    rows = [layer_row(layer) for layer in layers]
    return rows, time.perf_counter() - start, (memory("VmHWM") - before) / largest

rows, seconds, whole = looked_at(layers)
halves = [replace(layer, read=partial(Tensor.half, layer.read().detach())) for layer in layers]
_, _, half = looked_at(halves)
print(numbers, sum(row.spectrum.kernels for row in rows), seconds, whole, half)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        code = RUN.replace("FILE", repr(f"{folder}/weights.pt"))
        done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    numbers, kernels, seconds, whole, half = map(float, done.stdout.split())
    print(f"{numbers:,.0f} weights of convolutions, {kernels:,.0f} kernels with K > 1")
    print(f"singular values of all of them: {seconds:.1f} s (wanted: at most 20)")
    print(f"peak memory beside the weights: {whole:.2f} of the largest layer with K > 1 (wanted: at most 3)")
    print(f"the same weights in half precision: {half:.2f} of that layer in single precision")


if __name__ == "__main__":
    main()

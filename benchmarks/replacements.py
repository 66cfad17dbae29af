"""Whole networks with each standard 3x3 convolution replaced by a block: the ratio of MACs next to the speed-up.

`python benchmarks/replacements.py` prints Markdown; `--write` puts it into docs/replace.md between its markers.
"""

from __future__ import annotations

import sys

import torch
from documents import DOCS, write_between
from networks import UNet

import convcost
from convcost.nn.load.target import load_target
from convcost.nn.measure.session import conditions_for
from convcost.nn.measure.side_by_side import measure_side_by_side
from convcost.timing.columns import speedup_text
from convcost.timing.conditions import TimingOptions

NETWORKS = {
    "ResNet-18": (lambda: load_target("network:resnet18", {}, "cpu").module, 224, r"^(?!stem\.)"),  # whose stem is 7x7
    "MobileNetV2": (lambda: load_target("network:mobilenet_v2", {}, "cpu").module, 224, "."),
    "U-Net": (UNet, 128, "."),
}
"""How each network is made, the size of its image, and the pattern of the layers that are replaced."""
BLOCKS = ("depthwise-separable", "blueprint", "spatially-separable", "low-rank", "bottleneck", "ghost")
OPTIONS = TimingOptions(("cpu",), time_budget=10.0)


def cells(network: str, block: str) -> tuple[str, str]:
    """The ratio of MACs and the speed-up of one network with one block."""
    make, size, only = NETWORKS[network]
    model, image = make().eval(), torch.zeros(1, 3, size, size)
    altered, result = convcost.replace(model, image, to=block, only=only)
    ratio = result.before.totals.macs / result.after.totals.macs
    forwards = (model, (image,), {}), (altered, (image,), {})
    whole = measure_side_by_side(forwards, [], OPTIONS).b.whole
    return f"{ratio:.2f}x", f"{speedup_text(whole)}{' !' if whole.warnings else ''}"


def table() -> str:
    """The table in Markdown."""
    heads = [
        f"{name} @{size}: {what}" for name, (_, size, _) in NETWORKS.items() for what in ("MACs fewer", "speed-up")
    ]
    lines = [f"| block | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for block in BLOCKS:
        row = [cell for network in NETWORKS for cell in cells(network, block)]
        lines.append(f"| {block} | {' | '.join(row)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    text = table()
    seen = conditions_for(OPTIONS)
    where = f"{seen.cpu}, torch {seen.torch_version}, {seen.threads} thread, {seen.dtype}, allocator {seen.allocator}"
    text += (
        f"\n\nMeasured on {where}; 5–95 % intervals;\n`!` marks a timing with a warning, `?` one without a verdict.\n"
    )
    if "?" in text.partition("\n\n")[0]:
        text += "Other programs kept the machine busy: run it again on a quiet one.\n"
    if "--write" in sys.argv:
        write_between("benchmarks/replacements.py", text, DOCS / "replace.md")
    else:
        print(text)


if __name__ == "__main__":
    main()

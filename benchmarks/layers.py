"""The ratio of MACs next to the speed-up, layer by layer, in both memory formats.

`python benchmarks/layers.py` prints Markdown; `--write` puts it into docs/choose-a-block.md between its markers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from documents import DOCS, write_between

import convcost

if TYPE_CHECKING:
    from convcost.comparison.result import Comparison

LAYERS = [
    (3, 64, 3, 112),
    (3, 64, 3, 224),
    (32, 64, 3, 112),
    (128, 128, 3, 56),
    (256, 256, 3, 14),
    (512, 512, 3, 7),
    (64, 64, 5, 56),
    (64, 64, 7, 56),
]


def speedup(layer: tuple[int, int, int, int], memory_format: str) -> tuple[Comparison, str]:
    c, o, k, size = layer
    result = convcost.compare(
        c, o, k, height=size, blocks=["depthwise-separable"], memory_format=memory_format, count=False, time_budget=5
    )
    timing = result.rows[0].timing
    mark = " !" if timing.warnings else ""
    return result, f"{timing.speedup:.2f} ({timing.speedup_low:.2f}–{timing.speedup_high:.2f}){mark}"


def table() -> str:
    lines = []
    for layer in LAYERS:
        result, contiguous = speedup(layer, "contiguous")
        _, channels_last = speedup(layer, "channels_last")
        c, o, k, size = layer
        row = result.rows[0]
        lines.append(f"| {c}→{o}, {k}×{k} @{size} | {row.macs_ratio:.1f} | {contiguous} | {channels_last} |")
        print(lines[-1], file=sys.stderr, flush=True)
    seen = result.rows[0].conditions
    where = f"{seen.cpu}, torch {seen.torch_version}, {seen.threads} thread, {seen.dtype}, allocator {seen.allocator}"
    head = "| layer | MACs: times fewer | NCHW: times the speed | channels_last: times the speed |\n|---|---|---|---|\n"
    return head + "\n".join(lines) + f"\n\nMeasured on {where}; 5–95 % intervals; `!` marks a timing with a warning.\n"


def main() -> None:
    text = table()
    if "--write" in sys.argv:
        write_between("benchmarks/layers.py", text, DOCS / "choose-a-block.md")
    else:
        print(text)


if __name__ == "__main__":
    main()

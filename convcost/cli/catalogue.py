"""The lists behind `--list-blocks` and `--list-kernels`, and the roofline as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.api import explain
from convcost.convolution.blocks import BLOCKS

if TYPE_CHECKING:
    from convcost.comparison.result import Comparison


def draw_rooflines(result: Comparison, width: int = 80) -> tuple[str, ...]:
    """Rooflines of the timed rows of a comparison as text, one for each calibrated device.

    Args:
        result: Comparison with timings.
        width: Width of the text in characters.
    """
    from convcost.timing.bound import roofline

    plots = []
    for device, machine in result.machines.items():
        rows = [row for row in result.rows if row.conditions is not None and row.conditions.device == device]
        points = [(row.placed.block.name, row.placed.cost.flop_per_byte, row.flop_per_s) for row in rows]
        drawn = [(name, x, y) for name, x, y in points if y]
        threads = next((row.conditions.threads for row in rows if row.conditions is not None), 0)
        peak = machine.peak(rows[0].dtype, threads) if rows else None
        if peak is not None and drawn:
            plots.append(f"{device}\n{roofline(drawn, peak, machine.hierarchy(threads), width)}")
    return tuple(plots)


def list_blocks() -> str:
    """The catalogue as a table: each block with its MACs ÷ those of standard, its description and its paper."""
    from convcost.text.table import aligned

    lines = [
        (block.name, explain(block.name, 64, 64, 3).ratio_symbols or "", block.summary, block.paper)
        for block in BLOCKS.values()
    ]
    return aligned(("block", "MACs / standard", "what it is", "paper"), lines, left=4)


def list_kernels() -> str:
    """The named kernels as a table: each with its parameters, its description and its source."""
    from convcost.kernels.named import KERNELS
    from convcost.text.table import aligned

    lines = [(kernel.name, kernel.parameters, kernel.summary, kernel.source) for kernel in KERNELS.values()]
    return aligned(("kernel", "parameters", "what it is", "source"), lines, left=4)

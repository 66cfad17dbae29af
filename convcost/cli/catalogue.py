"""The lists behind `--list-blocks` and `--list-kernels`, and the roofline as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.api import explain
from convcost.convolution.blocks import BLOCKS
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from convcost.comparison.result import Comparison
    from convcost.comparison.rows import Row

WIDTH: Final = 80
"""Characters in a line of a list."""


def draw_rooflines(result: Comparison, width: int = 80) -> tuple[str, ...]:
    """Rooflines of the timed rows of a comparison as text, one for each calibrated device, dtype and number of threads.

    Args:
        result: Comparison with timings.
        width: Width of the text in characters.
    """
    from convcost.timing.bound import roofline

    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in result.rows:
        if row.conditions is not None and row.conditions.device in result.machines:
            groups.setdefault((row.conditions.device, row.dtype, row.conditions.threads), []).append(row)
    plots = []
    for (device, dtype, threads), rows in groups.items():
        machine = result.machines[device]
        drawn = [(result.name(row), row.placed.cost.flop_per_byte, row.flop_per_s) for row in rows if row.flop_per_s]
        peak = machine.peak(dtype, threads)
        if peak is not None and drawn:
            title = (
                device if len(groups) == len(result.machines) else f"{device}, {dtype}, {number_of('thread', threads)}"
            )
            plots.append(f"{title}\n{roofline(drawn, peak, machine.hierarchy(threads), width)}")
    return tuple(plots)


def list_blocks() -> str:
    """The catalogue: each block with its MACs ÷ those of standard, its description and its paper."""
    return _listed(
        ("block", "MACs / standard"),
        (
            (block.name, explain(block.name, 64, 64, 3).ratio_symbols or "", block.summary, block.paper)
            for block in BLOCKS.values()
        ),
    )


def list_kernels() -> str:
    """The named kernels: each with its parameters, its description and its source."""
    from convcost.kernels.named import KERNELS

    return _listed(
        ("kernel", "parameters"),
        ((kernel.name, kernel.parameters, kernel.summary, kernel.source) for kernel in KERNELS.values()),
    )


def _listed(head: Sequence[str], entries: Iterable[tuple[str, str, str, str]]) -> str:
    """Two columns, and the texts of each entry below it, in lines of at most `WIDTH` characters."""
    import textwrap

    from convcost.text.table import aligned

    listed = list(entries)
    first, *lines = aligned(head, [entry[:2] for entry in listed], left=2).splitlines()
    shown = [first]
    for line, (_, _, *texts) in zip(lines, listed, strict=True):
        below = (textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ") for text in texts)
        shown += [line, *below]
    return "\n".join(shown)

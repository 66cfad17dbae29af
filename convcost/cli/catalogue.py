"""The lists behind `--list-blocks` and `--list-kernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.api import explain
from convcost.convolution.blocks import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH: Final = 80
"""Characters in a line of a list."""


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

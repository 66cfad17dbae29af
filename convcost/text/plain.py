"""The table as aligned text: one row a line, nothing cut, nothing to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.text.columns import shown_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from convcost.text.columns import Column

__all__ = ["aligned", "plain_table"]


def aligned(head: Sequence[str], body: Iterable[Sequence[str]], left: int = 1) -> str:
    """Columns of text padded to one width: the first `left` columns to the left, the rest to the right."""
    table = [list(head), *map(list, body)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )
    return "\n".join(line.rstrip() for line in lines)


def plain_table(columns: Iterable[Column], rows: Sequence[object], width: int | None = None) -> str:
    """Every column that has a title and a value, as aligned text.

    Args:
        columns: to choose from.
        rows: to show.
        width: of the terminal, which then also gets a rule under the head; None where there is no terminal.
    """
    shown = shown_columns(columns, rows, width)
    text = aligned([column.title for column in shown], [[column.text(row) for column in shown] for row in rows])
    if width is None:
        return text
    head, _, body = text.partition("\n")
    return f"{head}\n{'─' * max(map(len, text.splitlines()))}\n{body}"

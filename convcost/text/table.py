"""Tables as text: aligned columns, Markdown, and rich's table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from convcost.text.columns import shown_columns
from convcost.text.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from rich.console import Console, RenderableType
    from rich.table import Table

    from convcost.text.columns import Column


def markdown_table(heads: Sequence[str], rows: Iterable[Iterable[str]], right: Container[int] = ()) -> str:
    """A table in Markdown.

    Args:
        heads: Heads of the columns.
        rows: Cells of each row, as Markdown.
        right: Indices of the columns that are aligned to the right.

    >>> print(markdown_table(["name", "MACs"], [["`a`", "12"]], right={1}), end="")
    | name | MACs |
    |---|---:|
    | `a` | 12 |
    """
    rules = "|".join("---:" if index in right else "---" for index in range(len(heads)))
    return f"| {' | '.join(heads)} |\n|{rules}|\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def escaped(text: str) -> str:
    """Plain text as one line of Markdown that shows it as it is, in a table too."""
    line = " ".join(one_line(text).split())
    for sign in "\\`*_|[]~$":
        line = line.replace(sign, f"\\{sign}")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


R = TypeVar("R")
"""Type of a row."""


def aligned(head: Sequence[str], body: Iterable[Sequence[str]], left: int = 1) -> str:
    """Text in columns, the first `left` of them aligned to the left, the rest to the right."""
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


def plain_table(columns: Iterable[Column[R]], rows: Sequence[R], width: int | None = None) -> str:
    """The columns that have a title and a value, as aligned text.

    Args:
        columns: Columns to choose from.
        rows: Rows to show.
        width: Width of the terminal, for which a rule is drawn under the head; None without a terminal.
    """
    shown = shown_columns(columns, rows, width)
    text = aligned([column.title for column in shown], [[column.text(row) for column in shown] for row in rows])
    if width is None:
        return text
    head, _, body = text.partition("\n")
    return f"{head}\n{'─' * max(map(len, text.splitlines()))}\n{body}"


def wrapped(line: str, width: int | None) -> str:
    """The line, broken between words for a terminal of this width; unchanged for None."""
    if width is None:
        return line
    import textwrap

    # Paths and names stay whole, so that they can be copied.
    return textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def terminal(*, stderr: bool = False) -> Console:
    """The console of stdout or stderr."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def rich_table(
    columns: Iterable[Column[R]], rows: Sequence[R], width: int, *, title: str = "", waiting: Sequence[str] = ()
) -> Table:
    """The table for a terminal, with the columns that fit its width.

    Args:
        columns: Columns to choose from.
        rows: Rows to show.
        width: Width of the terminal in characters.
        title: Title above the table.
        waiting: Names of the fields that are still to come; their missing values are shown as an ellipsis.
    """
    from rich import box
    from rich.table import Table

    shown = shown_columns(columns, rows, width, waiting)
    table = Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        collapse_padding=True,
    )
    for index, column in enumerate(shown):
        table.add_column(
            column.title,
            justify="right" if index else "left",
            no_wrap=bool(index),
            overflow="fold",
            style=None if index else "bold",
        )
    for row in rows:
        table.add_row(*(_cell(column, row, waiting) for column in shown))
    return table


def _cell(column: Column[R], row: R, waiting: Sequence[str]) -> str:
    text = column.text(row)
    return "…" if text == "-" and column.name in waiting else text


def with_progress(table: RenderableType, line: str) -> RenderableType:
    """The table with a line of progress under it."""
    from rich.console import Group
    from rich.text import Text

    return Group(table, Text(line, style="dim", no_wrap=True, overflow="ellipsis")) if line else table

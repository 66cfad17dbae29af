"""The terminal's table, as wide as the terminal allows, and the live view that fills in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.text.columns import shown_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, RenderableType
    from rich.table import Table

    from convcost.text.columns import Column

__all__ = ["rich_table", "terminal", "with_progress"]


def terminal(*, stderr: bool = False) -> Console:
    """The terminal that stdout or stderr is."""
    from rich.console import Console  # a pipe does without rich

    return Console(stderr=stderr, highlight=False)


def rich_table(
    columns: Iterable[Column], rows: Sequence[object], width: int, *, title: str = "", waiting: Sequence[str] = ()
) -> Table:
    """The columns for which a terminal of this width has room.

    Args:
        columns: with their titles and the narrowest terminal for each.
        rows: to show.
        width: of the terminal, characters.
        title: above the table.
        waiting: fields that are still to come: an ellipsis stands for a value that is not there yet.
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


def _cell(column: Column, row: object, waiting: Sequence[str]) -> str:
    text = column.text(row)
    return "…" if text == "-" and column.name in waiting else text


def with_progress(table: RenderableType, line: str) -> RenderableType:
    """The table with a line of progress under it."""
    from rich.console import Group
    from rich.text import Text

    return Group(table, Text(line, style="dim", no_wrap=True, overflow="ellipsis")) if line else table

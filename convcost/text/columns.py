"""Columns: each defines a cell of the table, a field of CSV and JSON, and a line of the documentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from convcost.text.errors import ConvcostError, did_you_mean, one_line
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


R_contra = TypeVar("R_contra", contravariant=True)
"""Type of a row."""
Q = TypeVar("Q")
GAP: Final = 2
"""Number of spaces between two columns of a table."""


@dataclass(frozen=True, slots=True)
class Column(Generic[R_contra]):
    """One field of a row.

    Attributes:
        name: Name of the field in CSV and JSON.
        value: Function that takes the raw value, in base units, from a row; None for a value that was not obtained.
        meaning: Description for the documentation, with the unit.
        title: Head in the terminal's table; empty for a column that is not shown there.
        show: Function that formats a value for the terminal's table; None for the text of a file.
        cell: Function that formats the cell from the whole row; None if the value is enough.
        width: Minimum terminal width for the column, in characters.
        flat: Function that formats a value for one cell of a file; None for numbers, texts and sizes.
        varies: Whether the terminal's table has the column only if the rows differ in it.
        mark: Function that takes a sign before the number from a row, such as "≥" for a lower bound; None for no signs.
        chosen: Whether the user named the column, so that it is shown without values too.
    """

    name: str
    value: Callable[[R_contra], object]
    meaning: str
    title: str = ""
    show: Callable[[Any], str] | None = None
    cell: Callable[[R_contra], str] | None = None
    width: int = 0
    flat: Callable[[Any], str] | None = None
    varies: bool = False
    mark: Callable[[R_contra], str] | None = None
    chosen: bool = False

    def of(self, part: Callable[[Q], R_contra | None]) -> Column[Q]:
        """This column for rows that contain such a part; empty if the part is None.

        Args:
            part: Function that takes the part from a row.
        """

        def value(row: Q) -> object:
            one = part(row)
            return None if one is None else self.value(one)

        def cell(row: Q) -> str:
            one = part(row)
            return "-" if one is None else self.text(one)

        width, flat, varies = self.width, self.flat, self.varies
        return Column(self.name, value, self.meaning, self.title, self.show, cell, width, flat=flat, varies=varies)

    def in_file(self, row: R_contra) -> object:
        """The value in one cell of a file."""
        value = self.value(row)
        if value is not None and self.flat is not None:
            return self.flat(value)
        return format_sizes(value) if isinstance(value, tuple) else value

    def text(self, row: R_contra) -> str:
        """The cell of the terminal's table, on one line; `-` for a value that was not obtained."""
        value = self.value(row)
        if value is None:
            return "-"
        if self.cell is not None:
            return one_line(self.cell(row))
        text = str(self.in_file(row)) if self.show is None else self.show(value)
        return one_line(f"{'' if self.mark is None else self.mark(row)} {text}").strip()


def choose_columns(columns: Sequence[Column[Q]], names: str | Sequence[str] | None) -> tuple[Column[Q], ...]:
    """The columns of these names, in this order; a column without a title gets its name as the title.

    Args:
        columns: Columns to choose from.
        names: Names, in one text separated by commas; None for all columns.

    Raises:
        ConvcostError: There is no such column.
    """
    if names is None:
        return tuple(columns)
    known = {column.name: column for column in columns}
    titles = {column.title: column.name for column in columns}
    chosen = []
    for name in filter(None, map(str.strip, names.split(",") if isinstance(names, str) else names)):
        if name not in known:
            hint = did_you_mean(titles.get(name, name), known)
            raise ConvcostError(f"columns (={name}) must be fields of a row; {hint}")
        column = known[name]
        chosen.append(replace(column, title=column.title or name, width=0, varies=False, chosen=True))
    return tuple(chosen)


def shown_columns(
    columns: Iterable[Column[Q]], rows: Sequence[Q], width: int | None = None, waiting: Sequence[str] = ()
) -> list[Column[Q]]:
    """The columns of a terminal's table: those that have a title, a value, and room on the terminal.

    If long cells leave too little room, the columns with the largest minimum width are left out first.

    Args:
        columns: Columns to choose from.
        rows: Rows of the table.
        width: Width of the terminal in characters; None for no limit.
        waiting: Names of the fields that are still to come, whose columns are shown without values.
    """
    shown = [
        column
        for column in columns
        if column.title
        and (width is None or column.width <= width)
        and (column.chosen or column.name in waiting or any(column.value(row) is not None for row in rows))
        and not (column.varies and len({column.value(row) for row in rows}) == 1)
    ]
    if width is None:
        return shown
    wide = {column.name: max(map(len, (column.title, *map(column.text, rows)))) + GAP for column in shown}
    while sum(wide[column.name] for column in shown) > width and any(column.width for column in shown):
        shown.remove(max(shown, key=lambda column: column.width))
    return shown


def records(columns: Iterable[Column[Q]], rows: Iterable[Q]) -> list[dict[str, Any]]:
    """The rows as JSON objects: raw base units, sizes as lists, None for values that were not obtained."""
    listed = tuple(columns)
    return [{column.name: _in_json(column.value(row)) for column in listed} for row in rows]


def _in_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value

"""The columns of every output: one line each makes the table's cell, the CSV and JSON field and the documentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from convcost.text.errors import ConvcostError, did_you_mean, one_line
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


R_contra = TypeVar("R_contra", contravariant=True)
"""The kind of row."""
Q = TypeVar("Q")
GAP: Final = 2
"""Spaces between two columns of a table."""


@dataclass(frozen=True, slots=True)
class Column(Generic[R_contra]):
    """One field of a row.

    Attributes:
        name: The field in CSV and JSON.
        value: The raw value in base units, from the row; None where it was not obtained.
        meaning: One line for the documentation, with the unit.
        title: The head in the terminal's table; a column without one is not shown there.
        show: How the terminal's table writes a value; as a file does by default.
        cell: How the terminal's table writes the whole cell, where that takes more of the row than the value.
        width: The narrowest terminal that has room for the column.
        flat: The value in one cell of a file, where it is neither a number, nor a text, nor sizes.
    """

    name: str
    value: Callable[[R_contra], object]
    meaning: str
    title: str = ""
    show: Callable[[Any], str] | None = None
    cell: Callable[[R_contra], str] | None = None
    width: int = 0
    flat: Callable[[Any], str] | None = None

    def of(self, part: Callable[[Q], R_contra | None]) -> Column[Q]:
        """This column in the table of rows that have such a part; empty where the part is None."""

        def value(row: Q) -> object:
            one = part(row)
            return None if one is None else self.value(one)

        def cell(row: Q) -> str:
            one = part(row)
            return "-" if one is None else self.text(one)

        return Column(self.name, value, self.meaning, self.title, cell=cell, width=self.width, flat=self.flat)

    def in_file(self, row: R_contra) -> object:
        """The value in one cell of a file."""
        value = self.value(row)
        if value is not None and self.flat is not None:
            return self.flat(value)
        return format_sizes(value) if isinstance(value, tuple) else value

    def text(self, row: R_contra) -> str:
        """The cell of the terminal's table, on one line; `-` where the value was not obtained."""
        value = self.value(row)
        if value is None:
            return "-"
        if self.cell is not None:
            return one_line(self.cell(row))
        return one_line(str(self.in_file(row)) if self.show is None else self.show(value))


def choose_columns(columns: Sequence[Column[Q]], names: str | None) -> tuple[Column[Q], ...]:
    """The columns of these names, in the order given; a column that people do not usually see gets its name as title.

    Args:
        columns: to choose from.
        names: separated by commas; None for all.

    Raises:
        ConvcostError: no such column.
    """
    if names is None:
        return tuple(columns)
    known = {column.name: column for column in columns}
    chosen = []
    for name in filter(None, map(str.strip, names.split(","))):
        if name not in known:
            msg = f"columns (={name}) must be fields of a row; {did_you_mean(name, known, 'see the CSV.')}"
            raise ConvcostError(msg)
        column = known[name]
        chosen.append(replace(column, title=column.title or name, width=0))
    return tuple(chosen)


def shown_columns(
    columns: Iterable[Column[Q]], rows: Sequence[Q], width: int | None = None, waiting: Sequence[str] = ()
) -> list[Column[Q]]:
    """The columns of a table for people: titled, with something in them, and with room on the terminal.

    Where long cells leave no room, the columns that ask for the widest terminal go first.

    Args:
        columns: to choose from.
        rows: of the table.
        width: of the terminal in characters; None has room for all.
        waiting: fields that are still to come and keep their place.
    """
    shown = [
        column
        for column in columns
        if column.title
        and (width is None or column.width <= width)
        and (column.name in waiting or any(column.value(row) is not None for row in rows))
    ]
    if width is None:
        return shown
    wide = {column.name: max(map(len, (column.title, *map(column.text, rows)))) + GAP for column in shown}
    while sum(wide[column.name] for column in shown) > width and any(column.width for column in shown):
        shown.remove(max(shown, key=lambda column: column.width))
    return shown


def records(columns: Iterable[Column[Q]], rows: Iterable[Q]) -> list[dict[str, Any]]:
    """The rows as JSON objects: raw base units, sizes as lists, None where a value was not obtained."""
    listed = tuple(columns)
    return [{column.name: _in_json(column.value(row)) for column in listed} for row in rows]


def _in_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value

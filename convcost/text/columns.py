"""The columns of every output: one line each makes the table's cell, the CSV and JSON field and the documentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from convcost.text.errors import ConvcostError, did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


__all__ = ["Column", "choose_columns", "records", "shown_columns"]

GAP: Final = 2
"""Spaces between two columns of a table."""


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a row.

    Attributes:
        name: the field in CSV and JSON.
        path: where the value lies, as attributes from the row; a None on the way is a None.
        meaning: one line, with the unit.
        title: the head in the terminal's table; empty: not shown there.
        show: how the terminal's table writes a value.
        cell: how the terminal's table writes the whole cell from the row, where that takes more than the value.
        width: the narrowest terminal that has room for the column.
        flat: the value in one cell of a file, where it is neither a number, nor a text, nor sizes.
    """

    name: str
    path: str
    meaning: str
    title: str = ""
    show: Callable[[Any], str] = str
    cell: Callable[[Any], str] | None = None
    width: int = 0
    flat: Callable[[Any], str] | None = None

    def value(self, row: object) -> Any:  # noqa: ANN401 - a field is an int, a float, a bool, a text or sizes
        """The raw value in base units, sizes as a list; None where it was not obtained."""
        value: Any = row
        for name in self.path.split("."):
            if value is None:
                return None
            value = getattr(value, name)
        return list(value) if isinstance(value, tuple) else value

    def text(self, row: object) -> str:
        """The cell of the terminal's table, on one line; `-` where the value was not obtained."""
        value = self.value(row)
        if value is None:
            return "-"
        return one_line(self.show(value) if self.cell is None else self.cell(row))


def choose_columns(columns: Sequence[Column], names: str | None) -> tuple[Column, ...]:
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
    columns: Iterable[Column], rows: Sequence[object], width: int | None = None, waiting: Sequence[str] = ()
) -> list[Column]:
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


def records(columns: Iterable[Column], rows: Iterable[object]) -> list[dict[str, Any]]:
    """The rows as JSON objects: raw base units, sizes as lists, None where a value was not obtained."""
    listed = tuple(columns)
    return [{column.name: column.value(row) for column in listed} for row in rows]

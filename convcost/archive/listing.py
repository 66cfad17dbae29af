"""What the history holds: filtered, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convcost.archive.columns import HISTORY_COLUMNS
from convcost.convolution.shape import require_at_least
from convcost.text.columns import records
from convcost.text.units import number_of

if TYPE_CHECKING:
    from convcost.archive.filters import Filters
    from convcost.archive.session import Stored
    from convcost.text.columns import Column

__all__ = ["History", "list_history"]

SCHEMA: Final = "convcost.history/1"


@dataclass(frozen=True, slots=True)
class History:
    """Stored timings, newest first.

    Attributes:
        rows: one a timed layer.
        total: how many match, shown or not.
        database: the file.
        columns: of the table and the frame; the JSON object always has all.
    """

    rows: tuple[Stored, ...]
    total: int
    database: str
    columns: tuple[Column, ...] = HISTORY_COLUMNS

    @property
    def head(self) -> str:
        """How many rows there are, and where."""
        few = "" if len(self.rows) == self.total else f"{len(self.rows)} of "
        there = "" if Path(self.database).exists() else " (no such file yet)"
        return f"{few}{number_of('timing', self.total)} in {self.database}{there}"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """None: a history only tells."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `convcost history --format json`."""
        return {
            "schema": SCHEMA,
            "database": self.database,
            "total": self.total,
            "rows": records(HISTORY_COLUMNS, self.rows),
        }

    def to_frame(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame; naming the type would import pandas
        """The rows as a pandas DataFrame with the columns of the CSV."""
        from convcost.text.export import frame  # noqa: PLC0415 - pandas only for those who ask for it

        return frame(self.columns, self.rows)

    def _repr_html_(self) -> str:
        """The rows as a notebook shows them."""
        from convcost.text.export import notebook  # noqa: PLC0415 - pandas only for those who ask for it

        return notebook(self.columns, self.rows, self.verdicts)

    def __str__(self) -> str:
        """The plain table."""
        from convcost.text.plain import plain_table  # noqa: PLC0415 - only for those who print it

        return f"{self.head}\n{plain_table(self.columns, self.rows)}"


def list_history(filters: Filters, limit: int | None = None) -> History:
    """The stored timings that pass the filters, newest first.

    Args:
        filters: all that are set must hold.
        limit: the most rows; None for all.

    Raises:
        ConvcostError: a filter that could never match, a limit below 1, a database that cannot be read.
    """
    if limit is not None:
        require_at_least(1, limit=limit)
    where, values = filters.condition()
    from convcost.archive.database import stored_rows  # noqa: PLC0415 - the help does without SQLite
    from convcost.archive.file import database_path  # noqa: PLC0415 - the same

    path = database_path()
    rows, total = stored_rows(path, where, values, limit)
    return History(tuple(rows), total, str(path))

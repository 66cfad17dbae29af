"""The result of `convcost sweep`: the rows that are kept, in memory or in the files of a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.grids.columns import RATIOS, REFUSED, SIZES, column_name, schema
from convcost.grids.groups import ROWS
from convcost.grids.measured import EVERY, INDEX, MEASURED_COLUMNS, is_predicted
from convcost.grids.reduction import MAX_EQUAL, MORE_EQUAL
from convcost.text.columns import Column
from convcost.text.errors import ConvcostError
from convcost.text.result import Result
from convcost.text.units import human_count, number_of, thousands

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset

    from convcost.grids.configuration import Configuration
    from convcost.grids.latency import LatencyTable
    from convcost.grids.measured import Timed
    from convcost.grids.parts import Counts
    from convcost.grids.reduction import Reduction
    from convcost.text.figure import Figure

MAX_ROWS: Final = 1000
"""Maximum number of rows in a printed table and a page."""
MAX_FIRST_ROWS: Final = 20
"""Maximum number of rows of a folder in a printed table and a page."""
MAX_NOTEBOOK_ROWS: Final = 50
"""Maximum number of rows in a notebook."""
MAX_JSON_ROWS: Final = 100_000
"""Maximum number of rows in a JSON object."""
MAX_FRAME_ROWS: Final = 20_000_000
"""Maximum number of rows in a DataFrame."""
MAX_REASONS: Final = 8
"""Maximum number of reasons for refusals that have a note of their own."""
_SUMMARIES: Final = {"min": "least", "mean": "mean", "max": "greatest"}
_WIDTHS: Final = {
    "time_s": 1,
    "speedup": 1,
    "macs": 1,
    "params": 100,
    "traffic_bytes": 160,
    "flop_per_byte": 180,
    "macs_ratio": 200,
    "params_ratio": 220,
}
"""Width of the terminal from which a summary has these columns; it has no others but axes there."""
_USUAL_WIDTH: Final = 50
"""Width of the terminal from which a table has the costs that `convcost compare` always shows."""
_TITLES: Final = {
    "in_channels": "in",
    "kernel_size": "kernel",
    "requested_out_channels": "requested out",
    "requested_kernel_size": "requested kernel",
}
"""Short heads of columns that `convcost compare` does not show."""


@dataclass(frozen=True, repr=False)
class GridResult(Result["Mapping[str, Any]"]):
    """The rows of a sweep that are kept.

    Attributes:
        configuration: Configuration of the sweep.
        counts: What became of its combinations.
        table: Rows that are kept; None for all rows, in the parts of a folder.
        reduction: Which rows are kept; None for all.
        path: Folder of the parts, or file of the rows that are kept; None without files.
        shown: Maximum number of rows that are printed.
        timed: How much of the grid was timed; None for a prediction.
    """

    SCHEMA: ClassVar = "convcost.grid/1"
    configuration: Configuration
    counts: Counts
    table: pa.Table | None
    reduction: Reduction | None = None
    path: Path | None = None
    shown: int = MAX_ROWS
    timed: Timed | None = None

    @cached_property
    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """The first rows."""
        count = self.shown if self.table is not None else min(self.shown, MAX_FIRST_ROWS)
        return tuple(self._first(count))

    def _first(self, count: int) -> list[dict[str, Any]]:
        """The first rows; of a folder no more than a few pages of files are read, while a dataset reads whole parts."""
        import pyarrow.parquet as pq

        rows, first = self.scan(), []
        if self.table is not None or self.path is None:
            return list(rows.head(count).to_pylist())
        for path in rows.files:
            with pq.ParquetFile(path) as part:
                for batch in part.iter_batches(max(1, count)):
                    first += batch.to_pylist()
                    if len(first) >= count:
                        return first[:count]
        return first

    @property
    def _goals(self) -> tuple[str, ...]:
        return () if self.reduction is None else tuple(goal.name for goal in self.reduction.goals)

    @property
    def row_count(self) -> int:
        """The number of rows that are kept."""
        return self.counts.rows if self.table is None else int(self.table.num_rows)

    @cached_property
    def columns(self) -> tuple[Column[Mapping[str, Any]], ...]:
        """The columns of the rows."""
        names = schema(self.configuration).names if self.table is None else self.table.schema.names
        goals = () if self.reduction is None else (*self.reduction.group_by, *self._goals)
        chosen = {*self.configuration.columns, *goals}
        columns = [_column(name, chosen, self._varying) for name in names]
        kept = {"block", "macs", "time_s", ROWS, *goals}
        # The first ones stay longest on a narrow terminal.
        return tuple(
            replace(one, width=0 if one.name in kept else one.width or (1 + place if one.chosen else _USUAL_WIDTH))
            for place, one in enumerate(columns)
        )

    @property
    def _varying(self) -> tuple[str, ...]:
        """The columns of which the sweep has several values."""
        return tuple(column_name(axis.name) for axis in self.configuration.axes if len(axis.values) > 1)

    def scan(self) -> pyarrow.dataset.Dataset:
        """The rows as a pyarrow dataset, which reads what is needed of the files.

        Raises:
            ConvcostError: Files are missing.
        """
        import pyarrow.dataset

        if self.table is not None or self.path is None:
            return pyarrow.dataset.dataset(self.table)
        parts = sorted(map(str, self.path.absolute().glob("part-*.parquet")))  # or a: would begin an address
        rows = pyarrow.dataset.dataset(parts, schema=schema(self.configuration), format="parquet")
        try:
            there = rows.count_rows()
        except OSError:
            there = 0
        if there != self.row_count:
            raise ConvcostError(
                f"out (={self.path}) must have the {thousands(self.row_count)} rows of the sweep, and has "
                f"{thousands(there)}; start the sweep again."
            )
        return rows

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame; whole numbers are Int64 in a column that lacks some, else int64.

        Raises:
            ConvcostError: These are more rows than a DataFrame should have.
        """
        import pandas as pd
        import pyarrow as pa

        table = self._whole("a DataFrame", MAX_FRAME_ROWS)
        nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        return pd.DataFrame(
            {
                name: column.to_pandas(types_mapper=nullable.get if column.null_count else None)
                for name, column in zip(table.schema.names, table.columns, strict=True)
            }
        )

    def _whole(self, what: str, most: int) -> pa.Table:
        """All rows.

        Raises:
            ConvcostError: There are more rows.
        """
        if self.row_count > most:
            raise ConvcostError(
                f"rows (={self.row_count}) must be at most {most} for {what}; read them with .scan(), some columns or "
                "some rows at a time."
            )
        return self.scan().to_table() if self.table is None else self.table

    @property
    def head(self) -> str:
        """How many rows of how many blocks, and what is kept of them."""
        rows = number_of("row", self.counts.rows, human_count)
        rows = f"grid of {number_of('block', len(self.configuration.blocks))}, {rows}"
        if self.timed is not None:
            rows = f"{rows.partition(',')[0]}, timed: {self.timed.share}"
        kept = ""
        if self.reduction is not None:
            is_after = self.timed is not None and not is_predicted(self.reduction)
            kept = f"{'; of these, ' if is_after else ': '}{self.reduction.text}"
        where = "" if self.path is None else f", in {self._place}"
        how = "" if self.timed is None else f"; {self.timed.conditions.summary()}"
        return f"{rows}{kept}{where}{how}; {'; '.join(self._common)}; 1 MAC = 2 FLOPs"

    @property
    def _common(self) -> Iterator[str]:
        """What all rows have in common: sizes, dtype, baseline."""
        names = [column.name for column in self.columns]
        blocks = self.configuration.blocks
        is_named = len(blocks) > 1 or "block" in names
        yield ", ".join([*([] if is_named else [f"block = {blocks[0]}"]), *self.configuration.common])
        if any(name.startswith((*RATIOS, "speedup")) for name in names):
            yield f"ratios relative to {self.configuration.baseline}"

    @property
    def _place(self) -> Path | None:
        """The path, with a name of its own."""
        is_short = self.path is not None and self.path.name in {"", ".."}
        return self.path.resolve() if self.path is not None and is_short else self.path

    @property
    def notes(self) -> tuple[str, ...]:
        """The rows that are not shown, the combinations that are no rows, and axes without effect."""
        return (*self._notes(), *self.configuration.notes)

    @property
    def warnings(self) -> tuple[str, ...]:
        """How many of the timed rows have a warning."""
        if self.timed is None or not self.timed.warned:
            return ()
        return (f"{number_of('timed row', self.timed.warned)} not to be trusted: the column warning has the reasons.",)

    def _notes(self) -> Iterator[str]:
        if len(self.rows) < self.row_count:
            rest = "a file or .to_frame() has all." if self.path is None else f"all are in {self._place}."
            yield f"{thousands(len(self.rows))} of {thousands(self.row_count)} rows are shown; {rest}"
        if self.table is not None and MORE_EQUAL in self.table.schema.names:
            more = sum(self.table[MORE_EQUAL].to_pylist())
            equal = f"{number_of('further row', more, thousands)} equal{'s' if more == 1 else ''}"
            yield f"{equal} one of these in all of the columns; the first {MAX_EQUAL} of each are kept."
        if excluded := self.counts.excluded:
            verb = "does" if excluded == 1 else "do"
            yield f"{number_of('combination', excluded, thousands)} {verb} not meet the conditions."
        refused = sorted(self.counts.refused.items(), key=lambda one: (-one[1], one[0]))
        what = "is refused" if self.configuration.illegal == "count" else "is kept without costs"
        for reason, count in refused[:MAX_REASONS]:
            combinations = number_of("combination", count, thousands)
            yield f"{combinations} {what.replace('is', 'are') if count > 1 else what}: {reason}."
        if rest_count := sum(count for _, count in refused[MAX_REASONS:]):
            reasons = number_of("other reason", len(refused) - MAX_REASONS)
            yield f"{number_of('combination', rest_count, thousands)} more for {reasons}."
        if self.timed is not None:
            yield from self.timed.remarks

    def latency_table(self) -> LatencyTable:
        """The rows as the YAML file that the estimators of ProxylessNAS and once-for-all read.

        Raises:
            ConvcostError: The rows have no times.
        """
        from convcost.grids.latency import latency_table

        if self.timed is None or self.table is None or INDEX not in self.table.schema.names:
            raise ConvcostError(
                "a latency table must have the times of rows; turn time on, and leave group_by alone out."
            )
        return latency_table(self.configuration, self.table.to_pylist(), self.timed)

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """The rows in two of the costs, with those that no other row beats."""
        from convcost.grids.figures import grid_figures

        goals = self._goals or (() if self.timed is None else ("time_s",))
        return grid_figures(self.scan(), self.row_count, ("block", *self._varying), goals)

    def _fields(self) -> dict[str, Any]:
        return {
            "configuration": self.configuration.to_dict(),
            "rows_total": self.counts.rows,
            "excluded": self.counts.excluded,
            "refused": dict(self.counts.refused),
            "kept": None if self.reduction is None else self.reduction.text,
            "path": None if self.path is None else str(self.path),
            **({} if self.timed is None else {"timed": self.timed.to_dict()}),
            "rows": [
                {name: _listed(value) if name in SIZES else value for name, value in row.items()}
                for row in self._whole("JSON", MAX_JSON_ROWS).to_pylist()
            ],
        }

    def _repr_html_(self) -> str:
        """Head, table, notes and warnings as HTML, for notebooks."""
        few = self if self.shown <= MAX_NOTEBOOK_ROWS else replace(self, shown=MAX_NOTEBOOK_ROWS)
        return super(GridResult, few)._repr_html_()


def _listed(sizes: str | None) -> list[int] | str | None:
    """The sizes in a text such as `3x3`; another text as it is."""
    return list(map(int, sizes.split("x"))) if sizes and sizes[0].isdigit() else sizes


def _column(name: str, chosen: Container[str], varying: Container[str]) -> Column[Mapping[str, Any]]:
    """The column of rows as mappings, which looks like that of `convcost compare`.

    Args:
        name: Name of the column.
        chosen: Names of the columns that the user named, which are always shown.
        varying: Names of the columns of which the sweep has several values, which are shown too.
    """
    value = itemgetter(name)
    if name in MEASURED_COLUMNS:
        known = MEASURED_COLUMNS[name]
        return replace(known, title=known.title or name, width=0, chosen=True) if name in chosen else known
    if name == ROWS:
        return Column(name, value, "rows of the group", "rows", thousands)
    if name == MORE_EQUAL:
        return Column(name, value, "further rows that equal this one in all goals", "equal", thousands)
    base, _, summary = name.rpartition("_")
    if name not in EVERY and summary in _SUMMARIES:
        like = EVERY[base].compared
        meaning = f"{_SUMMARIES[summary]} of the group" + ("" if like is None else f": {like.meaning}")
        is_axis = base in varying and summary != "mean"
        title = f"{summary} {'MACs fewer' if base == 'macs_ratio' else _title(base)}"
        width = (2 if summary == "max" else 4) if is_axis else _WIDTHS.get(base, 0) + 2 * (summary != "mean")
        show = None if like is None else like.show
        return Column(name, value, meaning, title if is_axis or base in _WIDTHS else "", show, width=width)
    like = EVERY[name].compared
    is_shown = name in chosen or name == REFUSED.name or column_name(EVERY[name].axis) in varying
    if like is None:
        return Column(name, value, name, _title(name) if is_shown else "", chosen=is_shown and name != REFUSED.name)
    title = _title(name) if is_shown else "" if like.varies else like.title
    return Column(name, value, like.meaning, title, like.show, width=0 if is_shown else like.width, chosen=is_shown)


def _title(name: str) -> str:
    """The head of a column that is shown."""
    like = EVERY[name].compared
    return (like and like.title) or _TITLES.get(name, name)

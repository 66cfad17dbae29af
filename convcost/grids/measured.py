"""The measured rows of a sweep: the columns of their times and conditions, and how much of the grid they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from convcost.grids.columns import COLUMNS, GridColumn, arrow_type, chosen_columns
from convcost.text.columns import Column
from convcost.text.units import human_count, human_percent, number_of, thousands
from convcost.timing.columns import condition_columns, timing_columns
from convcost.timing.conditions import Conditions
from convcost.timing.statistics import Timing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from convcost.comparison.rows import Row
    from convcost.grids.configuration import Configuration
    from convcost.grids.reduction import Reduction
    from convcost.timing.measured import Outcome

INDEX: Final = "index"
"""Column with the number of a row's combination in the grid."""
MEASURED: Final = {
    one.name: one
    for one in (
        GridColumn("status", "text"),
        GridColumn("reason", "text"),
        GridColumn("device", "text"),
        GridColumn("threads", "int"),
        GridColumn("memory_format", "text"),
        GridColumn("allocator", "text"),
        GridColumn("time_s", "float", "smaller"),
        GridColumn("time_q25_s", "float", "smaller"),
        GridColumn("time_q75_s", "float", "smaller"),
        GridColumn("time_min_s", "float", "smaller"),
        GridColumn("first_call_s", "float", "smaller"),
        GridColumn("time_runs", "int"),
        GridColumn("dropped_share", "float"),
        GridColumn("faults_per_call", "float"),
        GridColumn("speedup", "float", "larger"),
        GridColumn("speedup_low", "float", "larger"),
        GridColumn("speedup_high", "float", "larger"),
        GridColumn("verdict", "text"),
        GridColumn("probe_drift", "float"),
        GridColumn("flop_per_s", "float", "larger"),
        GridColumn("torch_version", "text"),
        GridColumn("cpu", "text"),
        GridColumn("warning", "text"),
        GridColumn(INDEX, "int"),
    )
}
"""The columns that measured rows have after the predicted ones, in order."""
EVERY: Final = COLUMNS | MEASURED
"""Every column that measured rows may have."""
_SAMPLE: Final = "a space-filling sample"


def measured_columns(configuration: Configuration) -> tuple[GridColumn, ...]:
    """The columns of the measured rows of a sweep, in order; the dtype is one of the conditions."""
    chosen = {column.name: column for column in chosen_columns(configuration)}
    return tuple((chosen | {"dtype": COLUMNS["dtype"]} | MEASURED).values())


def measured_schema(configuration: Configuration) -> pa.Schema:
    """The Arrow schema of the measured rows of a sweep."""
    import pyarrow as pa

    return pa.schema(pa.field(one.name, arrow_type(one)) for one in measured_columns(configuration))


def is_predicted(reduction: Reduction) -> bool:
    """Whether the best rows are those of predicted columns alone, so that they are known before anything is timed."""
    names = (*reduction.group_by, *(goal.name for goal in reduction.goals))
    return bool(reduction.goals) and MEASURED.keys().isdisjoint(names)


def measured_values(index: int, outcome: Outcome, row: Row | None) -> dict[str, Any]:
    """The values of a row in the columns of `MEASURED`.

    Args:
        index: Number of its combination.
        outcome: What became of it.
        row: Row with its conditions and its timing; None for a combination that the block does not allow.
    """
    values = dict.fromkeys(MEASURED) | {INDEX: index, "status": outcome.status, "reason": outcome.reason}
    if row is not None:
        values |= {one.name: one.compared.in_file(row) for one in MEASURED.values() if one.compared is not None} | {
            "dtype": row.dtype
        }
    return values


def _conditions(row: Mapping[str, Any]) -> Conditions | None:
    names = [one.name for one in fields(Conditions) if one.name != "compiled"]
    return None if row["device"] is None else Conditions(compiled=False, **{name: row[name] for name in names})


def _timing(row: Mapping[str, Any]) -> Timing | None:
    """The timing of a measured row; its doubts are known by its verdict alone."""
    if row["time_s"] is None:
        return None
    warnings = tuple(filter(None, [row["warning"]]))
    doubts = warnings if row["verdict"] == "undecided" else ()
    values = {one.name: row[one.name] for one in fields(Timing) if one.name not in {"warnings", "doubts"}}
    return Timing(**values, warnings=warnings, doubts=doubts)


MEASURED_COLUMNS: Final[dict[str, Column[Mapping[str, Any]]]] = {
    one.name: one
    for one in (
        Column("status", lambda row: row["status"], "ok, refused, out-of-memory or too-slow", "status"),
        Column("reason", lambda row: row["reason"], "reason why a row has no time", "reason", width=140),
        *condition_columns(_conditions, varies=True, device=0, threads=0, memory_format=0),
        *condition_columns(_conditions, allocator=None),
        *timing_columns(
            _timing, time_s=0, time_q25_s=140, time_q75_s=140, time_min_s=None, first_call_s=None, time_runs=170
        ),
        *timing_columns(_timing, dropped_share=None, faults_per_call=None),
        *timing_columns(_timing, speedup=0, speedup_low=None, speedup_high=None, verdict=None, probe_drift=None),
        Column("flop_per_s", lambda row: row["flop_per_s"], "FLOPs / median time", "FLOP/s", human_count, width=120),
        *condition_columns(_conditions, torch_version=None, cpu=None),
        Column("warning", lambda row: row["warning"], "reasons not to trust the row"),
        Column(INDEX, lambda row: row[INDEX], "number of the combination in the grid, from 0"),
    )
}
"""The columns of `MEASURED` as they are shown."""


@dataclass(frozen=True, slots=True)
class Timed:
    """How much of a grid was timed, and under which conditions.

    Attributes:
        conditions: Conditions of the timings; the dtype of a row is in its column.
        statuses: Number of rows with each status.
        warned: Number of rows with a warning.
        combinations: Number of combinations of the grid.
        chosen: Number of those to draw from, as far as it is known: the ones that are allowed, or the best ones.
        is_whole: Whether every one of these was taken.
        notes: Remarks about the machine.
        is_interrupted: Whether the timing ended before its budget.
    """

    conditions: Conditions
    statuses: Mapping[str, int]
    warned: int
    combinations: int
    chosen: int
    is_whole: bool
    notes: tuple[str, ...] = ()
    is_interrupted: bool = False

    @property
    def share(self) -> str:
        """How much of the grid was timed, as text."""
        rows, of = sum(self.statuses.values()), number_of("combination", self.combinations, thousands)
        if self.is_whole:
            return f"{'the' if rows == 1 else 'all'} {number_of('row', rows, thousands)} of {of}"
        of = of if self.chosen == self.combinations else number_of("row", self.chosen, thousands)
        return f"{thousands(rows)} of {of}, {human_percent(rows / max(1, self.chosen))}: {_SAMPLE}"

    @property
    def remarks(self) -> Iterator[str]:
        """What a reader of the rows should know."""
        if not self.is_whole and not self.is_interrupted:
            yield "raise time_budget, and more rows are timed: those that are there stay."
        for status, count in self.statuses.items():
            if status != "ok":
                yield f"{number_of('row', count, thousands)} without a time: {status}; the column reason says why."
        yield from self.notes

    def to_dict(self) -> dict[str, Any]:
        """The values as JSON."""
        return {
            "conditions": {name: value for name, value in asdict(self.conditions).items() if name != "dtype"},
            "combinations": self.combinations,
            "chosen": self.chosen,
            "is_whole": self.is_whole,
            "statuses": dict(self.statuses),
            "notes": list(self.notes),
        }

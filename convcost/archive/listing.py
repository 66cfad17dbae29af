"""The result of `convcost history`: stored timings and their columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.archive.rows import Stored
from convcost.convolution.shape import require_at_least
from convcost.text.columns import Column, records
from convcost.text.result import Result
from convcost.text.units import human_count, show_date, thousands
from convcost.timing.columns import condition_columns, timing_columns
from convcost.timing.conditions import threads_text

if TYPE_CHECKING:
    from convcost.archive.filters import Filters
    from convcost.text.figure import Figure
    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Timing


def _conditions(row: Stored) -> Conditions:
    return row.session.conditions


def _timing(row: Stored) -> Timing:
    return row.entry.timing


def _compared(row: Stored) -> Timing | None:
    """The timing of a run with a baseline; None for another."""
    return None if row.session.baseline is None else row.entry.timing


HISTORY_COLUMNS: Final[tuple[Column[Stored], ...]] = (
    Column(
        "measured_at",
        lambda row: row.session.measured_at,
        "end of the run, date in UTC",
        "measured",
        show_date,
        width=40,
    ),
    Column("command", lambda row: row.session.command, "command of the run: check, compare, kernel or model"),
    Column("target", lambda row: row.session.target, "target of a model", "model", width=33),
    Column("name", lambda row: row.name, "block, kernel or layer; (forward) and arguments for a whole model", "name"),
    Column("arguments", lambda row: row.arguments or None, "arguments that the model was made with", flat=" ".join),
    Column("input_shape", lambda row: row.entry.input_shape, "shape of the first input tensor", "input", width=34),
    Column("in_channels", lambda row: row.entry.in_channels, "input channels of a convolution"),
    Column("out_channels", lambda row: row.entry.out_channels, "output channels of a convolution", "out", width=72),
    Column("kernel_size", lambda row: row.entry.kernel_size, "kernel size of a convolution", "kernel", width=70),
    Column("stride", lambda row: row.entry.stride, "stride of a convolution", "stride", width=150),
    Column("groups", lambda row: row.entry.groups, "largest number of groups", "groups", width=150),
    Column("params", lambda row: row.entry.params, "weights and biases"),
    Column("macs", lambda row: row.entry.macs, "multiply-accumulates of the batch", "MACs", human_count, width=110),
    *condition_columns(_conditions, varies=True, device=30, dtype=30, threads=30, memory_format=30),
    *condition_columns(_conditions, compiled=None, allocator=None),
    *timing_columns(
        _timing, time_s=0, time_q25_s=150, time_q75_s=150, time_min_s=None, first_call_s=None, time_runs=None
    ),
    *timing_columns(_timing, dropped_share=None, faults_per_call=None),
    Column("baseline", lambda row: row.session.baseline, "block, kernel or revision that speed-ups are relative to"),
    *timing_columns(_timing, speedup=35, speedup_low=None, speedup_high=None),
    *timing_columns(_compared, verdict=None),
    *timing_columns(_timing, probe_drift=None),
    Column("time_budget_s", lambda row: row.session.time_budget_s, "time budget of the run on this device, seconds"),
    *condition_columns(_conditions, torch_version=170),
    Column("convcost_version", lambda row: row.session.setup.convcost_version, "version of convcost"),
    Column("python_version", lambda row: row.session.setup.python_version, "version of Python"),
    *condition_columns(_conditions, cpu=None),
    Column("processors", lambda row: row.session.setup.processors, "number of processors that the process could use"),
    Column("isa", lambda row: row.session.setup.isa, "vector instructions of torch's CPU kernels"),
    Column("system", lambda row: row.session.setup.system, "operating system and architecture"),
    Column("accelerator", lambda row: row.session.setup.accelerator, "name of the device, if it is not the CPU"),
    Column("runtime", lambda row: row.session.setup.runtime, "versions of the accelerator's libraries"),
    Column("settings", lambda row: row.session.setup.settings, "switches and variables that are not at their defaults"),
    Column("warning", lambda row: "; ".join(row.entry.timing.warnings) or None, "reasons not to trust the row"),
    Column("notes", lambda row: "; ".join(row.session.notes) or None, "remarks on the machine during the run"),
    Column("run", lambda row: row.session_id, "number of the run; the times of rows of one run can be compared"),
    Column("layer", lambda row: row.entry.layer, "identity of the layer, as JSON: equal for equal layers"),
)
"""The fields of a stored timing."""


@dataclass(frozen=True, slots=True, repr=False)
class History(Result[Stored]):
    """Stored timings, newest first.

    Attributes:
        rows: One row for each timed layer.
        total: Number of matching timings, including those that are not shown.
        database: Path of the database.
        columns: Columns of the table and the frame; the JSON object always has all.
    """

    SCHEMA: ClassVar = "convcost.history/1"
    rows: tuple[Stored, ...]
    total: int
    database: str
    columns: tuple[Column[Stored], ...] = HISTORY_COLUMNS

    @property
    def head(self) -> str:
        """The number of timings and the path of the database, on one line."""
        few = "" if len(self.rows) == self.total else f"{thousands(len(self.rows))} of "
        there = "" if Path(self.database).exists() else " (no such file yet)"
        return f"{few}{thousands(self.total)} timing{'' if self.total == 1 else 's'} in {self.database}{there}"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The conditions that all rows have in common."""
        every = {
            (one.device, one.dtype, one.memory_format, threads_text(one.device, one.threads))
            for one in map(_conditions, self.rows)
        }
        common = [values[0] for values in map(tuple, map(set, zip(*every, strict=True))) if len(values) == 1]
        return (f"all on {', '.join(filter(None, common))}",) if any(common) else ()

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """The times over the dates of their runs."""
        from convcost.archive.figures import history_figures

        return history_figures(self.rows)

    def _fields(self) -> dict[str, Any]:
        return {"database": self.database, "total": self.total, "rows": records(HISTORY_COLUMNS, self.rows)}


def list_history(filters: Filters, limit: int | None = None) -> History:
    """The stored timings that pass the filters, newest first.

    Args:
        filters: Filters, all of which must hold.
        limit: Maximum number of rows; None for all.

    Raises:
        ConvcostError: A filter that no row could match, a limit below 1, or a database that cannot be read.
    """
    if limit is not None:
        require_at_least(1, limit=limit)
    where, values = filters.condition()
    from convcost.archive.database import database_path, stored_rows

    path = database_path()
    rows, total = stored_rows(path, where, values, limit)
    return History(tuple(rows), total, str(path))

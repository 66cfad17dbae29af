"""The columns of `convcost history`, in the order of CSV and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convcost.convolution.shape import require_at_least
from convcost.text.columns import Column, records
from convcost.text.dates import show_date
from convcost.text.sizes import format_sizes
from convcost.text.units import human_count, human_share, human_time, number_of
from convcost.timing.columns import timing_speedup_text

if TYPE_CHECKING:
    from convcost.archive.filters import Filters
    from convcost.archive.rows import Stored


__all__ = ["HISTORY_COLUMNS", "History", "list_history"]


def _time(row: Stored) -> str:
    """The median; `!` marks a timing with a warning."""
    return human_time(row.entry.timing.time_s) + (" !" if row.warning else "")


def _speedup(row: Stored) -> str:
    return timing_speedup_text(row.entry.timing)


HISTORY_COLUMNS: Final = (
    Column("measured_at", "session.measured_at", "end of the run, UTC; local time in the table", "measured", show_date),
    Column("command", "session.command", "check, compare, kernel or model"),
    Column("target", "session.target", "of a model", "model", width=140),
    Column("name", "entry.name", "of the block, the kernel, or the model's layer; (forward) for the whole", "name"),
    Column("input_shape", "entry.input_shape", "of the first tensor in", "input", format_sizes, width=60),
    Column("in_channels", "entry.in_channels", "of a convolution"),
    Column("out_channels", "entry.out_channels", "of a convolution", "out", width=72),
    Column("kernel_size", "entry.kernel_size", "of a convolution", "kernel", format_sizes, width=70),
    Column("stride", "entry.stride", "of a convolution", "stride", format_sizes, width=150),
    Column("groups", "entry.groups", "of a convolution, the largest of its stages", "groups", width=150),
    Column("params", "entry.params", "weights and biases"),
    Column("macs", "entry.macs", "multiply-accumulates", "MACs", human_count, width=110),
    Column("device", "session.conditions.device", "that was timed", "device", width=74),
    Column("dtype", "session.conditions.dtype", "of every element", "dtype", width=110),
    Column("threads", "session.conditions.threads", "of torch, while timing", "threads", width=110),
    Column("memory_format", "session.conditions.memory_format", "of input and weights", "layout", width=130),
    Column("compiled", "session.conditions.compiled", "whether torch.compile was used"),
    Column("allocator", "session.conditions.allocator", "pinned or default"),
    Column("time_s", "entry.timing.time_s", "median time of a call, seconds", "time", cell=_time),
    Column("time_q25_s", "entry.timing.time_q25_s", "lower quartile, seconds", "q25", human_time, width=150),
    Column("time_q75_s", "entry.timing.time_q75_s", "upper quartile, seconds", "q75", human_time, width=150),
    Column("time_min_s", "entry.timing.time_min_s", "fastest block of calls, seconds a call"),
    Column("first_call_s", "entry.timing.first_call_s", "first call, seconds"),
    Column("time_runs", "entry.timing.time_runs", "timed calls in clean blocks"),
    Column(
        "dropped_share", "entry.timing.dropped_share", "share of disturbed blocks", "dropped", human_share, width=170
    ),
    Column("faults_per_call", "entry.timing.faults_per_call", "minor page faults a call"),
    Column("baseline", "session.baseline", "block that the speed-up is relative to"),
    Column("speedup", "entry.timing.speedup", "time of the baseline / of this block", "speed-up", cell=_speedup),
    Column("speedup_low", "entry.timing.speedup_low", "lower end of its 5-95 % interval"),
    Column("speedup_high", "entry.timing.speedup_high", "upper end of its 5-95 % interval"),
    Column("probe_drift", "entry.timing.probe_drift", "change of the reference probe during the run, share"),
    Column("time_budget_s", "session.time_budget_s", "seconds that the run was allowed on this device"),
    Column("torch_version", "session.conditions.torch_version", "that ran", "torch", width=170),
    Column("convcost_version", "session.setup.convcost_version", "that measured"),
    Column("python_version", "session.setup.python_version", "that ran"),
    Column("cpu", "session.conditions.cpu", "name of the processor"),
    Column("processors", "session.setup.processors", "that the process could use"),
    Column("isa", "session.setup.isa", "vector instructions of torch's CPU kernels"),
    Column("system", "session.setup.system", "operating system and architecture"),
    Column("accelerator", "session.setup.accelerator", "name of a device that is not the CPU"),
    Column("runtime", "session.setup.runtime", "versions of what runs the accelerator"),
    Column("settings", "session.setup.settings", "torch switches and environment variables not at their defaults"),
    Column("warning", "warning", "what to know before trusting the row"),
    Column("notes", "notes", "what was to be said of the machine during the run"),
    Column("run", "session_id", "equal for rows that were timed in turn, whose times can be compared"),
    Column("layer", "entry.layer", "which layer it is, as JSON: equal for equal layers"),
)
"""The fields of a stored timing."""
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
        from convcost.text.export import frame

        return frame(self.columns, self.rows)

    def _repr_html_(self) -> str:
        """The rows as a notebook shows them."""
        from convcost.text.export import notebook

        return notebook(self.columns, self.rows, self.verdicts)

    def __str__(self) -> str:
        """The plain table."""
        from convcost.text.table import plain_table

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
    from convcost.archive.database import (
        database_path,
        stored_rows,
    )

    path = database_path()
    rows, total = stored_rows(path, where, values, limit)
    return History(tuple(rows), total, str(path))

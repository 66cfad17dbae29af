"""The columns of `convcost check`, in the order of CSV and JSON.

Their widths only say which goes first where there is no room: the widest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.text.columns import Column
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from convcost.budgets.metric_row import MetricRow

__all__ = ["CHECK_COLUMNS", "METRIC_FIELDS"]


def _actual(row: MetricRow) -> str:
    if row.actual is None:
        return "-"
    return f"{'≥ ' if row.judged.lower_bound else ''}{_figure(row, row.actual, row.actual)}"


def _bound(row: MetricRow, name: str) -> str:
    bound = getattr(row, name)
    return "-" if bound is None else _figure(row, bound, row.actual)


def _figure(row: MetricRow, value: float, actual: float | None) -> str:
    """As people read it; exactly, where a limit was broken and rounding would hide it."""
    metric, broken = row.judged.metric, row.verdict in {"fail", "warn"} and actual is not None
    others = [other for other in (row.max, row.min, row.baseline) if other is not None and other != actual]
    hidden = broken and any(metric.text(other) == metric.text(actual or 0) for other in others)
    return metric.exact(value) if hidden else metric.text(value)


def _growth(row: MetricRow) -> str:
    allowed = "" if row.grow is None else f" (≤ {human_percent(row.grow)})"
    return "-" if row.growth is None else f"{human_percent(row.growth, '+')}{allowed}"


CHECK_COLUMNS: Final = (
    Column("budget", "budget", "name of the budget", "budget"),
    Column("metric", "metric", "what is limited", "metric"),
    Column("actual", "actual", "what was found: a number, bytes or seconds", "actual", cell=_actual),
    Column("max", "max", "that it may reach", "max", cell=lambda row: _bound(row, "max")),
    Column("min", "min", "that it must reach", "min", cell=lambda row: _bound(row, "min"), width=50),
    Column(
        "baseline",
        "baseline",
        "of the lock, or of --base",
        "baseline",
        cell=lambda row: _bound(row, "baseline"),
        width=30,
    ),
    Column("growth", "growth", "over the baseline, as a share", "growth", cell=_growth, width=40),
    Column("grow", "grow", "share that it may grow", show=human_percent),
    Column("floor", "floor", "growth that is always allowed", cell=lambda row: _bound(row, "floor")),
    Column("low", "low", "lower end of the 5-95 % interval of a time, seconds", cell=lambda row: _bound(row, "low")),
    Column("high", "high", "upper end", cell=lambda row: _bound(row, "high")),
    Column("lower_bound", "judged.lower_bound", "whether uncounted operations make it more than actual"),
    Column("verdict", "verdict", "pass, warn, fail, inconclusive or skipped", "verdict", cell=lambda row: row.said),
    Column("level", "level", "error, or warn: breaking it does not fail the check"),
    Column("reason", "reason", "why, in words"),
    Column("source", "source", "FILE:LINE of the limit"),
    Column("message", "message", "what the budget says beside a failure"),
    Column("device", "conditions.device", "that was timed; empty, as the next three, for a value that was not"),
    Column("threads", "conditions.threads", "of torch, while timing"),
    Column("machine", "judged.found.machine", "that was timed"),
    Column("torch_version", "conditions.torch_version", "that was timed"),
)
"""The fields of a metric."""
METRIC_FIELDS: Final = tuple(column for column in CHECK_COLUMNS if column.name not in {"budget", "message"})
"""Within a budget's own object."""

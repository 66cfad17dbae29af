"""The columns of `convcost check`, in the order of CSV and JSON.

Their widths only say which goes first where there is no room: the widest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.text.columns import Column
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from convcost.budgets.result import BudgetResult
    from convcost.budgets.verdict import Judgement
    from convcost.timing.conditions import Conditions


__all__ = ["CHECK_COLUMNS", "METRIC_FIELDS", "MetricRow"]


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
    Column("machine", "judged.reading.machine", "that was timed"),
    Column("torch_version", "conditions.torch_version", "that was timed"),
)
"""The fields of a metric."""
METRIC_FIELDS: Final = tuple(column for column in CHECK_COLUMNS if column.name not in {"budget", "message"})
"""Within a budget's own object."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one budget, as the columns see it.

    Attributes:
        of: the budget's result.
        judged: the verdict.
    """

    of: BudgetResult
    judged: Judgement

    @property
    def budget(self) -> str:
        """Its name."""
        return self.of.budget.name

    @property
    def message(self) -> str | None:
        """What the budget says beside a failure."""
        return self.of.budget.message

    @property
    def conditions(self) -> Conditions | None:
        """What the value was timed under; None for one that was not."""
        return self.of.timed if self.judged.reading.machine is not None else None

    @property
    def metric(self) -> str:
        """What is limited."""
        return self.judged.limit.metric

    @property
    def actual(self) -> float | None:
        """What was found."""
        return self.judged.reading.actual

    @property
    def max(self) -> float | None:
        """That it may reach."""
        return self.judged.limit.bound("max")

    @property
    def min(self) -> float | None:
        """That it must reach."""
        return self.judged.limit.bound("min")

    @property
    def floor(self) -> float | None:
        """Growth that is always allowed."""
        return self.judged.limit.bound("floor")

    @property
    def baseline(self) -> float | None:
        """Of the lock or of another revision."""
        return self.judged.reading.baseline

    @property
    def growth(self) -> float | None:
        """Over the baseline."""
        return self.judged.growth

    @property
    def grow(self) -> float | None:
        """Share that it may grow."""
        return self.judged.limit.grow

    @property
    def low(self) -> float | None:
        """Lower end of a time's interval."""
        return self.judged.reading.low

    @property
    def high(self) -> float | None:
        """Upper end of a time's interval."""
        return self.judged.reading.high

    @property
    def verdict(self) -> str:
        """One of the five words."""
        return self.judged.verdict

    @property
    def said(self) -> str:
        """The verdict with what it leaves open, in a few words: `pass (≥, 3 operations uncounted)`."""
        verdict, (short, colon, _) = self.judged.verdict, self.judged.reason.partition(": ")
        told = bool(short) if verdict == "pass" else bool(colon) and verdict in {"inconclusive", "skipped"}
        return f"{verdict} ({short})" if told else verdict

    @property
    def level(self) -> str:
        """Whether breaking it fails the check."""
        return self.judged.limit.level

    @property
    def reason(self) -> str | None:
        """Why, in words."""
        return self.judged.reason or None

    @property
    def source(self) -> str | None:
        """FILE:LINE of the limit."""
        return self.judged.source or None

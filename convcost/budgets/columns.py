"""The columns of `convcost check`, in the order of CSV and JSON; those with the largest widths are left out first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from convcost.text.columns import Column
from convcost.text.units import human_percent
from convcost.timing.columns import condition_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.budgets.limits import Budget
    from convcost.budgets.verdict import Judgement
    from convcost.timing.conditions import Conditions


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one budget.

    Attributes:
        budget: Budget that limits the metric.
        judged: Verdict with its limit and figures.
        conditions: Conditions of the timing; None for a counted value.
    """

    budget: Budget
    judged: Judgement
    conditions: Conditions | None

    @property
    def verdict_text(self) -> str:
        """The verdict, with a short reason where it is not certain: `pass (≥, 3 operations uncounted)`."""
        verdict, (short, colon, _) = self.judged.verdict, self.judged.reason.partition(": ")
        is_open = bool(short) if verdict == "pass" else bool(colon) and verdict in {"inconclusive", "skipped"}
        return f"{verdict} ({short})" if is_open else verdict

    @property
    def actual_text(self) -> str:
        """The value as text, marked if it is a lower bound."""
        return f"{'≥ ' if self.judged.lower_bound else ''}{self.figure(self.judged.reading.actual)}"

    def figure(self, value: float | None) -> str:
        """A figure as text, exact where rounding would hide that a limit is broken."""
        if value is None:
            return "-"
        limit, reading, metric = self.judged.limit, self.judged.reading, self.judged.metric
        if self.judged.verdict in {"fail", "warn"} and reading.actual is not None:
            others = {limit.bound("max"), limit.bound("min"), reading.baseline} - {None, reading.actual}
            if metric.text(reading.actual) in {metric.text(other) for other in others if other is not None}:
                return metric.exact(value)
        return metric.text(value)


def _conditions(row: MetricRow) -> Conditions | None:
    return row.conditions


def _figure(
    name: str, value: Callable[[MetricRow], float | None], meaning: str, title: str = "", width: int = 0
) -> Column[MetricRow]:
    """A column of a figure of the row's metric."""
    return Column(name, value, meaning, title, cell=lambda row: row.figure(value(row)), width=width)


CHECK_COLUMNS: Final[tuple[Column[MetricRow], ...]] = (
    Column("budget", lambda row: row.budget.name, "name of the budget", "budget"),
    Column("metric", lambda row: row.judged.limit.metric, "name of the limited metric", "metric"),
    Column(
        "actual",
        lambda row: row.judged.reading.actual,
        "value: a number, bytes or seconds",
        "actual",
        cell=lambda row: row.actual_text,
    ),
    _figure("max", lambda row: row.judged.limit.bound("max"), "largest value that passes", "max", 40),
    _figure("min", lambda row: row.judged.limit.bound("min"), "smallest value that passes", "min", 70),
    _figure("baseline", lambda row: row.judged.reading.baseline, "value in the lock or base revision", "baseline", 20),
    Column(
        "growth",
        lambda row: row.judged.growth,
        "growth over the baseline, share",
        "growth",
        partial(human_percent, sign="+"),
        width=20,
    ),
    Column("grow", lambda row: row.judged.limit.grow, "largest allowed growth, share", "grow", human_percent, width=60),
    _figure("floor", lambda row: row.judged.limit.bound("floor"), "growth that is always allowed"),
    _figure("low", lambda row: row.judged.reading.low, "lower end of the 5-95 % interval of a latency, seconds"),
    _figure("high", lambda row: row.judged.reading.high, "upper end of the 5-95 % interval of a latency, seconds"),
    Column("lower_bound", lambda row: row.judged.lower_bound, "whether actual is only a lower bound of the true value"),
    Column(
        "verdict",
        lambda row: row.judged.verdict,
        "verdict: pass, warn, fail, inconclusive or skipped",
        "verdict",
    ),
    Column("level", lambda row: row.judged.limit.level, "error, or warn for a limit that does not fail the check"),
    Column("reason", lambda row: row.judged.reason or None, "reason for the verdict"),
    Column("source", lambda row: row.judged.source or None, "FILE:LINE of the limit"),
    Column("message", lambda row: row.budget.message, "message of the budget for a failure"),
    *condition_columns(_conditions, device=None, threads=None),
    Column("machine", lambda row: row.judged.reading.machine, "name of the machine of the timing"),
    *condition_columns(_conditions, torch_version=None),
)
"""The fields of a metric; those of the conditions are empty for a counted value."""
METRIC_FIELDS: Final = tuple(column for column in CHECK_COLUMNS if column.name not in {"budget", "message"})
"""The fields of a metric within the JSON object of its budget."""

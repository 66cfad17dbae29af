"""One metric of one budget, as the columns of `convcost check` see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convcost.budgets.result import BudgetResult
    from convcost.budgets.verdict import Judgement
    from convcost.timing.statistics import Conditions

__all__ = ["MetricRow"]


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
        return self.of.timed if self.judged.found.machine is not None else None

    @property
    def metric(self) -> str:
        """What is limited."""
        return self.judged.limit.metric

    @property
    def actual(self) -> float | None:
        """What was found."""
        return self.judged.found.actual

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
        return self.judged.found.baseline

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
        return self.judged.found.low

    @property
    def high(self) -> float | None:
        """Upper end of a time's interval."""
        return self.judged.found.high

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

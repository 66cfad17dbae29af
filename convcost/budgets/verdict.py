"""The verdict on what was found of a budget's metrics. Plain values in, plain values out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.budgets.finding import Found
from convcost.budgets.limits import METRICS, Budget, Limit, Metric, limits_from
from convcost.budgets.rules import fall_under_lock, judge_growth, judge_max, judge_min, told_apart
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.budgets.rules import Ruling, Verdict

__all__ = ["METRICS", "Budget", "Found", "Judgement", "Limit", "Metric", "judge", "limits_from", "told_apart"]

SEVERITY: Final[tuple[Verdict, ...]] = ("skipped", "pass", "inconclusive", "warn", "fail")
"""From the mildest to the gravest."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A metric, its limits and the verdict.

    Attributes:
        limit: what was allowed.
        found: what was found.
        verdict: the gravest of its rules.
        reason: why, in words; empty for a plain pass.
        source: FILE:LINE of the limit that decided.
        notes: that change no verdict.
    """

    limit: Limit
    found: Found
    verdict: Verdict
    reason: str
    source: str
    notes: tuple[str, ...] = ()

    @property
    def metric(self) -> Metric:
        """What was judged."""
        return METRICS[self.limit.metric]

    @property
    def growth(self) -> float | None:
        """Over the baseline, as a share; what the counter alone changed is left out. None without a baseline."""
        found = self.found
        if found.growth is not None:
            return found.growth[0]
        if found.actual is None or not found.baseline:
            return None
        return (found.actual - found.recounted) / found.baseline - 1

    @property
    def lower_bound(self) -> bool:
        """Whether the true figure may be larger."""
        return bool(self.metric.counts and self.found.uncounted)


def judge(limit: Limit, found: Found, *, strict: bool = False) -> Judgement:
    """The verdict on one metric.

    Args:
        limit: what is allowed.
        found: what was found.
        strict: an improvement that the lock does not know is a failure, and a lower bound cannot pass.
    """
    if found.actual is None and found.here is None:
        return Judgement(limit, found, "skipped", found.why or "not obtained", limit.source)
    rulings: dict[str, Ruling] = {}
    if (most := limit.bound("max")) is not None:
        rulings["max"] = judge_max(limit, found, most, strict=strict)
    if (least := limit.bound("min")) is not None:
        rulings["min"] = judge_min(limit, found, least, strict=strict)
    notes = list(found.notes)
    if limit.grow is not None:
        ruling = judge_growth(limit, found, strict=strict)
        if ruling[0] == "skipped" and rulings:
            notes.append(f"{limit.metric} grow is not judged: {ruling[1]}")
        else:
            rulings["grow"] = ruling
        if not strict:
            notes += _improvement(limit, found)
    if len(rulings) > 1 and "max" in rulings and rulings["max"][0] == "skipped":
        notes.append(f"{limit.metric} max is not judged: {rulings.pop('max')[1]}")
    verdict, reason, key = _gravest(rulings)
    if limit.level == "warn" and (verdict == "fail" or (strict and verdict == "inconclusive")):
        verdict = "warn"  # what would fail the check at the level of an error
    return Judgement(limit, found, verdict, reason, limit.sources.get(key, limit.source), tuple(notes))


def _improvement(limit: Limit, found: Found) -> list[str]:
    """What a fall under the lock asks for, as a note."""
    fall, baseline, name = fall_under_lock(limit, found), found.baseline or 0, limit.metric
    if not fall:
        return []
    until = f"until then it may grow back to {METRICS[name].text(baseline)}"
    return [f"{name} fell by {human_percent(fall / baseline)}: keep it with convcost check --update ({until})."]


def _gravest(rulings: Mapping[str, Ruling]) -> tuple[Verdict, str, str]:
    """The gravest verdict, every reason for it, and the first rule that gives one."""
    verdict = max((verdict for verdict, _ in rulings.values()), key=SEVERITY.index)
    reasons = {name: reason for name, (said, reason) in rulings.items() if said == verdict}
    given = {name: reason for name, reason in reasons.items() if reason}
    return verdict, "; ".join(dict.fromkeys(given.values())), next(iter(given or reasons))

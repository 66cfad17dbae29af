"""The verdict on what was found of a budget's metrics. Plain values in, plain values out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from convcost.limits import METRICS, Budget, Limit, Metric, limits_from
from convcost.units import human_time, number_of

__all__ = ["METRICS", "Budget", "Found", "Judgement", "Limit", "Metric", "judge", "limits_from", "told_apart"]

Verdict: TypeAlias = Literal["pass", "warn", "fail", "inconclusive", "skipped"]
Ruling: TypeAlias = tuple[Verdict, str]

SEVERITY: Final[tuple[Verdict, ...]] = ("skipped", "pass", "inconclusive", "warn", "fail")
"""From the mildest to the gravest."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one metric.

    Attributes:
        actual: in base units; None where it could not be obtained, and `why` says so.
        low: lower end of the 5-95 % interval of something timed.
        high: upper end.
        baseline: of the lock or the other revision; None without one.
        recounted: the part of actual - baseline that a change of the counter made.
        growth: of something timed, as (share, low, high) from interleaved pairs; None otherwise.
        uncounted: operations without a formula.
        why: nothing can be judged, or the growth cannot.
        lost: there is a baseline, but it could not be obtained: the growth is not decided.
        machine: that something was timed on.
        doubt: why a time decides nothing; None where it may.
        growth_doubt: likewise, of its growth.
        notes: what the reader should know, each a sentence.
    """

    actual: float | None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    recounted: float = 0
    growth: tuple[float, float, float] | None = None
    uncounted: int = 0
    why: str | None = None
    lost: bool = False
    machine: str | None = None
    doubt: str | None = None
    growth_doubt: str | None = None
    notes: tuple[str, ...] = ()


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
    if found.actual is None:
        return Judgement(limit, found, "skipped", found.why or "not obtained", limit.source)
    rulings: dict[str, Ruling] = {}
    if limit.max is not None:
        rulings["max"] = _judge_max(limit, found, float(limit.max), strict=strict)
    if limit.min is not None:
        rulings["min"] = _judge_min(limit, found, float(limit.min))
    notes = list(found.notes)
    if limit.grow is not None:
        ruling = _judge_growth(limit, found, limit.grow, strict=strict)
        if ruling[0] == "skipped" and rulings:
            notes.append(f"{limit.metric} grow is not judged: {ruling[1]}")
        else:
            rulings["grow"] = ruling
    key = max(rulings, key=lambda name: SEVERITY.index(rulings[name][0]))
    verdict, reason = rulings[key]
    if verdict == "fail" and limit.level == "warn":
        verdict = "warn"
    return Judgement(limit, found, verdict, reason, limit.sources.get(key, limit.source), tuple(notes))


def told_apart(metric: Metric, value: float, other: float) -> tuple[str, str]:
    """Two figures as people read them; exactly, where rounding would make them look equal."""
    texts = metric.text(value), metric.text(other)
    return (metric.exact(value), metric.exact(other)) if texts[0] == texts[1] and value != other else texts


def _judge_max(limit: Limit, found: Found, most: float, *, strict: bool) -> Ruling:
    metric, actual = METRICS[limit.metric], found.actual or 0
    shown, allowed = told_apart(metric, actual, most)
    if found.low is not None and found.high is not None:
        if limit.machine is not None and limit.machine != found.machine:
            return "skipped", f"other machine: the limit was set for {limit.machine}, this is {found.machine}"
        if found.doubt is not None:
            return "inconclusive", found.doubt
        span = f"{shown} ({metric.text(found.low)} to {metric.text(found.high)})"
        if found.low > most:
            return "fail", f"{span} is over max {allowed}"
        return ("pass", "") if found.high <= most else ("inconclusive", f"max {allowed} lies within {span}")
    least = _at_least(metric, found)
    if actual > most:
        return "fail", f"{least}{shown} is over max {allowed} by {_excess(metric, actual - most, most)}"
    return _unless_uncounted(metric, found, strict=strict)


def _judge_min(limit: Limit, found: Found, least: float) -> Ruling:
    metric, actual = METRICS[limit.metric], found.actual or 0
    shown, wanted = told_apart(metric, actual, least)
    if actual >= least:
        return "pass", ""
    if metric.counts and found.uncounted:
        return "inconclusive", f"≥ {shown} is under min {wanted}, with {_operations(found)} uncounted"
    return "fail", f"{shown} is under min {wanted} by {_excess(metric, least - actual, least)}"


def _judge_growth(limit: Limit, found: Found, grow: float, *, strict: bool) -> Ruling:
    if limit.metric == "latency":
        return _judge_slowdown(limit, found, grow)
    if found.baseline is None:
        return _without_baseline(found)
    metric, baseline = METRICS[limit.metric], found.baseline
    model = (found.actual or 0) - found.recounted
    delta, floor = model - baseline, float(limit.floor or 0)
    before, now = told_apart(metric, baseline, model)
    change = f"{now} is {_share(delta, baseline)} {'over' if delta > 0 else 'under'} the baseline of {before}"
    allowed = f"{_percent(grow)}{f' and {metric.text(floor)}' if floor else ''}"
    if delta > grow * baseline and delta > floor:
        return "fail", f"{change}; it may grow by {allowed}"
    if strict and -delta > grow * baseline and -delta > floor:
        return "fail", f"{change}, and the lock does not know (--strict); run convcost check --update"
    return _unless_uncounted(metric, found, strict=strict)


def _without_baseline(found: Found) -> Ruling:
    return "inconclusive" if found.lost else "skipped", found.why or "there is no baseline"


def _judge_slowdown(limit: Limit, found: Found, grow: float) -> Ruling:
    if found.growth_doubt is not None:
        return "inconclusive", found.growth_doubt
    if found.growth is None or found.baseline is None:
        return _without_baseline(found)
    share, low, high = found.growth
    floor = float(limit.floor or 0)
    if floor:
        grow = max(grow, floor / found.baseline)
    span = f"{_signed(share)} ({_signed(low)} to {_signed(high)}) against the baseline of {human_time(found.baseline)}"
    if low > grow:
        return "fail", f"{span} is over the {_percent(grow)} allowed"
    return ("pass", "") if high <= grow else ("inconclusive", f"the {_percent(grow)} allowed lie within {span}")


def _unless_uncounted(metric: Metric, found: Found, *, strict: bool) -> Ruling:
    """A pass, which a lower bound is only by courtesy."""
    if not (metric.counts and found.uncounted):
        return "pass", ""
    return ("inconclusive" if strict else "pass"), f"≥, {_operations(found)} uncounted"


def _operations(found: Found) -> str:
    return number_of("operation", found.uncounted)


def _at_least(metric: Metric, found: Found) -> str:
    return "≥ " if metric.counts and found.uncounted else ""


def _excess(metric: Metric, amount: float, of: float) -> str:
    return f"{metric.text(amount)} ({_share(amount, of)})" if of else metric.text(amount)


def _share(amount: float, of: float) -> str:
    """A share of something, with as many digits as make it visible."""
    return _percent(abs(amount) / of) if of else "infinitely"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _percent(share: float) -> str:
    digits = 1
    while digits < 7 and share and 100 * share < 10**-digits:  # noqa: PLR2004 - below that it is nothing to anybody
        digits += 1
    return f"{100 * share:.{digits}f}".rstrip("0").rstrip(".") + " %"

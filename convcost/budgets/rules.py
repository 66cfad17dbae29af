"""The rules of a limit, one by one: what was found becomes a verdict with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.budgets.limits import METRICS
from convcost.text.units import human_percent, human_time, number_of

if TYPE_CHECKING:
    from convcost.budgets.finding import Found
    from convcost.budgets.limits import Limit, Metric

__all__ = ["Ruling", "Verdict", "fall_under_lock", "judge_growth", "judge_max", "judge_min", "told_apart"]

Verdict: TypeAlias = Literal["pass", "warn", "fail", "inconclusive", "skipped"]
Ruling: TypeAlias = tuple[Verdict, str]

SHOWN: Final = 3
"""Uncounted operations that a reason names; the JSON has all."""
_FORMULA: Final = "give each a formula with convcost.register"


def told_apart(metric: Metric, value: float, other: float) -> tuple[str, str]:
    """Two figures as people read them; exactly, where rounding would make them look equal."""
    texts = metric.text(value), metric.text(other)
    return (metric.exact(value), metric.exact(other)) if texts[0] == texts[1] and value != other else texts


def judge_max(limit: Limit, found: Found, most: float, *, strict: bool) -> Ruling:
    """Whether a figure is over its maximum; a time is when its whole interval is."""
    metric, actual = METRICS[limit.metric], found.actual or 0
    shown, allowed = told_apart(metric, actual, most)
    here = found.machine or found.here
    if limit.machine is not None and here is not None and here != limit.machine:
        return "skipped", f"other machine: the limit was set for {limit.machine}, this is {here}"
    if found.low is not None and found.high is not None:
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


def judge_min(limit: Limit, found: Found, least: float, *, strict: bool) -> Ruling:
    """Whether a figure is under its minimum; a lower bound need not be."""
    metric, actual = METRICS[limit.metric], found.actual or 0
    shown, wanted = told_apart(metric, actual, least)
    if actual >= least:
        return "pass", ""
    if metric.counts and found.uncounted:
        return "inconclusive", f"≥ {shown} is under min {wanted}; {_uncounted(found, strict=strict)}"
    return "fail", f"{shown} is under min {wanted} by {_excess(metric, least - actual, least)}"


def judge_growth(limit: Limit, found: Found, *, strict: bool) -> Ruling:
    """Whether a figure grew by more than a share and a floor; with `strict`, whether it fell so far."""
    if limit.metric == "latency":
        return _judge_slowdown(limit, found)
    if found.baseline is None:
        return _without_baseline(found)
    metric, baseline = METRICS[limit.metric], found.baseline
    model = (found.actual or 0) - found.recounted
    delta, floor = model - baseline, limit.bound("floor")
    before, now = told_apart(metric, baseline, model)
    change = f"{now} is {_share(delta, baseline)} {'over' if delta > 0 else 'under'} the baseline of {before}"
    allowed = f"{human_percent(limit.grow or 0)}{f' and {metric.text(floor)}' if floor else ''}"
    if delta > limit.allowance(baseline):
        if metric.counts and found.uncounted_calls_before > found.uncounted_calls:
            hidden = f"{number_of('call', found.uncounted_calls_before)} uncounted then, {found.uncounted_calls} now"
            accept = ", or accept it with convcost check --update" if found.locked else ""
            return "inconclusive", f"{change}, which is a lower bound: {hidden}; {_FORMULA}{accept}"
        return "fail", f"{change}; it may grow by {allowed}"
    if strict and fall_under_lock(limit, found):
        return "fail", f"{change}, and the lock does not know (--strict); run convcost check --update"
    return _unless_uncounted(metric, found, strict=strict)


def fall_under_lock(limit: Limit, found: Found) -> float:
    """How far a metric fell under the lock, beyond what it may grow: a lock that stays high lets the next growth pass.

    0 for less, for what the counter alone changed, and where operations without a formula may hide as much.
    """
    metric, baseline = METRICS[limit.metric], found.baseline
    hidden = metric.counts and (found.uncounted or found.uncounted_calls_before)
    if not found.locked or hidden or baseline is None or found.actual is None:
        return 0
    fall = baseline - (found.actual - found.recounted)
    return fall if fall > limit.allowance(baseline) else 0


def _without_baseline(found: Found) -> Ruling:
    return "inconclusive" if found.lost else "skipped", found.why or "there is no baseline"


def _judge_slowdown(limit: Limit, found: Found) -> Ruling:
    if found.growth_doubt is not None:
        return "inconclusive", found.growth_doubt
    if found.growth is None or found.baseline is None:
        return _without_baseline(found)
    share, low, high = found.growth
    grow = max(limit.grow or 0, (limit.bound("floor") or 0) / found.baseline)
    span = f"{_signed(share)} ({_signed(low)} to {_signed(high)}) against the baseline of {human_time(found.baseline)}"
    if low > grow:
        return "fail", f"{span} is over the {human_percent(grow)} allowed"
    return ("pass", "") if high <= grow else ("inconclusive", f"the {human_percent(grow)} allowed lie within {span}")


def _unless_uncounted(metric: Metric, found: Found, *, strict: bool) -> Ruling:
    """A pass, which a lower bound is only by courtesy."""
    if not (metric.counts and found.uncounted):
        return "pass", ""
    return ("inconclusive" if strict else "pass"), f"≥, {_uncounted(found, strict=strict)}"


def _uncounted(found: Found, *, strict: bool) -> str:
    """`2 operations uncounted: aten._fft_r2c, mylib.op; ...`, with the next step."""
    names = ", ".join(found.operations[:SHOWN]) + (", ..." if len(found.operations) > SHOWN else "")
    accept = ", or accept a lower bound by leaving --strict out" if strict else ""
    return f"{number_of('operation', found.uncounted)} uncounted: {f'{names}; ' if names else ''}{_FORMULA}{accept}"


def _at_least(metric: Metric, found: Found) -> str:
    return "≥ " if metric.counts and found.uncounted else ""


def _excess(metric: Metric, amount: float, of: float) -> str:
    return f"{metric.text(amount)} ({_share(amount, of)})" if of else metric.text(amount)


def _share(amount: float, of: float) -> str:
    """A share of something, with as many digits as make it visible."""
    return human_percent(abs(amount) / of) if of else "infinitely"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"

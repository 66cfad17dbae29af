"""What was found of one metric: a value for the rules. Plain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.budgets.changes import recounted
from convcost.budgets.limits import METRICS, Limit, Metric
from convcost.text.units import human_percent, human_time, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.budgets.changes import Change
    from convcost.budgets.layer_cost import Entry
    from convcost.timing.measured import ForwardTiming


__all__ = [
    "Reading",
    "Judgement",
    "Ruling",
    "Verdict",
    "counted_reading",
    "fall_under_lock",
    "judge",
    "judge_growth",
    "judge_max",
    "judge_min",
    "timed_reading",
    "distinct_texts",
]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found of one metric.

    Attributes:
        actual: in base units; None where it could not be obtained, and `why` says so.
        low: lower end of the 5-95 % interval of something timed.
        high: upper end.
        baseline: of the lock or the other revision; None without one.
        locked: the baseline is of the lock, which convcost check --update renews.
        recounted: the part of actual - baseline that a change of the counter made.
        growth: of something timed, as (share, low, high) from interleaved pairs; None otherwise.
        uncounted: operations without a formula.
        operations: their names.
        uncounted_calls: of all of them.
        uncounted_calls_before: likewise, in the baseline.
        why: nothing can be judged, or the growth cannot.
        lost: there is a baseline, but it could not be obtained: the growth is not decided.
        machine: that something was timed on.
        here: this machine, where a limit for another one kept everything from being timed.
        doubt: why a time decides nothing; None where it may.
        growth_doubt: likewise, of its growth.
        notes: what the reader should know, each a sentence.
    """

    actual: float | None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    locked: bool = False
    recounted: float = 0
    growth: tuple[float, float, float] | None = None
    uncounted: int = 0
    operations: tuple[str, ...] = ()
    uncounted_calls: int = 0
    uncounted_calls_before: int = 0
    why: str | None = None
    lost: bool = False
    machine: str | None = None
    here: str | None = None
    doubt: str | None = None
    growth_doubt: str | None = None
    notes: tuple[str, ...] = ()


def counted_reading(limit: Limit, entry: Entry, before: Entry | None, changes: Sequence[Change], why: str) -> Reading:
    """What was counted of a limit's metric, and what it was; the part that the counter alone changed is told apart."""
    metric = limit.metric
    baseline = None if before is None else getattr(before, metric)
    moved = 0
    if before is not None and any(change.kind == "recounted" for change in changes):
        only_the_counter = all(change.kind in {"recounted", "renamed"} for change in changes)
        moved = getattr(entry, metric) - baseline if only_the_counter else _recounted_part(metric, changes)
    return Reading(
        getattr(entry, metric),
        baseline=baseline,
        recounted=moved,
        uncounted=entry.uncounted,
        uncounted_calls=entry.uncounted_calls,
        uncounted_calls_before=0 if before is None else before.uncounted_calls,
        why=why or None,
    )


def _recounted_part(metric: str, changes: Sequence[Change]) -> int:
    """Of the growth of a metric, what the counter alone added."""
    from convcost.convolution.cost import FLOPS_PER_MAC

    return {"macs": 1, "flops": FLOPS_PER_MAC}.get(metric, 0) * recounted(changes)


def timed_reading(limit: Limit, timing: ForwardTiming | str | None, why: str) -> Reading:
    """What a timing says of a latency limit: the median, its interval, and the growth over the base.

    Args:
        limit: of the latency.
        timing: the name of this machine where the limit is for another one, and nothing was timed; None for no time.
        why: the growth cannot be judged; empty where it can.
    """
    if timing is None or isinstance(timing, str):
        return Reading(None, why="it was not timed" if timing is None else why or None, here=timing)
    head, base = timing.head, timing.base
    growth = None
    if base is not None and head.speedup and head.speedup_low and head.speedup_high:
        growth = (1 / head.speedup - 1, 1 / head.speedup_high - 1, 1 / head.speedup_low - 1)
    notes = list(timing.notes)
    if limit.max is not None and limit.machine is None:
        notes.append(
            f'latency: max is judged on this machine; say for which one it was set: machine = "{timing.machine}"'
        )
    return Reading(
        head.time_s,
        timing.low,
        timing.high,
        None if base is None else base.time_s,
        growth=growth,
        why=why or None,
        machine=timing.machine,
        doubt=timing.doubt,
        growth_doubt=None if base is None else timing.growth_doubt,
        notes=tuple(notes),
    )


Verdict: TypeAlias = Literal["pass", "warn", "fail", "inconclusive", "skipped"]
Ruling: TypeAlias = tuple[Verdict, str]
SHOWN: Final = 3
"""Uncounted operations that a reason names; the JSON has all."""
_FORMULA: Final = "give each a formula with convcost.register"


def distinct_texts(metric: Metric, value: float, other: float) -> tuple[str, str]:
    """Two figures as people read them; exactly, where rounding would make them look equal."""
    texts = metric.text(value), metric.text(other)
    return (metric.exact(value), metric.exact(other)) if texts[0] == texts[1] and value != other else texts


def judge_max(limit: Limit, reading: Reading, most: float, *, strict: bool) -> Ruling:
    """Whether a figure is over its maximum; a time is when its whole interval is."""
    metric, actual = METRICS[limit.metric], reading.actual or 0
    shown, allowed = distinct_texts(metric, actual, most)
    here = reading.machine or reading.here
    if limit.machine is not None and here is not None and here != limit.machine:
        return "skipped", f"other machine: the limit was set for {limit.machine}, this is {here}"
    if reading.low is not None and reading.high is not None:
        if reading.doubt is not None:
            return "inconclusive", reading.doubt
        span = f"{shown} ({metric.text(reading.low)} to {metric.text(reading.high)})"
        if reading.low > most:
            return "fail", f"{span} is over max {allowed}"
        return ("pass", "") if reading.high <= most else ("inconclusive", f"max {allowed} lies within {span}")
    least = _at_least(metric, reading)
    if actual > most:
        return "fail", f"{least}{shown} is over max {allowed} by {_excess(metric, actual - most, most)}"
    return _unless_uncounted(metric, reading, strict=strict)


def judge_min(limit: Limit, reading: Reading, least: float, *, strict: bool) -> Ruling:
    """Whether a figure is under its minimum; a lower bound need not be."""
    metric, actual = METRICS[limit.metric], reading.actual or 0
    shown, wanted = distinct_texts(metric, actual, least)
    if actual >= least:
        return "pass", ""
    if metric.counts and reading.uncounted:
        return "inconclusive", f"≥ {shown} is under min {wanted}; {_uncounted(reading, strict=strict)}"
    return "fail", f"{shown} is under min {wanted} by {_excess(metric, least - actual, least)}"


def judge_growth(limit: Limit, reading: Reading, *, strict: bool) -> Ruling:
    """Whether a figure grew by more than a share and a floor; with `strict`, whether it fell so far."""
    if limit.metric == "latency":
        return _judge_slowdown(limit, reading)
    if reading.baseline is None:
        return _without_baseline(reading)
    metric, baseline = METRICS[limit.metric], reading.baseline
    model = (reading.actual or 0) - reading.recounted
    delta, floor = model - baseline, limit.bound("floor")
    before, now = distinct_texts(metric, baseline, model)
    change = f"{now} is {_share(delta, baseline)} {'over' if delta > 0 else 'under'} the baseline of {before}"
    allowed = f"{human_percent(limit.grow or 0)}{f' and {metric.text(floor)}' if floor else ''}"
    if delta > limit.allowance(baseline):
        if metric.counts and reading.uncounted_calls_before > reading.uncounted_calls:
            hidden = (
                f"{number_of('call', reading.uncounted_calls_before)} uncounted then, {reading.uncounted_calls} now"
            )
            accept = ", or accept it with convcost check --update" if reading.locked else ""
            return "inconclusive", f"{change}, which is a lower bound: {hidden}; {_FORMULA}{accept}"
        return "fail", f"{change}; it may grow by {allowed}"
    if strict and fall_under_lock(limit, reading):
        return "fail", f"{change}, and the lock does not know (--strict); run convcost check --update"
    return _unless_uncounted(metric, reading, strict=strict)


def fall_under_lock(limit: Limit, reading: Reading) -> float:
    """How far a metric fell under the lock, beyond what it may grow: a lock that stays high lets the next growth pass.

    0 for less, for what the counter alone changed, and where operations without a formula may hide as much.
    """
    metric, baseline = METRICS[limit.metric], reading.baseline
    hidden = metric.counts and (reading.uncounted or reading.uncounted_calls_before)
    if not reading.locked or hidden or baseline is None or reading.actual is None:
        return 0
    fall = baseline - (reading.actual - reading.recounted)
    return fall if fall > limit.allowance(baseline) else 0


def _without_baseline(reading: Reading) -> Ruling:
    return "inconclusive" if reading.lost else "skipped", reading.why or "there is no baseline"


def _judge_slowdown(limit: Limit, reading: Reading) -> Ruling:
    if reading.growth_doubt is not None:
        return "inconclusive", reading.growth_doubt
    if reading.growth is None or reading.baseline is None:
        return _without_baseline(reading)
    share, low, high = reading.growth
    grow = max(limit.grow or 0, (limit.bound("floor") or 0) / reading.baseline)
    span = (
        f"{_signed(share)} ({_signed(low)} to {_signed(high)}) against the baseline of {human_time(reading.baseline)}"
    )
    if low > grow:
        return "fail", f"{span} is over the {human_percent(grow)} allowed"
    return ("pass", "") if high <= grow else ("inconclusive", f"the {human_percent(grow)} allowed lie within {span}")


def _unless_uncounted(metric: Metric, reading: Reading, *, strict: bool) -> Ruling:
    """A pass, which a lower bound is only by courtesy."""
    if not (metric.counts and reading.uncounted):
        return "pass", ""
    return ("inconclusive" if strict else "pass"), f"≥, {_uncounted(reading, strict=strict)}"


def _uncounted(reading: Reading, *, strict: bool) -> str:
    """`2 operations uncounted: aten._fft_r2c, mylib.op; ...`, with the next step."""
    names = ", ".join(reading.operations[:SHOWN]) + (", ..." if len(reading.operations) > SHOWN else "")
    accept = ", or accept a lower bound by leaving --strict out" if strict else ""
    return f"{number_of('operation', reading.uncounted)} uncounted: {f'{names}; ' if names else ''}{_FORMULA}{accept}"


def _at_least(metric: Metric, reading: Reading) -> str:
    return "≥ " if metric.counts and reading.uncounted else ""


def _excess(metric: Metric, amount: float, of: float) -> str:
    return f"{metric.text(amount)} ({_share(amount, of)})" if of else metric.text(amount)


def _share(amount: float, of: float) -> str:
    """A share of something, with as many digits as make it visible."""
    return human_percent(abs(amount) / of) if of else "infinitely"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"


SEVERITY: Final[tuple[Verdict, ...]] = ("skipped", "pass", "inconclusive", "warn", "fail")
"""From the mildest to the gravest."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A metric, its limits and the verdict.

    Attributes:
        limit: what was allowed.
        reading: what was reading.
        verdict: the gravest of its rules.
        reason: why, in words; empty for a plain pass.
        source: FILE:LINE of the limit that decided.
        notes: that change no verdict.
    """

    limit: Limit
    reading: Reading
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
        reading = self.reading
        if reading.growth is not None:
            return reading.growth[0]
        if reading.actual is None or not reading.baseline:
            return None
        return (reading.actual - reading.recounted) / reading.baseline - 1

    @property
    def lower_bound(self) -> bool:
        """Whether the true figure may be larger."""
        return bool(self.metric.counts and self.reading.uncounted)


def judge(limit: Limit, reading: Reading, *, strict: bool = False) -> Judgement:
    """The verdict on one metric.

    Args:
        limit: what is allowed.
        reading: what was reading.
        strict: an improvement that the lock does not know is a failure, and a lower bound cannot pass.
    """
    if reading.actual is None and reading.here is None:
        return Judgement(limit, reading, "skipped", reading.why or "not obtained", limit.source)
    rulings: dict[str, Ruling] = {}
    if (most := limit.bound("max")) is not None:
        rulings["max"] = judge_max(limit, reading, most, strict=strict)
    if (least := limit.bound("min")) is not None:
        rulings["min"] = judge_min(limit, reading, least, strict=strict)
    notes = list(reading.notes)
    if limit.grow is not None:
        ruling = judge_growth(limit, reading, strict=strict)
        if ruling[0] == "skipped" and rulings:
            notes.append(f"{limit.metric} grow is not judged: {ruling[1]}")
        else:
            rulings["grow"] = ruling
        if not strict:
            notes += _improvement(limit, reading)
    if len(rulings) > 1 and "max" in rulings and rulings["max"][0] == "skipped":
        notes.append(f"{limit.metric} max is not judged: {rulings.pop('max')[1]}")
    verdict, reason, key = _gravest(rulings)
    if limit.level == "warn" and (verdict == "fail" or (strict and verdict == "inconclusive")):
        verdict = "warn"  # what would fail the check at the level of an error
    return Judgement(limit, reading, verdict, reason, limit.sources.get(key, limit.source), tuple(notes))


def _improvement(limit: Limit, reading: Reading) -> list[str]:
    """What a fall under the lock asks for, as a note."""
    fall, baseline, name = fall_under_lock(limit, reading), reading.baseline or 0, limit.metric
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

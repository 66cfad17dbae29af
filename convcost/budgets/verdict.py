"""The verdict on one metric of a budget, from its figures and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from convcost.budgets.limits import METRICS, Limit, Metric
from convcost.changes.change import recounted
from convcost.text.units import human_percent, human_ratio, human_share, human_time, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.changes.change import Change
    from convcost.changes.layer_cost import Entry
    from convcost.timing.measured import ForwardTiming

Verdict: TypeAlias = Literal["skipped", "pass", "inconclusive", "warn", "fail"]
Ruling: TypeAlias = tuple[Verdict, str]
"""A verdict and its reason."""

SEVERITY: Final[tuple[Verdict, ...]] = get_args(Verdict)
"""The verdicts, from the mildest to the gravest."""
MAX_NAMED: Final = 3
"""Maximum number of uncounted operations that a reason names; the JSON has all."""
_GIVE_FORMULA: Final = "give each a formula with convcost.register"
UNJUDGED: Final = "is not judged"
"""Words of the note that a limit was not judged."""
ACCEPTED: Final = "accepted"
"""First word of the reason of growth over a revision that the lock accepts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of one metric, counted or timed.

    Attributes:
        actual: Value in base units; None if it could not be obtained.
        low: Lower end of the 5-95 % interval of a time.
        high: Upper end of the 5-95 % interval of a time.
        baseline: Value in the lock or in the base revision; None without one.
        locked: Whether the baseline comes from the lock, which `convcost check --update` renews.
        accepted: Value in the lock beside a baseline that is a revision; None without one.
        recounted: Part of `actual - baseline` that may come from another version of the counter or of torch.
        growth: Growth of a time over its baseline, as (share, low, high); None for any other metric.
        uncounted: Number of operations without a formula.
        operations: Names of these operations.
        uncounted_calls: Number of calls of these operations.
        uncounted_calls_before: Number of such calls in the baseline.
        why: Reason why the metric, or its growth, cannot be judged; None if it can.
        lost: Whether a baseline exists but could not be obtained, so that the growth is inconclusive.
        machine: Machine on which the time was measured.
        here: Name of this machine, if the limit is for another one and nothing was timed; else None.
        doubt: Reason why the figure allows no verdict; None if it allows one.
        growth_doubt: Reason why the growth of the time allows no verdict; None if it allows one.
        notes: Remarks on the figures.
    """

    actual: float | None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    locked: bool = False
    accepted: float | None = None
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
    """The counted figures of a limit's metric.

    Args:
        limit: Limit of the metric.
        entry: Costs of the model.
        before: Costs in the baseline; None without one.
        changes: Layers that differ between the two.
        why: Reason why the growth cannot be judged; empty if it can.
    """
    metric = limit.metric
    actual, baseline = getattr(entry, metric), None if before is None else getattr(before, metric)
    by_counter = 0
    if before is not None and before.versions != entry.versions and None not in {actual, baseline}:
        same_model = all(change.kind in {"recounted", "renamed"} for change in changes)
        by_counter = actual - baseline if same_model else _recounted_part(metric, changes)
    return Reading(
        actual,
        baseline=baseline,
        recounted=by_counter,
        uncounted=entry.uncounted,
        uncounted_calls=entry.uncounted_calls,
        uncounted_calls_before=0 if before is None else before.uncounted_calls,
        why=why or None,
    )


def _recounted_part(metric: str, changes: Sequence[Change]) -> int:
    """The part of a metric's growth that comes from the counter alone."""
    from convcost.convolution.cost import FLOPS_PER_MAC

    return {"macs": 1, "flops": FLOPS_PER_MAC}.get(metric, 0) * recounted(changes)


def timed_reading(limit: Limit, timing: ForwardTiming | str | None, why: str) -> Reading:
    """The timed figures of a latency limit: the median, its interval, and the growth over the base.

    Args:
        limit: Limit of the latency.
        timing: Timing of the model; None if not timed; the name of this machine if the limit is for another one.
        why: Reason why the growth cannot be judged; empty if it can.
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
            f'latency: max is judged on this machine; write the machine that it is for: machine = "{timing.machine}"'
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


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one metric.

    Attributes:
        limit: Limits of the metric.
        reading: Figures of the metric.
        verdict: Gravest ruling of the limits.
        reason: Explanation of the verdict; empty for a plain pass.
        source: FILE:LINE of the limit that decides.
        broken: Keys of the broken limits.
        notes: Remarks that change no verdict.
    """

    limit: Limit
    reading: Reading
    verdict: Verdict
    reason: str
    source: str
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def metric(self) -> Metric:
        """The metric that was judged."""
        return METRICS[self.limit.metric]

    @property
    def growth(self) -> float | None:
        """Growth over the baseline as a share, less that of a changed counter; None without a baseline."""
        reading = self.reading
        if reading.growth is not None:
            return reading.growth[0]
        if reading.actual is None or not reading.baseline:
            return None
        return (reading.actual - reading.recounted) / reading.baseline - 1

    @property
    def lower_bound(self) -> bool:
        """Whether the true value may be larger, because of uncounted operations."""
        return _is_lower_bound(self.metric, self.reading)


def judge(limit: Limit, reading: Reading, *, strict: bool = False) -> Judgement:
    """Judge one metric by its limits.

    Args:
        limit: Limits of the metric.
        reading: Figures of the metric.
        strict: Whether an improvement that is not in the lock fails, and neither a lower bound nor growth without a
            baseline can pass.
    """
    rulings: dict[str, Ruling] = {}
    if limit.metric != "latency" and reading.doubt is not None:
        rulings[""] = "inconclusive", reading.doubt
    elif reading.actual is None and reading.here is None:
        rulings[""] = "skipped", reading.why or "not obtained"
    else:
        rulings = _judge_limits(limit, reading, strict=strict)
    notes = list(reading.notes)
    for key in ("grow", "max"):
        ruling, why = rulings.get(key, ("pass", ""))
        if ruling == "skipped" and len(rulings) > 1:
            del rulings[key]
            notes.append(f"{limit.metric} {key} {UNJUDGED}: {why}")
    if (accepted := rulings.get("grow", ("", ""))[1]).startswith(ACCEPTED):
        notes.append(f"{limit.metric} {accepted}")
    if limit.grow is not None and not strict and "" not in rulings:
        notes += _improvement(limit, reading)
    verdict, reason, key = _gravest(rulings)
    broken = tuple(key for key, (ruling, _) in rulings.items() if ruling == "fail")
    if limit.level == "warn" and (verdict == "fail" or (strict and verdict == "inconclusive")):
        verdict = "warn"  # level "error" would fail the check
    return Judgement(limit, reading, verdict, reason, limit.sources.get(key, limit.source), broken, tuple(notes))


def _judge_limits(limit: Limit, reading: Reading, *, strict: bool) -> dict[str, Ruling]:
    """The ruling of each limit, by its key."""
    rulings: dict[str, Ruling] = {}
    if (most := limit.bound("max")) is not None:
        rulings["max"] = _judge_max(limit, reading, most, strict=strict)
    if (least := limit.bound("min")) is not None:
        rulings["min"] = _judge_min(limit, reading, least, strict=strict)
    if limit.grow is not None:
        rulings["grow"] = _judge_growth(limit, reading, strict=strict)
    return rulings


def _gravest(rulings: Mapping[str, Ruling]) -> tuple[Verdict, str, str]:
    """The gravest verdict, all reasons for it, and the key of the first limit with that verdict and a reason."""
    gravest = max((verdict for verdict, _ in rulings.values()), key=SEVERITY.index)
    reasons = {key: reason for key, (verdict, reason) in rulings.items() if verdict == gravest}
    given = {key: reason for key, reason in reasons.items() if reason}
    return gravest, "; ".join(dict.fromkeys(given.values())), next(iter(given or reasons))


def _judge_max(limit: Limit, reading: Reading, most: float, *, strict: bool) -> Ruling:
    """Fail a count above its maximum, and a time whose whole interval is above it."""
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
    if actual > most:
        mark = "≥ " if _is_lower_bound(metric, reading) else ""
        return "fail", f"{mark}{shown} is over max {allowed} by {_excess(metric, actual - most, most)}"
    return _pass_unless_uncounted(metric, reading, strict=strict)


def _judge_min(limit: Limit, reading: Reading, least: float, *, strict: bool) -> Ruling:
    """Fail a figure below its minimum, unless it is a lower bound."""
    metric, actual = METRICS[limit.metric], reading.actual or 0
    shown, wanted = distinct_texts(metric, actual, least)
    if actual >= least:
        return "pass", ""
    if _is_lower_bound(metric, reading):
        return "inconclusive", f"≥ {shown} is under min {wanted}; {_uncounted(reading, strict=strict)}"
    return "fail", f"{shown} is under min {wanted} by {_excess(metric, least - actual, least)}"


def _judge_growth(limit: Limit, reading: Reading, *, strict: bool) -> Ruling:
    """Fail a figure that grew by more than its share and its floor, or, with `strict`, fell by more than these."""
    if limit.metric == "latency":
        return _judge_slowdown(limit, reading, strict=strict)
    if reading.baseline is None:
        return _without_baseline(reading, strict=strict)
    metric, baseline = METRICS[limit.metric], reading.baseline
    actual = (reading.actual or 0) - reading.recounted
    delta, floor = actual - baseline, limit.bound("floor")
    before, now = distinct_texts(metric, baseline, actual)
    change = f"{now} is {_share(delta, baseline)} {'over' if delta > 0 else 'under'} the baseline of {before}"
    allowed = f"{human_percent(limit.grow or 0)}{f' and {metric.text(floor)}' if floor else ''}"
    if delta > limit.allowance(baseline):
        return _judge_excess(metric, reading, change, allowed, strict=strict)
    if delta + reading.recounted > limit.allowance(baseline):
        return "inconclusive", _recount(metric, reading, baseline, now)
    stale = f"{change}, and the lock still has the old value (strict); run convcost check --update"
    has_fallen = strict and _fall_below_lock(limit, reading)
    return ("fail", stale) if has_fallen else _pass_unless_uncounted(metric, reading, strict=strict)


def _judge_excess(metric: Metric, reading: Reading, change: str, allowed: str, *, strict: bool) -> Ruling:
    """Fail growth beyond its limit, unless the lock accepts it or uncounted operations of the baseline may hide it.

    The lock accepts growth over a revision if it holds the very figure, as after `convcost check --update`.
    """
    lock = "" if reading.accepted is None else f", and convcost.lock holds {metric.text(reading.accepted)}"
    if reading.accepted == reading.actual:
        ruling, bound = _pass_unless_uncounted(metric, reading, strict=strict)
        return ruling, "; ".join(filter(None, (f"{ACCEPTED}: {change}{lock} too", bound)))
    if metric.counts and reading.uncounted_calls_before > reading.uncounted_calls:
        hidden = f"{number_of('call', reading.uncounted_calls_before)} uncounted then, {reading.uncounted_calls} now"
        accept = ", or accept it with convcost check --update" if reading.locked else ""
        return "inconclusive", f"{change}, which is a lower bound: {hidden}; {_GIVE_FORMULA}{accept}"
    return "fail", f"{change}; it may grow by {allowed}{lock}"


def _recount(metric: Metric, reading: Reading, baseline: float, without: str) -> str:
    """The growth with and without the layers that another version may have counted differently, and the next step."""
    actual = reading.actual or 0
    before, now = distinct_texts(metric, baseline, actual)
    return (
        f"{now} is {_share(actual - baseline, baseline)} over the baseline of {before}, and {without} without what "
        "another version of torch or of the counter may count differently; compare with base, which counts both by one "
        "version, or accept it with convcost check --update"
    )


def _judge_slowdown(limit: Limit, reading: Reading, *, strict: bool) -> Ruling:
    """Fail a latency if the whole interval of its growth is above the allowed growth."""
    if reading.growth_doubt is not None:
        return "inconclusive", reading.growth_doubt
    if reading.growth is None or reading.baseline is None:
        return _without_baseline(reading, strict=strict)
    _, low, high = reading.growth
    grow = max(limit.grow or 0, (limit.bound("floor") or 0) / reading.baseline)
    share, least, most = (human_share(one, "+") for one in reading.growth)
    span = f"{share} ({least} to {most}) against the baseline of {human_time(reading.baseline)}"
    if low > grow:
        return "fail", f"{span} is over the {human_percent(grow)} allowed"
    return ("pass", "") if high <= grow else ("inconclusive", f"the {human_percent(grow)} allowed lie within {span}")


def _without_baseline(reading: Reading, *, strict: bool) -> Ruling:
    """Skipped, or inconclusive where growth must be judged; a lock with an entry never has times."""
    is_open = reading.lost or (strict and not reading.locked)
    return "inconclusive" if is_open else "skipped", reading.why or "there is no baseline"


def _fall_below_lock(limit: Limit, reading: Reading) -> float:
    """The fall of a metric below the lock, without changes of the counter; 0 unless it exceeds the allowed growth.

    Until the lock is updated, the metric may grow back as far unnoticed. With uncounted operations there is no fall,
    since they could hide as much.
    """
    metric, baseline = METRICS[limit.metric], reading.baseline
    hidden = metric.counts and (reading.uncounted or reading.uncounted_calls_before)
    if not reading.locked or hidden or baseline is None or reading.actual is None:
        return 0
    fall = baseline - (reading.actual - reading.recounted)
    return fall if fall > limit.allowance(baseline) else 0


def _improvement(limit: Limit, reading: Reading) -> list[str]:
    """A note to update the lock after a fall."""
    fall, baseline, name = _fall_below_lock(limit, reading), reading.baseline or 0, limit.metric
    if not fall:
        return []
    until = f"until then it may grow back to {METRICS[name].text(baseline)}"
    return [f"{name} fell by {human_percent(fall / baseline)}: keep it with convcost check --update ({until})."]


def _is_lower_bound(metric: Metric, reading: Reading) -> bool:
    return metric.counts and reading.uncounted > 0


def _pass_unless_uncounted(metric: Metric, reading: Reading, *, strict: bool) -> Ruling:
    """Pass, or with `strict` inconclusive when uncounted operations make the total a lower bound."""
    if not _is_lower_bound(metric, reading):
        return "pass", ""
    return ("inconclusive" if strict else "pass"), f"≥, {_uncounted(reading, strict=strict)}"


def _uncounted(reading: Reading, *, strict: bool) -> str:
    """The uncounted operations with the next step: `2 operations uncounted: aten._fft_r2c, mylib.op; ...`."""
    names = ", ".join(reading.operations[:MAX_NAMED]) + (", ..." if len(reading.operations) > MAX_NAMED else "")
    accept = ", or accept a lower bound by leaving strict out" if strict else ""
    named = f"{names}; " if names else ""
    return f"{number_of('operation', reading.uncounted)} uncounted: {named}{_GIVE_FORMULA}{accept}"


def distinct_texts(metric: Metric, value: float, other: float) -> tuple[str, str]:
    """Two figures as text, exact where rounding would make different figures look equal."""
    texts = metric.text(value), metric.text(other)
    return (metric.exact(value), metric.exact(other)) if texts[0] == texts[1] and value != other else texts


def _excess(metric: Metric, amount: float, of: float) -> str:
    return f"{metric.text(amount)} ({_share(amount, of)})" if of else metric.text(amount)


def _share(amount: float, of: float) -> str:
    """The share as a percentage, and as a factor from ten times on."""
    if not of:
        return "infinitely"
    share = abs(amount) / of
    return human_ratio(share) if share >= 10 else human_percent(share)  # noqa: PLR2004 - its percentage has four digits

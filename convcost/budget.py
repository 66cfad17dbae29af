"""A model's budget: limits with units, and the verdict on what was found. Plain values in, plain values out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.errors import ConvcostError
from convcost.quantities import BYTES, FLOPS, MACS, PARAMS, SECONDS, quantity
from convcost.units import human_bytes, human_count, human_time, number_of, thousands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal
    from pathlib import Path

    from convcost.inputs import Input
    from convcost.quantities import Kind

__all__ = [
    "METRICS",
    "Budget",
    "Found",
    "Judgement",
    "Limit",
    "Metric",
    "judge",
    "limits_from",
    "told_apart",
]

Level: TypeAlias = Literal["error", "warn"]
Verdict: TypeAlias = Literal["pass", "warn", "fail", "inconclusive", "skipped"]
Ruling: TypeAlias = tuple[Verdict, str]

SEVERITY: Final[tuple[Verdict, ...]] = ("skipped", "pass", "inconclusive", "warn", "fail")
"""From the mildest to the gravest."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What can be limited.

    Attributes:
        name: in the configuration, and the attribute of a model's totals.
        kind: of its quantities.
        show: as people read it.
        counts: whether an uncounted operation makes it a lower bound.
    """

    name: str
    kind: Kind
    show: Callable[[int], str]
    counts: bool = False

    def text(self, value: float) -> str:
        """As people read it: `580 M`, `47.0 MB`, `60.0 ms`."""
        return human_time(value) if self.kind is SECONDS else self.show(round(value))

    def exact(self, value: float) -> str:
        """To the last unit: `580,000,001`."""
        if self.kind is SECONDS:
            return f"{value * 1e3:,.6g} ms"
        return f"{thousands(round(value))}{' B' if self.kind is BYTES else ''}"


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("params", PARAMS, human_count),
        Metric("macs", MACS, human_count, counts=True),
        Metric("flops", FLOPS, human_count, counts=True),
        Metric("weight_bytes", BYTES, human_bytes),
        Metric("peak_activation_bytes", BYTES, human_bytes),
        Metric("latency", SECONDS, human_count),
    )
}
"""What a budget can limit, by name."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of one metric.

    Attributes:
        metric: a name in `METRICS`.
        max: that it may reach, in base units.
        min: that it must reach.
        grow: share that it may grow over the baseline.
        floor: growth in base units that is always allowed.
        level: whether breaking it fails the check, or warns.
        source: FILE:LINE of the metric, for the reader; empty where there is no file.
        sources: FILE:LINE of each of its keys.
        device: of latency, where to time.
        threads: of latency.
        machine: of latency, the one that `max` was set for; None where nobody said.
    """

    metric: str
    max: Decimal | None = None
    min: Decimal | None = None
    grow: float | None = None
    floor: Decimal | None = None
    level: Level = "error"
    source: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | Literal["all"] = 1
    machine: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """One model and its limits.

    Attributes:
        name: of the budget; the key in the lock.
        target: as `convcost model` takes it, relative to `folder`.
        args: for the callable.
        inputs: of the model; empty for its own.
        limits: at most one a metric.
        message: that stands beside a failure.
        source: FILE:LINE:COLUMN of the target; empty where there is no file.
        folder: that the target is relative to.
    """

    name: str
    target: str
    folder: Path
    args: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    limits: tuple[Limit, ...] = ()
    message: str | None = None
    source: str = ""


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
        machine: that something was timed on.
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
    machine: str | None = None
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


def limits_from(maxima: Mapping[str, str | int | None]) -> tuple[Limit, ...]:
    """Limits that are maxima alone, as `{"params": "4.3 M"}`; a None is no limit.

    Raises:
        ConvcostError: a quantity of another kind, or no limit at all.
    """
    limits = []
    for name, text in maxima.items():
        if text is None:
            continue
        try:
            limits.append(Limit(name, max=quantity(text, METRICS[name].kind)))
        except ConvcostError as error:
            msg = f"max_{name} {error}"
            raise ConvcostError(msg) from error
    if not limits:
        msg = f"a check must have a limit; give one of {', '.join(f'max_{name}' for name in maxima)}."
        raise ConvcostError(msg)
    return tuple(limits)


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
            notes.append(f"{'latency ' if limit.metric == 'latency' else ''}grow is not judged: {ruling[1]}")
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
        return "skipped", found.why or "there is no baseline"
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


def _judge_slowdown(limit: Limit, found: Found, grow: float) -> Ruling:
    if found.growth is None or found.baseline is None:
        return "skipped", found.why or "there is no baseline"
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

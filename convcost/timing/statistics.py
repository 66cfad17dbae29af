"""Statistics of timed blocks: medians, quartiles, speed-ups with an interval, and warnings.

Pure statistics over values; the clock is in `convcost.nn.measure.clock`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.text.units import human_count, human_ratio, human_share, human_time, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Speedup = tuple[float | None, float | None, float | None]
    """A speed-up with the lower and the upper end of its interval."""


Verdict: TypeAlias = Literal["faster", "slower", "same", "undecided"]
"""Result of the comparison with the baseline; same: not told from noise; undecided: the data allow no sentence."""
RUN_TO_RUN: Final = 0.025
"""Standard deviation of a speed-up between fresh processes, as a share of it, without a calibration."""
Z_5_95: Final = 1.645
"""Standard deviations from the centre to either end of a 5-95 % interval."""
MAX_QUIET: Final = 1.08
"""Largest probe time of a quiet round, as a multiple of the 5 % quantile of all probe times."""
MIN_BLOCKS: Final = 5
"""Minimum of clean blocks or quiet rounds; with fewer, all blocks are used, and no verdict rests on them."""
MIN_PAIRS: Final = 2
"""Minimum of pairs for an interval: one pair does not show how much they vary."""
MAX_DROPPED, MAX_DRIFT, MAX_WIDTH = 0.5, 0.1, 0.25
"""Largest share of dropped blocks, drift of the probe, and width of a speed-up's interval without a warning."""
MAX_SLOWDOWN: Final = 1.1
"""Largest time of the fastest block, as a multiple of a call with one thread, without a warning about the threads."""
MAX_PERCENT: Final = 2.0
"""Largest change, as a factor, that is shown as a percentage."""
OVERHEAD_S: Final = 100e-6
"""Time of a call below which overhead dominates the arithmetic (measured on torch's CPU convolutions)."""
QUEUED_OVERHEAD_S: Final = 25e-6
"""The same on an accelerator, where launches are queued: twice a convolution of nothing on an H200 (12.5 µs)."""
BOOTSTRAPS: Final = 1000


def overhead_limit(device: str) -> float:
    """Seconds of a call below which overhead dominates the arithmetic on a device of this name."""
    return OVERHEAD_S if device == "cpu" else QUEUED_OVERHEAD_S


@dataclass(frozen=True, slots=True)
class Sample:
    """One block of calls.

    Attributes:
        round: Number of the round; blocks of one round ran next to each other.
        seconds: Mean seconds per call.
        calls: Calls in the block.
        clean: Whether no other program took the processor.
        faults: Minor page faults per call; None where the platform does not count them.
    """

    round: int
    seconds: float
    calls: int
    clean: bool
    faults: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """All blocks of one candidate.

    Attributes:
        first_call_s: Seconds of the first call.
        samples: One block for each round; disturbed only if its retries were disturbed too.
        dropped: Number of disturbed blocks that were dropped.
        threads: Threads of torch.
        one_thread_s: Seconds of the fastest call with one thread; None where it was not tried.
        overhead_s: Seconds of a call below which overhead dominates the arithmetic on this device.
    """

    first_call_s: float
    samples: tuple[Sample, ...]
    dropped: int = 0
    threads: int = 1
    one_thread_s: float | None = None
    overhead_s: float = OVERHEAD_S


@dataclass(frozen=True, slots=True)
class Timing:
    """The timing of one candidate.

    Attributes:
        time_s: Median seconds per call over clean blocks.
        time_q25_s: Lower quartile of the seconds per call.
        time_q75_s: Upper quartile of the seconds per call.
        time_min_s: Seconds per call of the fastest block.
        first_call_s: Seconds of the first call.
        time_runs: Number of timed calls in the blocks that were used.
        dropped_share: Share of disturbed blocks.
        faults_per_call: Median of the minor page faults per call; None where the platform does not count them.
        speedup: Time of the baseline ÷ this time, median of the pairs of one round; None without a baseline.
        speedup_low: Lower end of the speed-up's 5-95 % interval, run-to-run term included; None for the baseline, and
            for a speed-up from one round.
        speedup_high: Upper end of that interval; None where it has none.
        probe_drift: Change of the reference probe from the first rounds to the last, as a share.
        warnings: Reasons not to trust the timing, each with the next step.
        doubts: Those of the warnings that allow no verdict on the speed-up.
    """

    time_s: float
    time_q25_s: float
    time_q75_s: float
    time_min_s: float
    first_call_s: float
    time_runs: int
    dropped_share: float
    faults_per_call: float | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    probe_drift: float
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The comparison with the baseline, which is the same as itself."""
        if self.doubts or self.speedup is None:
            return "undecided"
        if self.speedup_low is None or self.speedup_high is None or self.speedup_low <= 1 <= self.speedup_high:
            return "same"
        return "faster" if self.speedup_low > 1 else "slower"


def quantile(values: Sequence[float], share: float) -> float:
    """The linear-interpolated quantile, as NumPy's default: share 0.25 is the lower quartile."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def quiet_rounds(probes: Mapping[int, float]) -> set[int]:
    """The rounds in which the machine ran at its usual speed; all rounds if these are too few."""
    quiet = _undisturbed_rounds(probes)
    return quiet if len(quiet) >= MIN_BLOCKS else set(probes)


def _undisturbed_rounds(probes: Mapping[int, float]) -> set[int]:
    limit = MAX_QUIET * quantile(list(probes.values()), 0.05) if probes else 0.0
    return {number for number, seconds in probes.items() if seconds <= limit}


def median_interval(ratios: Sequence[float], run_to_run: float = RUN_TO_RUN) -> tuple[float, float, float]:
    """The median of pair ratios, or of times, with its 5-95 % interval.

    The bootstrap covers one process only; the median also moves between processes, a term that is added in quadrature.

    Args:
        ratios: Baseline ÷ candidate, or seconds; one per round.
        run_to_run: Standard deviation between processes, as a share of the median.

    Returns:
        The median, the lower and the upper end.
    """
    import numpy as np

    centre = median(ratios)
    draws = np.random.default_rng(0).choice(np.asarray(ratios), size=(BOOTSTRAPS, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), (0.05, 0.95))
    between = Z_5_95 * run_to_run * centre
    below, above = np.hypot(centre - low, between), np.hypot(high - centre, between)
    return centre, max(0.0, centre - float(below)), centre + float(above)


def summarise(
    series: Mapping[str, Series],
    probes: Mapping[int, float],
    baseline: str | None,
    *,
    pinned: bool,
    run_to_run: float = RUN_TO_RUN,
) -> dict[str, Timing]:
    """The timing of each candidate.

    Args:
        series: Series by candidate; a candidate without samples is left out.
        probes: Seconds of the reference probe, by round.
        baseline: Candidate that speed-ups are relative to; None, or one without samples, for no speed-ups.
        pinned: Whether the allocator was pinned, so that page faults deserve a warning.
        run_to_run: Standard deviation of a speed-up between processes, as a share.
    """
    drift = _drift(probes)
    quiet = quiet_rounds(probes)
    base = series.get(baseline or "", Series(0.0, ()))
    timings = {}
    for name, one in series.items():
        if one.samples:
            timing = _summarise_one(one, drift)
            reasons = _disturbances(timing, one)
            if name == baseline:
                timing = replace(timing, speedup=1.0)
            elif baseline is not None:
                speedup, low, high = _speedup(one, base, quiet, run_to_run)
                timing = replace(timing, speedup=speedup, speedup_low=low, speedup_high=high)
                pairs = len(_good_pairs(_pairs(one, base), _undisturbed_rounds(probes)))
                reasons |= _contradictions(timing, one, base, pairs)
            warnings = (*reasons, *_remarks(timing, one.overhead_s, pinned=pinned))
            timings[name] = replace(timing, warnings=warnings, doubts=tuple(filter(reasons.get, reasons)))
    return timings


def _drift(probes: Mapping[int, float]) -> float:
    """Relative change of the probe from the first rounds to the last; three rounds each, fewer in a short run."""
    ordered = [probes[number] for number in sorted(probes)]
    few = min(3, len(ordered) // 2)
    return median(ordered[-few:]) / median(ordered[:few]) - 1 if few else 0.0


def _summarise_one(one: Series, drift: float) -> Timing:
    """The timing without a speed-up and without warnings."""
    used = used_samples(one)
    seconds = [sample.seconds for sample in used]
    faults = [sample.faults for sample in used if sample.faults is not None]
    dirty = sum(not sample.clean for sample in one.samples)
    return Timing(
        time_s=median(seconds),
        time_q25_s=quantile(seconds, 0.25),
        time_q75_s=quantile(seconds, 0.75),
        time_min_s=min(seconds),
        first_call_s=one.first_call_s,
        time_runs=sum(sample.calls for sample in used),
        dropped_share=(one.dropped + dirty) / (one.dropped + len(one.samples)),
        faults_per_call=median(faults) if faults else None,
        speedup=None,
        speedup_low=None,
        speedup_high=None,
        probe_drift=drift,
    )


def used_samples(one: Series) -> list[Sample]:
    """The clean samples; all samples if these are too few."""
    clean = [sample for sample in one.samples if sample.clean]
    return clean if len(clean) >= MIN_BLOCKS else list(one.samples)


def count_pairs(one: Series, base: Series, probes: Mapping[int, float]) -> int:
    """Number of quiet rounds in which the blocks of both are clean."""
    return len(_good_pairs(_pairs(one, base), quiet_rounds(probes)))


def _speedup(one: Series, base: Series, quiet: set[int], run_to_run: float) -> Speedup:
    """The speed-up and its interval, from pairs of one round: clean and quiet ones, or all if these are too few."""
    pairs = _pairs(one, base)
    good = _good_pairs(pairs, quiet)
    chosen = good if len(good) >= MIN_BLOCKS else pairs
    ratios = [a.seconds / b.seconds for a, b in chosen]
    if len(ratios) < MIN_PAIRS:
        return (ratios[0] if ratios else None), None, None
    return median_interval(ratios, run_to_run)


def _pairs(one: Series, base: Series) -> list[tuple[Sample, Sample]]:
    """Pairs of blocks of one round, the baseline's first."""
    ours = {sample.round: sample for sample in one.samples}
    return [(sample, ours[sample.round]) for sample in base.samples if sample.round in ours]


def _good_pairs(pairs: list[tuple[Sample, Sample]], quiet: set[int]) -> list[tuple[Sample, Sample]]:
    return [(a, b) for a, b in pairs if a.clean and b.clean and a.round in quiet]


def _disturbances(timing: Timing, one: Series) -> dict[str, bool]:
    """What other programs or too many threads did to a timing, and whether it allows no verdict."""
    reasons = {}
    clean = sum(sample.clean for sample in one.samples)
    if timing.dropped_share > MAX_DROPPED:
        reasons[f"{human_share(timing.dropped_share)} of the blocks were disturbed: {_step(timing)}"] = False
    if clean < MIN_BLOCKS:
        reasons[f"{_only('undisturbed block', clean)}: {_step(timing)}"] = True
    if abs(timing.probe_drift) > MAX_DRIFT:
        reasons[f"the machine became {_change(timing.probe_drift)} meanwhile: run it again"] = True
    if slowed := _slowed(one):
        reasons[slowed] = True
    return reasons


def _step(timing: Timing) -> str:
    """What gives more undisturbed blocks: more time, where others do not take most of it."""
    return "close other programs" if timing.dropped_share > MAX_DROPPED else "raise time_budget"


def _only(noun: str, count: int) -> str:
    return f"only {number_of(noun, count)}" if count else f"no {noun}s"


def _slowed(one: Series) -> str | None:
    """A warning if the threads make a call slower than one thread does."""
    fastest = min(sample.seconds for sample in one.samples)
    if one.one_thread_s is None or fastest <= MAX_SLOWDOWN * one.one_thread_s:
        return None
    times = f"{human_time(fastest)} or more, one {human_time(one.one_thread_s)}"
    return f"{one.threads} threads take {times}: take fewer threads"


def _change(drift: float) -> str:
    """The change of the machine's speed; as a factor where a percentage would be no figure."""
    word, times = ("slower", 1 + drift) if drift > 0 else ("faster", 1 / (1 + drift))
    return f"{human_share(abs(drift)) if times <= MAX_PERCENT else human_ratio(times)} {word}"


def _contradictions(timing: Timing, one: Series, base: Series, pairs: int) -> dict[str, bool]:
    """Reasons not to trust a speed-up from so many undisturbed pairs, and whether they allow no verdict."""
    if timing.speedup is None:
        return {"the baseline was not timed: raise time_budget, or choose another baseline": True}
    if timing.speedup_low is None or timing.speedup_high is None:
        return {f"one round with the baseline, so the speed-up has no interval: {_step(timing)}": True}
    reasons = {}
    low, high = timing.speedup_low, timing.speedup_high
    if slowed := _slowed(base):
        reasons[f"the baseline: {slowed}"] = True
    if pairs < MIN_BLOCKS <= sum(sample.clean for sample in one.samples):
        reasons[f"{_only('undisturbed round', pairs)} with the baseline: {_step(timing)}"] = True
    width = (high - low) / timing.speedup
    if width > MAX_WIDTH:
        shown = f"{human_share(width)} wide" if width <= 1 else f"{human_ratio(low)} to {human_ratio(high)}"
        reasons[f"the speed-up's interval is {shown}: {_step(timing)}"] = width > 1
    medians = median(sample.seconds for sample in used_samples(base)) / timing.time_s
    if not low <= medians <= high:
        what = f"the medians give {human_ratio(medians)}, the rounds {human_ratio(timing.speedup)}"
        reasons[f"{what}, as the machine changed its speed: run it again"] = (medians < 1) != (timing.speedup < 1)
    return reasons


def _remarks(timing: Timing, overhead_s: float, *, pinned: bool) -> list[str]:
    """Warnings about what was timed."""
    remarks = []
    if timing.time_s < overhead_s:
        remarks.append(f"overhead-bound: a call takes {human_time(timing.time_s)}; a larger input shows the arithmetic")
    if pinned and timing.faults_per_call:
        faults = timing.faults_per_call
        often = f"a page fault in {1 / faults:.0f} calls"
        if faults >= 1:
            often = f"{human_count(faults)} page faults a call"
        remarks.append(f"{often} although the allocator is pinned: see docs/time.md")
    return remarks

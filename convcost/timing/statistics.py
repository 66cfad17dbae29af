"""What a series of timed blocks says: medians, quartiles and speed-ups with an interval, and when not to trust them.

Pure statistics over values; the clock is in `convcost.nn.measure.clock`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final

from convcost.text.units import human_share, human_time, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = [
    "LEAST",
    "RUN_TO_RUN",
    "Sample",
    "Series",
    "Timing",
    "count_pairs",
    "median_interval",
    "quantile",
    "summarise",
    "used_samples",
]

RUN_TO_RUN: Final = 0.025
"""Standard deviation of a speed-up between fresh processes, as a share of it, where no calibration says better."""
Z_5_95: Final = 1.645
"""Standard deviations from the centre to either end of a 5-95 % interval."""
QUIET: Final = 1.08
"""A round counts as quiet when its probe is within this factor of the 5 % quantile of all probes."""
LEAST: Final = 5
"""Fewer clean blocks, or quiet rounds, than this are not chosen from: all are used, and they decide nothing."""
MOST_DROPPED, MOST_DRIFT, MOST_WIDTH = 0.5, 0.1, 0.25
OVERHEAD_S: Final = 100e-6
"""Below this time of a call the overhead around the arithmetic decides (seen with torch's CPU convolutions)."""
BOOTSTRAPS: Final = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """One block of calls.

    Attributes:
        round: in which the block ran; blocks of one round ran next to each other.
        seconds: a call.
        calls: in the block.
        clean: nobody else took the processor.
        faults: minor page faults a call; None where the platform does not tell.
    """

    round: int
    seconds: float
    calls: int
    clean: bool
    faults: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """Everything that was timed of one candidate.

    Attributes:
        first_call_s: seconds of the first call.
        samples: one block a round; a dirty block stands only where its retries were dirty too.
        dropped: blocks that were disturbed and dropped.
    """

    first_call_s: float
    samples: tuple[Sample, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """The timed view of a block; seconds are of one call.

    Attributes:
        time_s: median over clean blocks.
        time_q25_s: lower quartile.
        time_q75_s: upper quartile.
        time_min_s: fastest block.
        first_call_s: the first call.
        time_runs: timed calls in the blocks that were used.
        dropped_share: of the blocks, those that were disturbed.
        faults_per_call: minor page faults, median; None where the platform does not tell.
        speedup: time of the baseline ÷ this time, median of the pairs of one round; None without a baseline.
        speedup_low: lower end of the 5-95 % interval, run-to-run term included; None for the baseline itself.
        speedup_high: upper end.
        probe_drift: change of the reference probe from the first rounds to the last, as a share.
        warnings: why not to trust it, each with the next step.
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

    @property
    def is_overhead(self) -> bool:
        """Whether a call is so short that the work around the arithmetic decides."""
        return self.time_s < OVERHEAD_S


def quantile(values: Sequence[float], share: float) -> float:
    """The linear-interpolated quantile, as NumPy's default: share 0.25 is the lower quartile."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def quiet_rounds(probes: Mapping[int, float]) -> set[int]:
    """The rounds that ran while the machine was at its usual speed; all of them when these are too few."""
    limit = QUIET * quantile(list(probes.values()), 0.05)
    quiet = {number for number, seconds in probes.items() if seconds <= limit}
    return quiet if len(quiet) >= LEAST else set(probes)


def median_interval(ratios: Sequence[float], run_to_run: float = RUN_TO_RUN) -> tuple[float, float, float]:
    """The median of pair ratios, or of times, with its 5-95 % interval.

    The bootstrap sees one process only; between processes the median moves too, so that term is added in quadrature.

    Args:
        ratios: baseline ÷ candidate, or seconds, one a round.
        run_to_run: standard deviation between processes, as a share of the median.

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
    """What the samples say of each candidate.

    Args:
        series: by candidate; a candidate without samples is left out.
        probes: seconds of the reference probe, by round.
        baseline: the candidate that speed-ups are relative to; None, or one without samples, for no speed-ups.
        pinned: whether the allocator was pinned, so that page faults are a fault.
        run_to_run: standard deviation of a speed-up between processes, as a share.
    """
    drift = _drift(probes)
    quiet = quiet_rounds(probes) if probes else set()
    base = None if baseline is None else series.get(baseline)
    base = base if base is not None and base.samples else None
    return {
        name: _summarise_one(one, base, name == baseline, quiet, drift, pinned=pinned, run_to_run=run_to_run)
        for name, one in series.items()
        if one.samples
    }


def _drift(probes: Mapping[int, float]) -> float:
    """Relative change of the probe between the first and the last rounds, three of each if there are as many."""
    ordered = [probes[number] for number in sorted(probes)]
    if len(ordered) < 2:  # noqa: PLR2004 - nothing to compare
        return 0.0
    few = min(3, len(ordered) // 2)
    return median(ordered[-few:]) / median(ordered[:few]) - 1


def _summarise_one(  # noqa: PLR0913 - what one summary depends on
    one: Series,
    base: Series | None,
    is_baseline: bool,  # noqa: FBT001 - a fact, not a switch
    quiet: set[int],
    drift: float,
    *,
    pinned: bool,
    run_to_run: float,
) -> Timing:
    used = used_samples(one)
    seconds = [sample.seconds for sample in used]
    faults = [sample.faults for sample in used if sample.faults is not None]
    speedup, low, high = (1.0, None, None) if is_baseline else _speedup(one, base, quiet, run_to_run)
    dirty = sum(not sample.clean for sample in one.samples)
    dropped = (one.dropped + dirty) / (one.dropped + len(one.samples))
    timing = Timing(
        time_s=median(seconds),
        time_q25_s=quantile(seconds, 0.25),
        time_q75_s=quantile(seconds, 0.75),
        time_min_s=min(seconds),
        first_call_s=one.first_call_s,
        time_runs=sum(sample.calls for sample in used),
        dropped_share=dropped,
        faults_per_call=median(faults) if faults else None,
        speedup=speedup,
        speedup_low=low,
        speedup_high=high,
        probe_drift=drift,
    )
    return _with_warnings(timing, len(one.samples) - dirty, pinned=pinned)


def used_samples(one: Series) -> list[Sample]:
    """The clean ones, or all when these are too few."""
    clean = [sample for sample in one.samples if sample.clean]
    return clean if len(clean) >= LEAST else list(one.samples)


def count_pairs(one: Series, base: Series, probes: Mapping[int, float]) -> int:
    """How many rounds have clean blocks of both, while the machine was at its usual speed."""
    return len(_good_pairs(_pairs(one, base), quiet_rounds(probes) if probes else set()))


def _speedup(
    one: Series, base: Series | None, quiet: set[int], run_to_run: float
) -> tuple[float | None, float | None, float | None]:
    """From the pairs of one round: clean and quiet ones, or all when these are too few."""
    if base is None:
        return None, None, None
    pairs = _pairs(one, base)
    good = _good_pairs(pairs, quiet)
    chosen = good if len(good) >= LEAST else pairs
    if not chosen:
        return None, None, None
    return median_interval([a.seconds / b.seconds for a, b in chosen], run_to_run)


def _pairs(one: Series, base: Series) -> list[tuple[Sample, Sample]]:
    """The blocks of one round, those of the baseline first."""
    ours = {sample.round: sample for sample in one.samples}
    return [(sample, ours[sample.round]) for sample in base.samples if sample.round in ours]


def _good_pairs(pairs: list[tuple[Sample, Sample]], quiet: set[int]) -> list[tuple[Sample, Sample]]:
    return [(a, b) for a, b in pairs if a.clean and b.clean and a.round in quiet]


def _with_warnings(timing: Timing, clean: int, *, pinned: bool) -> Timing:
    said = []
    if clean < LEAST:
        said.append(f"only {number_of('undisturbed block', clean)}: raise time_budget")
    if timing.dropped_share > MOST_DROPPED:
        said.append(f"{human_share(timing.dropped_share)} of the blocks were disturbed: close other programs")
    if abs(timing.probe_drift) > MOST_DRIFT:
        change = "slower" if timing.probe_drift > 0 else "faster"
        said.append(f"the machine became {human_share(abs(timing.probe_drift))} {change} meanwhile: run it again")
    if timing.speedup and timing.speedup_low is not None and timing.speedup_high is not None:
        width = (timing.speedup_high - timing.speedup_low) / timing.speedup
        if width > MOST_WIDTH:
            said.append(f"the speed-up's interval is {human_share(width)} wide: raise time_budget")
    if timing.is_overhead:
        said.append(f"overhead-bound: a call takes {human_time(timing.time_s)}; a larger input shows the arithmetic")
    if pinned and timing.faults_per_call:
        faults = f"{timing.faults_per_call:.2g}"
        said.append(f"{faults} page faults a call although the allocator is pinned: see the README")
    return replace(timing, warnings=tuple(said))

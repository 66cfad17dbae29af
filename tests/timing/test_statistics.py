"""Statistics of timed blocks, with expectations worked out by hand."""

from __future__ import annotations

import random
from statistics import median
from typing import Any

import pytest

from convcost.timing.statistics import Sample, Series, Timing, median_interval, quantile, quiet_rounds, summarise

MS = 1e-3


def samples(seconds: list[float], *, clean: bool = True, faults: float | None = 0.0) -> tuple[Sample, ...]:
    return tuple(Sample(number, value, 10, clean, faults) for number, value in enumerate(seconds))


def one(seconds: list[float], *, dropped: int = 0, pinned: bool = True, **options: Any) -> Timing:
    series = {"x": Series(1.0, samples(seconds, **options), dropped)}
    return summarise(series, dict.fromkeys(range(len(seconds)), MS), None, pinned=pinned)["x"]


def test_quantiles_interpolate_linearly() -> None:
    assert quantile([4, 1, 3, 2], 0.25) == 1.75
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile([7], 0.9) == 7


def test_median_quartiles_and_minimum_are_over_clean_blocks() -> None:
    dirty = (Sample(5, 9 * MS, 10, clean=False, faults=0.0),)
    series = Series(0.5, samples([5 * MS, 1 * MS, 3 * MS, 2 * MS, 4 * MS]) + dirty, dropped=2)
    timing = summarise({"x": series}, dict.fromkeys(range(6), MS), None, pinned=True)["x"]
    assert (timing.time_q25_s, timing.time_s, timing.time_q75_s, timing.time_min_s) == (2 * MS, 3 * MS, 4 * MS, MS)
    assert timing.first_call_s == 0.5
    assert timing.time_runs == 5 * 10
    assert timing.dropped_share == (2 + 1) / (2 + 6)
    assert timing.speedup is None


def test_fewer_than_five_clean_blocks_means_all_are_used_and_said() -> None:
    timing = one([2 * MS, 4 * MS], clean=False)
    assert timing.time_s == 3 * MS
    assert timing.time_runs == 20
    assert "no undisturbed blocks: close other programs" in timing.warnings


def test_a_speedup_is_the_median_of_the_pairs_of_one_round() -> None:
    base = Series(1.0, samples([2 * MS, 4 * MS, 6 * MS, 8 * MS, 10 * MS]))
    fast = Series(1.0, samples([1 * MS, 2 * MS, 2 * MS, 4 * MS, 2 * MS]))  # ratios 2 2 3 2 5
    timings = summarise({"a": base, "b": fast}, dict.fromkeys(range(5), MS), "a", pinned=True)
    assert timings["b"].speedup == pytest.approx(2.0)
    assert (timings["a"].speedup, timings["a"].speedup_low, timings["a"].speedup_high) == (1.0, None, None)


def test_the_interval_of_equal_ratios_is_the_run_to_run_term() -> None:
    centre, low, high = median_interval([4.0] * 8, run_to_run=0.025)
    assert centre == 4.0
    assert low == pytest.approx(4.0 * (1 - 1.645 * 0.025))
    assert high == pytest.approx(4.0 * (1 + 1.645 * 0.025))


def test_the_bootstrap_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    source = random.Random(7)
    covered = 0
    for _ in range(100):
        _, low, high = median_interval([source.gauss(2.0, 0.1) for _ in range(30)], run_to_run=0.0)
        covered += low <= 2.0 <= high
    assert 80 <= covered <= 99  # 90 wanted; three standard deviations of 100 draws are 9


def test_rounds_in_a_slow_phase_are_left_out_of_the_speedup() -> None:
    base = [4 * MS] * 6 + [9 * MS] * 4
    fast = [1 * MS] * 6 + [3 * MS] * 4
    probes = {number: MS if number < 6 else 1.4 * MS for number in range(10)}
    series = {"a": Series(1.0, samples(base)), "b": Series(1.0, samples(fast))}
    assert summarise(series, probes, "a", pinned=True)["b"].speedup == 4.0


def test_too_few_quiet_rounds_are_not_chosen_from() -> None:
    probes = {0: 1.0, 1: 1.05, 2: 2.0, 3: 2.0, 4: 2.0, 5: 2.0}
    assert quiet_rounds(probes) == set(probes)
    assert quiet_rounds({**dict.fromkeys(range(5), 1.0), 5: 2.0}) == set(range(5))


def test_a_baseline_that_was_not_timed_gives_no_speedups() -> None:
    timings = summarise({"b": Series(1.0, samples([MS] * 6))}, dict.fromkeys(range(6), MS), "a", pinned=True)
    assert timings["b"].speedup is None


def test_a_candidate_without_samples_is_left_out() -> None:
    assert summarise({"b": Series(1.0, ())}, {}, "b", pinned=True) == {}


@pytest.mark.parametrize(
    ("timing", "warning"),
    [
        (one([MS] * 5, dropped=6), "54.5 % of the blocks were disturbed: close other programs"),
        (one([50e-6] * 5), "overhead-bound: a call takes 50.0 µs; a larger input shows the arithmetic"),
        (one([MS] * 5, faults=12.0), "12 page faults a call although the allocator is pinned: see docs/time.md"),
        (
            one([MS] * 5, faults=16_384.0),
            "16.4 k page faults a call although the allocator is pinned: see docs/time.md",
        ),
        (one([MS] * 5, faults=0.02), "a page fault in 50 calls although the allocator is pinned: see docs/time.md"),
        (one([MS] * 4), "only 4 undisturbed blocks: raise time_budget"),
    ],
)
def test_each_reason_for_doubt_is_a_warning_with_the_next_step(timing: Timing, warning: str) -> None:
    assert timing.warnings == (warning,)


def test_page_faults_are_expected_where_the_allocator_is_not_pinned() -> None:
    assert one([MS] * 5, faults=12.0, pinned=False).warnings == ()


def test_a_probe_that_drifts_is_a_warning() -> None:
    probes = {number: MS * (1 if number < 3 else 1.2) for number in range(6)}
    timing = summarise({"x": Series(1.0, samples([MS] * 6))}, probes, None, pinned=True)["x"]
    assert timing.probe_drift == pytest.approx(0.2)
    assert timing.warnings == ("the machine became 20.0 % slower meanwhile: run it again",)


def test_a_wide_interval_is_a_warning() -> None:
    base = Series(1.0, samples([MS, 5 * MS, MS, 5 * MS, MS, 5 * MS, MS, 5 * MS]))
    fast = Series(1.0, samples([MS] * 8))
    timing = summarise({"a": base, "b": fast}, dict.fromkeys(range(8), MS), "a", pinned=True)["b"]
    assert any(text.startswith("the speed-up's interval is ") for text in timing.warnings)
    assert timing.speedup == median([1, 5] * 4)


def pair(base: list[float], fast: list[float], probes: list[float] | None = None, **options: Any) -> Timing:
    series = {"a": Series(1.0, samples(base, **options)), "b": Series(1.0, samples(fast, **options))}
    return summarise(series, dict(enumerate(probes or [MS] * len(base))), "a", pinned=True)["b"]


@pytest.mark.parametrize(
    ("timing", "verdict"),
    [
        (pair([4 * MS] * 8, [MS] * 8), "faster"),
        (pair([MS] * 8, [4 * MS] * 8), "slower"),
        (pair([MS] * 8, [MS] * 8), "same"),
        (one([MS] * 8), "undecided"),
    ],
)
def test_the_verdict_follows_the_interval(timing: Timing, verdict: str) -> None:
    assert timing.verdict == verdict
    assert timing.doubts == ()


def test_the_baseline_is_the_same_as_itself() -> None:
    series = {"a": Series(1.0, samples([MS] * 5))}
    assert summarise(series, dict.fromkeys(range(5), MS), "a", pinned=True)["a"].verdict == "same"


@pytest.mark.parametrize(
    ("timing", "doubt"),
    [
        (pair([4 * MS] * 4, [MS] * 4), "only 4 undisturbed blocks: raise time_budget"),
        (pair([4 * MS] * 8, [MS] * 8, clean=False), "no undisturbed blocks: close other programs"),
        (
            pair([4 * MS] * 6, [MS] * 6, [MS] * 3 + [1.2 * MS] * 3),
            "the machine became 20.0 % slower meanwhile: run it again",
        ),
        (
            pair([4 * MS] * 6, [MS] * 6, [MS] * 3 + [10.2 * MS] * 3),
            "the machine became 10.2x slower meanwhile: run it again",
        ),
        (
            pair([4 * MS] * 6, [MS] * 6, [10 * MS] * 3 + [MS] * 3),
            "the machine became 10.0x faster meanwhile: run it again",
        ),
        (pair([MS, 40 * MS] * 4, [MS] * 8), "the speed-up's interval is 0.98x to 40.0x: raise time_budget"),
    ],
)
def test_data_that_allow_no_sentence_leave_the_verdict_undecided(timing: Timing, doubt: str) -> None:
    assert timing.verdict == "undecided"
    assert timing.doubts[0] == doubt
    assert set(timing.doubts) <= set(timing.warnings)


@pytest.mark.parametrize(("rounds", "has_interval"), [(1, False), (2, True)])
def test_one_round_has_a_speedup_without_an_interval(rounds: int, *, has_interval: bool) -> None:
    timing = pair([4 * MS] * rounds, [MS] * rounds)
    assert (timing.speedup, timing.verdict) == (4.0, "undecided")
    assert (timing.speedup_low is not None, timing.speedup_high is not None) == (has_interval, has_interval)
    reason = "one round with the baseline, so the speed-up has no interval: raise time_budget"
    assert (reason in timing.doubts) != has_interval


def test_rounds_in_which_only_one_of_both_is_undisturbed_do_not_count() -> None:
    half = [Sample(n, MS, 10, clean=n % 2 == 0, faults=0.0) for n in range(10)]
    other = [Sample(n, 4 * MS, 10, clean=n % 2 == 1, faults=0.0) for n in range(10)]
    series = {"a": Series(1.0, tuple(other)), "b": Series(1.0, tuple(half))}
    timing = summarise(series, dict.fromkeys(range(10), MS), "a", pinned=True)["b"]
    assert timing.verdict == "undecided"
    assert timing.doubts == ("no undisturbed rounds with the baseline: raise time_budget",)


def test_a_baseline_without_a_timing_leaves_the_verdict_undecided() -> None:
    timing = summarise({"b": Series(1.0, samples([MS] * 6))}, dict.fromkeys(range(6), MS), "a", pinned=True)["b"]
    assert (timing.verdict, timing.doubts) == (
        "undecided",
        ("the baseline was not timed: raise time_budget, or choose another baseline",),
    )


@pytest.mark.parametrize(("alone", "verdict"), [(None, "faster"), (1.05 * MS, "faster"), (0.5 * MS, "undecided")])
def test_threads_that_make_a_call_slower_than_one_thread_decide_nothing(alone: float | None, verdict: str) -> None:
    base = Series(1.0, samples([4 * MS] * 6))
    fast = Series(1.0, samples([MS] * 6), threads=4, one_thread_s=alone)
    timing = summarise({"a": base, "b": fast}, dict.fromkeys(range(6), MS), "a", pinned=True)["b"]
    assert timing.verdict == verdict
    slower = "4 threads take 1.00 ms or more, one 500 µs: take fewer threads"
    assert timing.doubts == ((slower,) if verdict == "undecided" else ())


def test_a_baseline_that_is_slower_than_with_one_thread_decides_nothing_either() -> None:
    base = Series(1.0, samples([4 * MS] * 6), threads=2, one_thread_s=MS)
    fast = Series(1.0, samples([MS] * 6), threads=2, one_thread_s=MS)
    timing = summarise({"a": base, "b": fast}, dict.fromkeys(range(6), MS), "a", pinned=True)["b"]
    slower = "the baseline: 2 threads take 4.00 ms or more, one 1.00 ms: take fewer threads"
    assert (timing.verdict, timing.doubts) == ("undecided", (slower,))


def test_too_few_rounds_at_the_usual_speed_decide_nothing() -> None:
    """The probe is slow in six of ten rounds, in turn, so that it does not drift."""
    probes = [MS, 1.5 * MS, 1.5 * MS, MS, 1.5 * MS, MS, 1.5 * MS, MS, 1.5 * MS, 1.5 * MS]
    timing = pair([4 * MS] * 10, [MS] * 10, probes)
    assert timing.doubts == ("only 4 undisturbed rounds with the baseline: raise time_budget",)
    assert timing.verdict == "undecided"
    assert pair([4 * MS] * 11, [MS] * 11, [MS, 1.5 * MS] * 5 + [MS]).verdict == "faster"


@pytest.mark.parametrize(("slow", "medians", "verdict"), [(1.5, "1.3x", "faster"), (20, "0.10x", "undecided")])
def test_medians_that_contradict_the_rounds_are_a_warning_and_a_doubt_if_they_turn_the_verdict(
    slow: float, medians: str, verdict: str
) -> None:
    """In the five quiet rounds b takes half of a's time; in the six others it is slower than that."""
    timing = pair([2 * MS] * 11, [MS] * 5 + [slow * MS] * 6, [MS] * 5 + [1.09 * MS] * 6)
    text = f"the medians give {medians}, the rounds 2.0x, as the machine changed its speed: run it again"
    assert timing.warnings == (text,)
    assert timing.verdict == verdict

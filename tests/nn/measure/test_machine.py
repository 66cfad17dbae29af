"""A calibration: what counts on a simulated clock, and a short real one. No figure is asserted but by its order."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from fork_server import fast_python
from made_machine import machine as made_machine

from convcost.nn.measure import machine as home
from convcost.nn.measure import noise as noise_home
from convcost.nn.measure.clock import Reading
from convcost.nn.measure.device import resolve_threads
from convcost.nn.measure.this_machine import cache_sizes, identity
from convcost.text.errors import ConvcostError
from convcost.timing.machine import Level, Machine, Peak
from convcost.timing.machine_file import machine_text, parse_machine

CPU = torch.device("cpu")


@dataclass
class Clock:
    """Time passes by calls alone."""

    now: float = 0.0
    calls: list[float] = field(default_factory=list)

    def read(self) -> Reading:
        return Reading(self.now, None, None, None)


def lasting(clock: Clock, *seconds: float) -> home.Fastest:
    """The fastest of a call that lasts these seconds one after the other, then the last again and again."""
    left = list(seconds)

    def call() -> None:
        clock.now += left.pop(0) if len(left) > 1 else left[0]
        clock.calls.append(clock.now)

    return home.fastest(call, clock, 1.0)


def test_the_fastest_sample_counts_and_the_fifth_is_its_spread() -> None:
    clock = Clock()
    found = lasting(clock, 9.0, 0.01, 0.014, 0.010, 0.011, 0.012, 0.013, 0.02)
    assert found.seconds == pytest.approx(0.010)
    assert found.spread == pytest.approx(0.4)  # 0.014 of the five fastest, against 0.010


def test_short_calls_are_timed_many_at_a_time_and_long_ones_once() -> None:
    clock = Clock()
    lasting(clock, 1e-6)
    assert len(clock.calls) == pytest.approx(1e6, rel=0.01)
    slow = Clock()
    assert lasting(slow, 5.0, 6.0, 4.5) == home.Fastest(4.5, 6.0 / 4.5 - 1)  # the first is no sample
    assert len(slow.calls) == 3


def test_a_call_that_others_slow_down_at_first_is_tried_again() -> None:
    assert lasting(Clock(), 3.0, 0.9, 0.9, 0.001).seconds == pytest.approx(0.001)


def test_figures_that_vary_are_named() -> None:
    peaks = (Peak("float32", 1, 1e9, 1e9, 0.3, "measured"), Peak("float16", 1, 1e9, 1e9, 0.2, "measured"))
    here = replace(made_machine(identity(CPU)), peaks=peaks, levels=(Level("L1", 2, None, 1e9, 40.0, "measured"),))
    assert home._uncertain(here) == ("the fastest samples differ by over 25%: float32 of 1 thread, L1 of 2 threads.",)


def test_more_threads_reach_at_least_what_one_does() -> None:
    def peak(dtype: str, threads: int, speed: float) -> Peak:
        return Peak(dtype, threads, speed / 2, speed, 0.01 * threads, "measured")

    peaks = [peak("float32", 1, 8e9), peak("bfloat16", 1, 9e9), peak("float32", 2, 1e6), peak("bfloat16", 2, 10e9)]
    assert list(home.with_more_threads(peaks)) == [
        *peaks[:2], Peak("float32", 2, 4e9, 8e9, 8e9 / 1e6 - 1, "as 1 thread, which is no slower"), peaks[3],
    ]  # fmt: skip


def test_a_level_is_no_slower_than_those_behind_it_and_says_so() -> None:
    def level(name: str, threads: int, speed: float) -> Level:
        return Level(name, threads, None, speed, 0.01 * speed, "measured")

    levels = [level("L1", 1, 5.0), level("L2", 1, 7.0), level("memory", 1, 3.0), level("L1", 2, 1.0)]
    assert [(one.name, one.byte_per_s) for one in home.monotone(levels)] == [
        ("L1", 7.0), ("L2", 7.0), ("memory", 3.0), ("L1", 7.0),
    ]  # fmt: skip
    assert next(home.monotone(levels)).how == "as L2 of 1 thread, which is no slower"
    assert [one.spread for one in home.monotone(levels)] == [pytest.approx(7 / 5 - 1), 0.07, 0.03, 6.0]


def short_calibration(seconds: float = 0.5) -> tuple[Machine, tuple[str, ...], list[float]]:
    shares: list[float] = []
    machine, doubts = home.calibrate("cpu", seconds, lambda _, share: shares.append(share))
    return machine, doubts, shares


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.usefixtures("small_calibration")
def test_a_short_calibration_of_this_machine_is_a_whole_machine_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "other_load", lambda _: 0.0)
    machine, doubts, shares = short_calibration()
    assert not any("other programs" in doubt for doubt in doubts)
    assert machine.identity == identity(CPU)
    assert machine.noise is None  # there is no time for it
    counts = dict.fromkeys((1, resolve_threads("all")))
    for threads in counts:
        peak = machine.peak("float32", threads)
        assert peak is not None
        assert peak.flop_per_s >= peak.gemm_flop_per_s > 1e8
        levels = machine.hierarchy(threads)
        assert [level.name for level in levels] == [*(name for name, _ in cache_sizes(CPU, threads)), "memory"]
        assert [level.capacity_bytes for level in levels] == [*(s for _, s in cache_sizes(CPU, threads)), None]
    assert 0 < machine.overhead.empty_call_s < machine.overhead.convolution_call_s < 0.1
    again = parse_machine(machine_text(machine).encode(), "m.toml")
    assert machine_text(again) == machine_text(machine)
    figures: tuple[Any, ...] = (*again.peaks, *again.levels, again.overhead)
    assert all(one.how for one in figures)
    assert len(shares) > 15
    assert shares[-1] == 1.0
    assert torch.get_num_threads() > 0


def test_a_peak_below_that_of_fewer_threads_is_measured_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([8e9, 1e6, 15e9])

    def run(*_: object) -> Peak:
        threads = 1 if not measured else 2
        measured.append(threads)
        return Peak("float32", threads, 1e6, next(rates), 0.0, "measured")

    measured: list[int] = []
    steps = [home._Step("peak", 1, 1, run), home._Step("peak", 1, 1, run), home._Step("call", 1, 1, home._overhead)]
    monkeypatch.setattr(home, "_steps", lambda *_: iter(steps))
    machine, _, _ = short_calibration(0.1)
    assert [(one.threads, one.flop_per_s) for one in machine.peaks] == [(1, 8e9), (2, 15e9)]


def test_a_calibration_keeps_to_its_seconds_and_names_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten seconds the first step takes eight, the second three: the third is left out, the fourth is needed."""
    now, shares = [0.0], {}
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def step(name: str, seconds: float, *, needed: bool) -> home._Step:
        def run(_: torch.device, __: object, each_s: float) -> None:
            shares[name] = each_s
            now[0] += seconds

        return home._Step(name, 1, 1, run, needed=needed)

    steps = [
        step("a", 8.0, needed=True),
        *(step(name, 3.0, needed=False) for name in "bc"),
        step("d", 1.0, needed=True),
    ]
    assert home._measure(steps, CPU, (0.0, 10.0, 10.0), lambda *_: None) == ([], ["c"])
    assert shares == {"a": 10.0 / 4, "b": pytest.approx(2.0 / 3), "d": home.MIN_EACH_S}


def test_a_fresh_process_that_would_outlast_the_calibration_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def fresh(limit_s: float) -> float | None:
        limits.append(limit_s)
        now[0] += min(limit_s, 9.0)
        return 4.0 if limit_s >= 9.0 else None

    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr(noise_home, "speedup_of_a_fresh_process", fresh)
    assert noise_home.measure_noise(17.0, lambda _: None) is None
    assert limits == [17.0]
    assert noise_home.measure_noise(40.0, lambda _: None) is not None
    assert now[0] <= 17.0 + 40.0


def test_noise_that_is_no_figure_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    speedups, now = iter([1.0, 9.0] * 2), [0.0]

    def fresh(_: float) -> float:
        now[0] += 4.0
        return next(speedups)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr(noise_home, "speedup_of_a_fresh_process", fresh)
    assert noise_home.measure_noise(18.0, lambda _: None) is None


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "other_load", lambda _: 1.2)
    monkeypatch.setattr(home, "_steps", lambda *_: iter([home._Step("overhead", 1, 1, home._overhead)]))
    _, doubts, _ = short_calibration(0.1)
    assert doubts == (
        "other programs keep processors busy: the figures may be too low; close them and calibrate again.",
    )


def test_the_noise_is_the_deviation_of_fresh_processes_as_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    speedups, now = iter([4.0, 5.0, 4.0, 5.0, 0.0]), [0.0]

    def fresh(_: float) -> float:
        now[0] += 4.0
        return next(speedups)

    monkeypatch.setattr(noise_home, "speedup_of_a_fresh_process", fresh)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    noise = noise_home.measure_noise(18.0, lambda _: None)
    assert noise is not None
    assert noise.processes == 4
    assert noise.run_to_run == pytest.approx((4 * 0.5**2 / 3 * 3 / 0.584) ** 0.5 / 4.5, rel=0.02)
    assert noise_home.measure_noise(2 * noise_home.PROCESS_S, lambda _: None) is None


@pytest.mark.parametrize(("count", "quantile"), [(4, 0.584), (8, 2.833), (11, 4.865), (31, 20.599)])
def test_few_processes_make_the_noise_larger_by_the_chi_squared_distribution(count: int, quantile: float) -> None:
    """Tabulated 10 % quantiles of chi-squared for count - 1 degrees of freedom (Abramowitz, Stegun, table 26.8)."""
    assert noise_home.at_most(1.0, count) == pytest.approx(((count - 1) / quantile) ** 0.5, rel=0.02)


@pytest.mark.timing
def test_a_fresh_process_measures_a_speedup_and_one_that_fails_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(noise_home, "TIMING_S", 0.2)
    assert (noise_home.speedup_of_a_fresh_process() or 0.0) > 0
    assert noise_home.speedup_of_a_fresh_process(1e-6) is None
    monkeypatch.setattr(noise_home, "TIMING_S", "nothing")
    monkeypatch.setattr(sys, "executable", fast_python())
    with pytest.raises(
        ConvcostError, match=r"NameError.*; a calibration of 10 seconds does not measure it\.$"
    ) as caught:
        noise_home.speedup_of_a_fresh_process()
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_accelerator_is_calibrated_with_one_hierarchy() -> None:
    machine, _ = home.calibrate("cuda", 5.0, lambda *_: None)
    assert machine.peak("float16", 8) is not None
    assert machine.noise is None
    assert machine.hierarchy(1) == machine.hierarchy(16)

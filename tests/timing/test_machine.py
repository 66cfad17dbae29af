"""The bound, worked out in the head, and what must hold for every bound; when a calibration fits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_machine import IDENTITY, machine

from convcost.timing.bound import Bound, Work, bound_of, memory_seconds
from convcost.timing.machine import impossible_figures, losses, misfits

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.timing.machine import Machine

WORKS = st.lists(
    st.builds(Work, st.integers(0, 10**12), st.integers(0, 10**9), convolution=st.booleans()), min_size=1, max_size=5
)


@pytest.mark.parametrize(
    ("work", "seconds", "roof", "level", "spread"),
    [
        (Work(10**8, 8_000), 1e-3, "compute", None, 0.02),
        (Work(10, 10), 1e-5, "overhead", None, 0.1),
        (Work(10, 510_000), 1e-7 + 5e-5, "memory", "L2", 0.03),
        (Work(10, 2_000_000), 1e-7 + 99e-6 + 1e-3, "memory", "memory", 0.04),
        (Work(0, 8_000, convolution=False), 1e-6, "overhead", None, 0.1),
    ],
)
def test_one_call_takes_its_slowest_roof(work: Work, seconds: float, roof: str, level: str, spread: float) -> None:
    bound = bound_of([work], machine(), "float32", 1)
    assert bound is not None
    assert bound.seconds == pytest.approx(seconds)
    assert (bound.roof, bound.level, bound.spread) == (roof, level, spread)


def test_stages_add_up_and_the_roof_with_most_seconds_is_named() -> None:
    stages = [Work(10**8, 0), Work(0, 10), Work(0, 3_000_000)]
    bound = bound_of(stages, machine(), "float32", 1)
    assert bound is not None
    memory = 1e-7 + 99e-6 + 2e-3
    assert bound.seconds == pytest.approx(1e-3 + 1e-5 + memory)
    assert (bound.roof, bound.level) == ("memory", "memory")


def test_a_figure_that_varies_a_lot_excuses_a_quarter_at_most() -> None:
    shaky = Bound(1e-3, "memory", "memory", 1.3)
    assert not shaky.is_beaten(1.25)
    assert shaky.is_beaten(1.26)


@given(WORKS)
def test_a_bound_is_no_less_than_any_roof_alone_and_no_more_than_all_together(works: list[Work]) -> None:
    here = machine()
    bound = bound_of(works, here, "float32", 1)
    assert bound is not None
    compute = sum(work.flops for work in works) / 1e11
    memory = sum(sum(memory_seconds(work.moved_bytes, here.levels).values()) for work in works)
    calls = sum(1e-5 if work.convolution else 1e-6 for work in works)
    assert bound.seconds >= max(compute, memory, calls) * (1 - 1e-12)
    assert bound.seconds <= (compute + memory + calls) * (1 + 1e-12)
    assert (bound.level is None) == (bound.roof != "memory")


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_more_traffic_takes_no_less_time(one: int, more: int) -> None:
    levels = machine().levels
    assert sum(memory_seconds(one, levels).values()) <= sum(memory_seconds(one + more, levels).values()) + 1e-15


def test_the_levels_hold_all_the_traffic() -> None:
    split = memory_seconds(5_000_000, machine().levels)
    assert split["L1"] * 1e11 + split["L2"] * 1e10 + split["memory"] * 1e9 == pytest.approx(5_000_000)


@pytest.mark.parametrize(("dtype", "threads"), [("float16", 1), ("float32", 2)])
def test_what_was_not_measured_has_no_bound(dtype: str, threads: int) -> None:
    assert bound_of([Work(1, 1)], machine(), dtype, threads) is None


def test_the_figures_of_an_accelerator_hold_for_any_threads() -> None:
    gpu = machine(replace(IDENTITY, device="cuda"))
    assert bound_of([Work(1, 1)], gpu, "float32", 8) == bound_of([Work(1, 1)], gpu, "float32", 1)


def test_a_bound_is_beaten_only_beyond_its_spread() -> None:
    bound = Bound(1.0, "compute", None, 0.02)
    assert not bound.is_beaten(1.01)
    assert bound.is_beaten(1.03)


@pytest.mark.parametrize(("spread", "shown", "doubts"), [(1.0, "50.0 %", 0), (1.01, "50.0 % ?", 1)])
def test_a_bound_of_a_disturbed_figure_is_marked_and_warned_of(spread: float, shown: str, doubts: int) -> None:
    bound = Bound(1.0, "compute", None, spread)
    assert bound.attained_text(0.5) == shown
    assert len(bound.doubts(0.5)) == doubts
    assert all(line.endswith(": calibrate again") for line in bound.doubts(0.5))


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("name", "another", "machine made up there, another here"),
        ("device", "cuda", "device cpu there, cuda here"),
        ("cores", 8, "cores 2 there, 8 here"),
        ("isa", "AVX512", "instructions AVX2 there, AVX512 here"),
        ("torch_version", "2.14.0", "torch 2.13.0 there, 2.14.0 here"),
        ("onednn_version", "", "oneDNN 3.12.0 there, unknown here"),
    ],
)
def test_a_stale_calibration_says_what_differs(field: str, value: object, word: str) -> None:
    other: dict[str, Any] = {field: value}
    assert misfits(machine(), replace(IDENTITY, **other), "float32", 1) == [word]


def test_a_calibration_that_fits_has_nothing_to_say_and_one_without_the_threads_or_the_dtype_does() -> None:
    here = machine()
    assert misfits(here, IDENTITY, "float32", 1) == []
    assert misfits(here, IDENTITY, "float32", 2) == ["not measured with 2 threads"]
    assert misfits(here, IDENTITY, "bfloat16", 1) == ["not measured with bfloat16"]


def slower(part: Any, factor: float) -> Any:
    """A peak or a level with its rates divided by a factor."""
    rates = {
        name: getattr(part, name) / factor
        for name in ("gemm_flop_per_s", "flop_per_s", "byte_per_s")
        if hasattr(part, name)
    }
    return replace(part, **rates)


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (lambda one: one, []),
        (lambda one: replace(one, noise=None), ["without the noise between processes"]),
        (lambda one: replace(one, peaks=one.peaks[:1]), ["without bfloat16 of 1 thread"]),
        (lambda one: replace(one, peaks=tuple(slower(peak, 1.05) for peak in one.peaks)), []),
        (
            lambda one: replace(one, peaks=tuple(slower(peak, 2) for peak in one.peaks)),
            ["slower in float32 of 1 thread, bfloat16 of 1 thread"],
        ),
        (lambda one: replace(one, levels=(slower(one.levels[0], 9), *one.levels[1:])), ["slower in L1 of 1 thread"]),
        (lambda one: replace(one, overhead=replace(one.overhead, convolution_call_s=1e-3)), ["slower in a call"]),
        (
            lambda one: replace(one, noise=None, levels=(slower(one.levels[0], 9), *one.levels[1:])),
            ["without the noise between processes", "slower in L1 of 1 thread"],
        ),
    ],
)
def test_a_calibration_is_worse_by_what_it_lacks_or_measured_slower(
    change: Callable[[Machine], Machine], lost: list[str]
) -> None:
    old = machine(dtypes=("float32", "bfloat16"))
    assert losses(change(old), old) == lost
    assert losses(old, change(old)) == []


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda one: one, []),
        (
            lambda one: replace(one, overhead=replace(one.overhead, empty_call_s=1e-3)),
            ["an empty call takes 1.00 ms, a convolution 10.0 µs"],
        ),
        (
            lambda one: replace(one, peaks=tuple(slower(peak, 1e-3) for peak in one.peaks)),
            ["float32 reaches 100 TFLOP/s with 1 thread"],
        ),
        (
            lambda one: replace(one, levels=(slower(one.levels[0], 1e-3), *one.levels[1:])),
            ["L1 moves 100 TB/s with 1 thread"],
        ),
        (
            lambda one: replace(
                one,
                identity=replace(one.identity, device="cuda"),
                peaks=tuple(slower(peak, 1e-3) for peak in one.peaks),
            ),
            [],
        ),
    ],
)
def test_figures_that_no_machine_has_are_named(change: Callable[[Machine], Machine], wrong: list[str]) -> None:
    assert impossible_figures(change(machine())) == wrong


def test_a_spread_beyond_100_percent_is_no_figure() -> None:
    disturbed = replace(machine(), levels=(replace(machine().levels[0], spread=1027.07),))
    assert "L1 (10.0 kB), 1 thread: 100 GB/s (spread over 100 %: other programs disturbed it)" in disturbed.lines

"""What is said of a speed-up: "faster" only when the interval excludes 1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from made_results import comparison

import convcost
from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.comparison.result import verdict
from convcost.timing.account import Account, Part
from convcost.timing.bound import Bound
from convcost.timing.conditions import Conditions
from convcost.timing.hints import Hint
from convcost.timing.statistics import Timing

if TYPE_CHECKING:
    from convcost.comparison.rows import Row

CONDITIONS = Conditions("cpu", "float32", 1, "contiguous", False, "pinned", "2", "a CPU")


def row(speedup: float, low: float, high: float, block: str = "depthwise-separable", seconds: float = 1e-3) -> Row:
    predicted = convcost.compare(3, 64, 3, blocks=[block], count=False, time=False).rows[0]
    timing = Timing(seconds, seconds, seconds, seconds, seconds, 10, 0.0, 0.0, speedup, low, high, 0.0)
    return replace(predicted, conditions=CONDITIONS, timing=timing)


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((4.5, 4.4, 4.7), "7.9x fewer MACs, 4.5x faster (4.4–4.7) on this CPU, 1 thread."),
        ((0.9, 0.85, 0.95), "7.9x fewer MACs, 0.90x the speed (0.85–0.95) on this CPU, 1 thread."),
        ((1.05, 0.98, 1.12), "no difference in speed beyond the noise (1.05x, 0.98–1.12) on this CPU"),
    ],
)
def test_the_verdict_follows_the_interval(figures: tuple[float, float, float], text: str) -> None:
    assert text in (verdict(row(*figures)) or "")


def test_faster_is_never_said_of_an_interval_that_contains_1() -> None:
    for low, high in ((0.9, 1.1), (1.0, 1.2), (0.5, 1.0), (0.2, 0.9)):
        assert "faster" not in (verdict(row(1.0, low, high)) or "")


def test_a_speedup_that_falls_short_gets_the_traffic_as_its_reason() -> None:
    assert "It moves 1.09x the baseline's memory traffic, at 1.5 FLOP/byte." in (verdict(row(0.9, 0.85, 0.95)) or "")
    assert "memory traffic" not in (verdict(row(7.5, 7.2, 7.8)) or "")


def test_a_call_below_100_microseconds_is_called_overhead() -> None:
    assert "Below 100 µs a call is mostly overhead" in (verdict(row(2.0, 1.9, 2.1, seconds=50e-6)) or "")


def test_the_baseline_has_no_verdict() -> None:
    assert verdict(row(1.0, 1.0, 1.0, block="standard")) is None


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (
            Bound(5e-4, "compute", None, 0.02),
            "Its bound on this machine is 500 µs (compute); it attains 50.0 % of that",
        ),
        (
            Bound(8e-4, "memory", "L3", 0.02),
            "Its bound on this machine is 800 µs (traffic with L3); it attains 80.0 % of that",
        ),
        (
            Bound(1e-5, "overhead", None, 0.02),
            "Its bound on this machine is 10.0 µs (overhead); it attains 1.0 % of that",
        ),
    ],
)
def test_the_bound_is_said_with_its_roof_and_its_share_of_the_baseline_too(bound: Bound, text: str) -> None:
    assert text in (verdict(replace(row(4.5, 4.4, 4.7), bound=bound)) or "")
    baseline = verdict(replace(row(1.0, 1.0, 1.0, block="standard"), bound=bound)) or ""
    assert baseline.startswith("standard: Its bound on this machine is ")
    assert text in baseline


def test_a_baseline_with_a_bound_of_a_disturbed_calibration_has_no_empty_line() -> None:
    assert verdict(replace(row(1.0, 1.0, 1.0, block="standard"), bound=Bound(1e-3, "compute", None, 1.5))) is None


COPY = Hint("with 3 input channels it writes more than it computes", True, copy_s=6e-4)
WRONG = Account((Part("overhead", 1e-4), Part("unexplained", 9e-4)))
NATIVE = Account((Part("native", 9e-4, "aten::_slow_conv2d_forward"), Part("unexplained", 1e-4)))


@pytest.mark.parametrize(
    ("known", "seconds", "text"),
    [
        ({}, 1e-4, "it attains 10.0 % of that."),
        ({}, 4e-5, "Too far to be explained by its work: an account of the time (why) shows what stands between."),
        ({"account": NATIVE}, 4e-5, "Between them stands native aten::_slow_conv2d_forward: 90.0 % of the time."),
        ({"account": WRONG}, 4e-5, "What stands between is not known, since the account does not add up."),
        ({"account": NATIVE}, 1e-4, "it attains 10.0 % of that."),
        (
            {"account": NATIVE, "hint": COPY},
            2e-4,
            "A plain copy of the output takes 600 µs, 3.0x the bound, "
            "which counts its traffic at the speed of the caches.",
        ),
        ({"account": NATIVE, "hint": COPY}, 4e-4, "it attains 40.0 % of that."),
    ],
)
def test_a_bound_that_nothing_comes_near_names_what_stands_between(
    known: dict[str, Any], seconds: float, text: str
) -> None:
    bound = Bound(seconds, "memory", "L3", 0.02)
    assert (verdict(replace(row(4.5, 4.4, 4.7), bound=bound, **known)) or "").endswith(text)


def test_a_row_that_beats_its_bound_beyond_the_spread_is_warned_of() -> None:
    beaten = replace(row(4.5, 4.4, 4.7), bound=Bound(1.1e-3, "compute", None, 0.02))
    assert "calibrate again" in (beaten.warning or "")
    said = verdict(beaten) or ""
    assert said.endswith("It is faster than its bound of 1.10 ms: the calibration is stale; calibrate again.")
    attained = next(column for column in COMPARE_COLUMNS if column.name == "attained")
    assert attained.text(beaten) == "beaten"
    assert attained.text(replace(beaten, bound=Bound(5e-4, "compute", None, 0.02))) == "50.0 %"
    assert replace(beaten, bound=Bound(1.01e-3, "compute", None, 0.02)).warning is None


def test_without_a_timing_the_formula_alone_is_said() -> None:
    predicted = convcost.compare(8, 8, 3, blocks=["fused-inverted-residual"], count=False, time=False).rows[0]
    assert verdict(predicted) == "fused-inverted-residual: 6.7x as many MACs, against standard."


@pytest.mark.parametrize("field", [column.name for column in COMPARE_COLUMNS])
def test_rows_can_be_sorted_by_every_field(field: str) -> None:
    made = comparison()
    values = next(column for column in COMPARE_COLUMNS if column.name == field).value
    for rows in (made.rows, made.rows[::-1], (made.rows[0], made.rows[0])):
        ordered = replace(made, rows=rows).sorted_by(field).rows
        assert [values(row) is None for row in ordered] == sorted(values(row) is None for row in rows)


def test_sizes_are_sorted_as_numbers() -> None:
    compared = convcost.compare(16, 16, (11, 3), blocks=["standard", "pointwise"], count=False, time=False)
    assert [row.placed.kernel_size for row in compared.sorted_by("kernel_size").rows] == [(1, 1), (11, 3)]

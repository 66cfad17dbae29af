"""A model's rows for people: what is added up, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convcost.models.call import Call
from convcost.models.report import ModelReport, Totals, Uncounted
from convcost.timing.bound import Bound


def call(name: str, macs: int, time_s: float | None) -> Call:
    bound = None if time_s is None else Bound(time_s / 2, "compute", None, 0.0)
    return Call(name, "Conv2d", (1, 3, 8, 8), (1, 4, 8, 8), 10, macs, 100, 0.25, time_s=time_s, bound=bound)


ROWS = (call("a.x", 1, 1e-3), call("a.y", 2, None), call("a.z", 4, 4e-3), call("b", 3, 2e-3), call("c", 5, None))
REPORT = ModelReport("m", (), {}, Totals(50, 50, 15, 0, 0, 0), ROWS, {})


def test_rows_below_a_depth_are_added_up_with_their_times() -> None:
    rows = REPORT.arranged(depth=1, sort=None, top=None).rows
    assert [(row.name, row.macs, row.params, row.traffic_bytes) for row in rows] == [
        ("a", 1 + 2 + 4, 30, 300), ("b", 3, 10, 100), ("c", 5, 10, 100),
    ]  # fmt: skip
    assert [row.time_s for row in rows] == [pytest.approx(5e-3), 2e-3, None]


def test_a_sum_of_rows_has_no_bound_but_a_row_alone_keeps_its_own() -> None:
    rows = REPORT.arranged(depth=1, sort=None, top=None).rows
    assert [row.bound is None for row in rows] == [True, False, True]


def test_the_slowest_come_first_and_those_without_a_time_last() -> None:
    assert [row.name for row in REPORT.arranged(depth=None, sort="time", top=3).rows] == ["a.z", "b", "a.x"]


def test_a_sum_of_rows_with_an_uncounted_operation_is_at_least() -> None:
    layers = (ROWS[0], replace(ROWS[1], uncounted=1), *ROWS[2:])
    (first, *others) = replace(REPORT, layers=layers).arranged(depth=1).rows
    assert (first.uncounted, [row.uncounted for row in others]) == (1, [0, 0])


def test_an_incomplete_total_is_at_least_in_latex_too() -> None:
    totals = Totals(1, 1, 2000, 4, 0, 0)
    part = Call("a", "fft", (1,), (1,), 1, 2000, 8, 1.0, uncounted=1)
    report = ModelReport("m", ("1",), {}, totals, (part,), {"linear": 2000}, (Uncounted("aten.fft", 1, ("a",)),))
    (total,) = (line for line in report.to_latex().splitlines() if line.startswith("total"))
    assert r"{$\geq$\,2.00}" in total
    assert "at least 2.00 k MACs" in report.caption
    complete = replace(report, layers=(replace(part, uncounted=0),), uncounted=())
    assert "geq" not in complete.to_latex()

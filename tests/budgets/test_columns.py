"""The table of a check, as people see it, and what its rows carry."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from locks import conv, entry

from convcost.budgets.columns import CHECK_COLUMNS
from convcost.budgets.limits import Budget, Limit
from convcost.budgets.result import BudgetResult, CheckResult
from convcost.budgets.verdict import Reading, judge
from convcost.text.columns import choose_columns
from convcost.text.table import plain_table
from convcost.timing.conditions import Conditions

HERE = Conditions("cuda:1", "float32", 4, "contiguous", False, "default", "2.13.0+cu128", "EPYC")


def budget(limit: Limit, found: Reading, **more: Any) -> BudgetResult:
    named = Budget("net", "m.py:net", Path(), limits=(limit,), message="ask first")
    return BudgetResult(named, (judge(limit, found),), entry(conv("stem", "3>8")), **more)


def result(limit: Limit, found: Reading, **more: Any) -> CheckResult:
    return CheckResult("convcost.toml", (budget(limit, found, **more),))


def table(checked: CheckResult, width: int | None = 80, columns: str | None = None) -> list[str]:
    return plain_table(choose_columns(CHECK_COLUMNS, columns), checked.rows, width).splitlines()


TIME = Reading(0.050112523886, 0.0498, 0.0504, machine="GPU")


@pytest.mark.parametrize(
    ("limit", "found", "cell"),
    [
        (Limit("macs", grow=0.01), Reading(9, why="convcost.lock has no entry of it; write one with --update"), "skipped"),
        (Limit("latency", max=Decimal(1), machine="M1"), TIME, "skipped (other machine)"),
        (Limit("latency", max=Decimal("0.05")), TIME, "inconclusive"),
        (Limit("macs", max=Decimal(10)), Reading(9, uncounted=3), "pass (≥, 3 operations uncounted)"),
        (Limit("macs", max=Decimal(8)), Reading(9), "fail"),
    ],
)  # fmt: skip
def test_the_verdicts_cell_is_a_few_words_for_the_reason_stands_below(limit: Limit, found: Reading, cell: str) -> None:
    (row,) = result(limit, found).rows
    assert row.verdict_text == cell


def test_baseline_and_growth_are_shown_where_there_is_room() -> None:
    limit = Limit("macs", max=Decimal(100_000_000), grow=0.01)
    lines = table(result(limit, Reading(64_000_000, baseline=1_000_000)))
    assert lines[0].split() == ["budget", "metric", "actual", "max", "baseline", "growth", "grow", "verdict"]
    assert "+6300 %   1 %" in lines[2]
    narrow = table(result(limit, Reading(64_000_000, baseline=1_000_000)), 60)
    assert narrow[0].split() == ["budget", "metric", "actual", "max", "baseline", "growth", "verdict"]
    assert all(len(line) <= 80 for line in lines)
    assert all(len(line) <= 60 for line in narrow)


def test_long_names_leave_room_for_baseline_and_growth_at_80_columns() -> None:
    limit = Limit("peak_activation_bytes", max=Decimal(10**9), min=Decimal(1), grow=0.01)
    judged = judge(limit, Reading(754_000, baseline=700_000))
    named = Budget("segmentation_net", "m.py:net", Path(), limits=(limit,))
    checked = CheckResult("convcost.toml", (BudgetResult(named, (judged,)),))
    lines = table(checked)
    assert lines[0].split() == ["budget", "metric", "actual", "baseline", "growth", "verdict"]
    assert lines[2].split()[2:] == ["754", "kB", "700", "kB", "+7.71", "%", "fail"]
    assert all(len(line) <= 80 for line in lines)


def test_columns_that_are_asked_for_are_as_people_read_them() -> None:
    limit = Limit("latency", max=Decimal("0.06"), grow=0.1, floor=Decimal("0.001"))
    lines = table(result(limit, TIME), None, "low,high,grow,floor")
    assert lines == ["low         high  grow    floor", "49.8 ms  50.4 ms  10 %  1.00 ms"]


def test_a_time_carries_its_conditions_and_a_count_needs_none() -> None:
    limit = Limit("latency", max=Decimal("0.06"))
    timed = result(limit, TIME, timed=HERE).to_dict()
    assert timed["conditions"] == {"torch_version": "2.13.0", "counter": 1, "machine": "GPU"}
    names = ("device", "threads", "machine", "torch_version")
    (metric,) = timed["budgets"][0]["metrics"]
    assert {name: metric[name] for name in names} == {
        "device": "cuda:1",
        "threads": 4,
        "machine": "GPU",
        "torch_version": "2.13.0+cu128",
    }
    counted = result(Limit("macs", max=Decimal(10)), Reading(9), timed=HERE).to_dict()
    (metric,) = counted["budgets"][0]["metrics"]
    assert [metric[name] for name in names] == [None] * 4
    assert counted["conditions"]["machine"] is None


def test_the_message_is_in_the_json_once_and_in_every_row_elsewhere() -> None:
    checked = result(Limit("macs", max=Decimal(10)), Reading(9))
    (one,) = checked.to_dict()["budgets"]
    assert one["message"] == "ask first"
    assert "message" not in one["metrics"][0]
    assert list(checked.to_frame()["message"]) == ["ask first"]

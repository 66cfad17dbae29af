"""Verdicts: each rule on either side of its limit, and what a lower bound or a noisy time leaves open."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from convcost.budget import METRICS, Found, Judgement, Limit, judge, limits_from, told_apart
from convcost.errors import ConvcostError


def verdict(limit: dict[str, Any], found: dict[str, Any], *, metric: str = "macs", strict: bool = False) -> Judgement:
    given = {key: Decimal(str(value)) if key in {"max", "min", "floor"} else value for key, value in limit.items()}
    return judge(Limit(metric, **given), Found(**found), strict=strict)


@pytest.mark.parametrize(
    ("limit", "found", "said"),
    [
        ({"max": 100}, {"actual": 100}, "pass"),
        ({"max": 100}, {"actual": 101}, "fail"),
        ({"max": 100, "level": "warn"}, {"actual": 101}, "warn"),
        ({"min": 100}, {"actual": 100}, "pass"),
        ({"min": 100}, {"actual": 99}, "fail"),
        ({"max": 100, "min": 50}, {"actual": 49}, "fail"),
        ({"grow": 0.01}, {"actual": 101, "baseline": 100}, "pass"),
        ({"grow": 0.01}, {"actual": 102, "baseline": 100}, "fail"),
        ({"grow": 0.01, "floor": 2}, {"actual": 102, "baseline": 100}, "pass"),  # 2 % > 1 %, but 2 is not more than 2
        ({"grow": 0.01, "floor": 2}, {"actual": 103, "baseline": 100}, "fail"),  # both are passed
        ({"grow": 0.05, "floor": 2}, {"actual": 103, "baseline": 100}, "pass"),  # only the floor is passed
        ({"grow": 0.0}, {"actual": 101, "baseline": 100}, "fail"),
        ({"grow": 0.0}, {"actual": 100, "baseline": 100}, "pass"),
        ({"grow": 0.0}, {"actual": 90, "baseline": 100}, "pass"),
        ({"grow": 0.0}, {"actual": 1, "baseline": 0}, "fail"),
        ({"grow": 0.01}, {"actual": 150, "baseline": None, "why": "no entry"}, "skipped"),
        ({"grow": 0.01, "max": 200}, {"actual": 150, "baseline": None, "why": "no entry"}, "pass"),
        ({"grow": 0.01}, {"actual": 150, "baseline": 100, "recounted": 50}, "pass"),  # the counter, not the model
        ({"grow": 0.01}, {"actual": 152, "baseline": 100, "recounted": 50}, "fail"),
        ({"max": 100}, {"actual": None, "why": "it broke"}, "skipped"),
    ],
)
def test_a_count_is_judged(limit: dict[str, Any], found: dict[str, Any], said: str) -> None:
    assert verdict(limit, found).verdict == said


@pytest.mark.parametrize(
    ("limit", "actual", "plain", "strict"),
    [
        ({"max": 100}, 90, "pass", "inconclusive"),
        ({"max": 100}, 110, "fail", "fail"),
        ({"min": 100}, 110, "pass", "pass"),
        ({"min": 100}, 90, "inconclusive", "inconclusive"),
        ({"grow": 0.5}, 90, "pass", "inconclusive"),
    ],
)
def test_a_lower_bound_may_fail_but_does_not_pass_silently(
    limit: dict[str, Any], actual: int, plain: str, strict: str
) -> None:
    found = {"actual": actual, "uncounted": 3, "baseline": 80}
    judged = verdict(limit, found)
    assert (judged.verdict, judged.lower_bound) == (plain, True)
    assert verdict(limit, found, strict=True).verdict == strict
    if plain == "pass" and "min" not in limit:
        assert judged.reason == "≥, 3 operations uncounted"


def test_uncounted_arithmetic_leaves_parameters_exact() -> None:
    judged = verdict({"max": 100}, {"actual": 90, "uncounted": 3}, metric="params", strict=True)
    assert (judged.verdict, judged.lower_bound, judged.reason) == ("pass", False, "")


def test_an_improvement_that_the_lock_does_not_know_fails_only_when_strict() -> None:
    found = {"actual": 90, "baseline": 100}
    assert verdict({"grow": 0.01}, found).verdict == "pass"
    assert verdict({"grow": 0.01}, found, strict=True).verdict == "fail"
    assert verdict({"grow": 0.2}, found, strict=True).verdict == "pass"


@pytest.mark.parametrize(
    ("limit", "found", "said"),
    [
        ({"max": 0.06}, {"actual": 0.05, "low": 0.045, "high": 0.055}, "pass"),
        ({"max": 0.06}, {"actual": 0.05, "low": 0.045, "high": 0.065}, "inconclusive"),
        ({"max": 0.06}, {"actual": 0.065, "low": 0.055, "high": 0.07}, "inconclusive"),
        ({"max": 0.06}, {"actual": 0.07, "low": 0.065, "high": 0.075}, "fail"),
        ({"max": 0.06, "machine": "A"}, {"actual": 0.07, "low": 0.065, "high": 0.075, "machine": "A"}, "fail"),
        ({"max": 0.06, "machine": "A"}, {"actual": 0.07, "low": 0.065, "high": 0.075, "machine": "B"}, "skipped"),
        ({"grow": 0.1}, {"actual": 1.0, "baseline": 1.0, "growth": (0.0, -0.05, 0.05)}, "pass"),
        ({"grow": 0.1}, {"actual": 1.1, "baseline": 1.0, "growth": (0.1, 0.05, 0.15)}, "inconclusive"),
        ({"grow": 0.1}, {"actual": 1.3, "baseline": 1.0, "growth": (0.3, 0.25, 0.35)}, "fail"),
        ({"grow": 0.1, "floor": 0.5}, {"actual": 1.3, "baseline": 1.0, "growth": (0.3, 0.25, 0.35)}, "pass"),
        ({"grow": 0.1}, {"actual": 1.3, "why": "a lock holds no times"}, "skipped"),
    ],
)
def test_a_time_fails_only_when_its_interval_excludes_the_limit(
    limit: dict[str, Any], found: dict[str, Any], said: str
) -> None:
    assert verdict(limit, found, metric="latency").verdict == said


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        ({"max": 0.06}, {"actual": 0.05, "low": 0.045, "high": 0.055, "doubt": "too few: wait"}),
        ({"max": 0.06}, {"actual": 0.07, "low": 0.065, "high": 0.075, "doubt": "too few: wait"}),
        (
            {"grow": 0.1},
            {"actual": 1.0, "baseline": 1.0, "growth": (0.0, -0.05, 0.05), "growth_doubt": "too few: wait"},
        ),
        ({"grow": 0.1}, {"actual": 1.3, "baseline": 1.0, "growth": (0.3, 0.25, 0.35), "growth_doubt": "too few: wait"}),
        ({"grow": 0.1}, {"actual": 1.3, "baseline": 1.0, "growth": None, "growth_doubt": "too few: wait"}),
    ],
)
def test_a_time_that_is_not_to_be_trusted_neither_passes_nor_fails(
    limit: dict[str, Any], found: dict[str, Any]
) -> None:
    judged = verdict(limit, found, metric="latency")
    assert (judged.verdict, judged.reason) == ("inconclusive", "too few: wait")


def test_another_machine_is_named() -> None:
    found = {"actual": 0.07, "low": 0.065, "high": 0.075, "machine": "B"}
    reason = verdict({"max": 0.06, "machine": "A"}, found, metric="latency").reason
    assert reason == "other machine: the limit was set for A, this is B"


def test_figures_that_rounding_would_make_equal_are_shown_exactly() -> None:
    assert told_apart(METRICS["macs"], 1_900_000_001, 1_900_000_000) == ("1,900,000,001", "1,900,000,000")
    assert told_apart(METRICS["macs"], 1_900_000_001, 1_000_000_000) == ("1.90 G", "1.00 G")
    assert told_apart(METRICS["weight_bytes"], 5_000_001, 5_000_000) == ("5,000,001 B", "5,000,000 B")
    reason = verdict({"max": 1_900_000_000}, {"actual": 1_900_000_001}).reason
    assert reason == "1,900,000,001 is over max 1,900,000,000 by 1 (0.0000001 %)"


def test_the_limit_that_decided_names_its_own_line() -> None:
    limit = {"max": 100, "grow": 0.0, "source": "c.toml:2", "sources": {"max": "c.toml:3", "grow": "c.toml:4"}}
    assert verdict(limit, {"actual": 101, "baseline": 101}).source == "c.toml:3"
    assert verdict(limit, {"actual": 90, "baseline": 80}).source == "c.toml:4"


def test_limits_without_a_file_name_the_option() -> None:
    assert limits_from({"macs": "580M", "params": None}) == (Limit("macs", max=Decimal(580_000_000)),)
    with pytest.raises(ConvcostError, match=r"^max_macs \(=5 MB\) must be a number of MACs"):
        limits_from({"macs": "5 MB"})
    with pytest.raises(ConvcostError, match="a check must have a limit; give one of max_macs"):
        limits_from({"macs": None})

"""Verdicts: each rule on either side of its limit, and what a lower bound or a noisy time leaves open."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from convcost.budgets.limits import METRICS, Limit, limits_from
from convcost.budgets.verdict import Judgement, Reading, distinct_texts, judge
from convcost.text.errors import ConvcostError


def verdict(limit: dict[str, Any], found: dict[str, Any], *, metric: str = "macs", strict: bool = False) -> Judgement:
    given: dict[str, Any] = {
        key: Decimal(str(value)) if key in {"max", "min", "floor"} else value for key, value in limit.items()
    }
    return judge(Limit(metric, **given), Reading(**found), strict=strict)


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
        (
            {"grow": 0.01},
            {"actual": 150, "baseline": 100, "recounted": 50},
            "inconclusive",
        ),  # the counter, or the model
        ({"grow": 0.01}, {"actual": 101, "baseline": 100, "recounted": 1}, "pass"),  # within the limit, whichever it is
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
    step = "give each a formula with convcost.register"
    if plain == "pass" and "min" not in limit:
        assert judged.reason == f"≥, 3 operations uncounted: {step}"


def test_uncounted_operations_are_named_with_the_next_step() -> None:
    found = {"actual": 90, "uncounted": 5, "operations": ("a.fft", "b.op", "c.op", "d.op", "e.op")}
    step = "give each a formula with convcost.register"
    told = f"5 operations uncounted: a.fft, b.op, c.op, ...; {step}"
    accept = ", or accept a lower bound by leaving strict out"
    assert verdict({"max": 100}, found).reason == f"≥, {told}"
    assert verdict({"max": 100}, found, strict=True).reason == f"≥, {told}{accept}"
    assert verdict({"min": 100}, found).reason == f"≥ 90 is under min 100; {told}"


def test_of_rulings_of_one_severity_the_one_with_a_reason_speaks() -> None:
    judged = verdict({"min": 10, "grow": 0.01}, {"actual": 90, "baseline": 90, "uncounted": 1, "locked": True})
    assert (judged.verdict, judged.reason.partition(":")[0]) == ("pass", "≥, 1 operation uncounted")


def test_both_limits_that_are_broken_are_reported_the_first_with_its_line() -> None:
    limit = {"max": 100, "grow": 0.01, "sources": {"max": "c.toml:3", "grow": "c.toml:4"}}
    judged = verdict(limit, {"actual": 150, "baseline": 100})
    over = "150 is over max 100 by 50 (50 %)"
    assert judged.reason == f"{over}; 150 is 50 % over the baseline of 100; it may grow by 1 %"
    assert judged.source == "c.toml:3"


def test_what_strict_would_fail_only_warns_at_the_level_of_a_warning() -> None:
    limit, found = {"max": 100, "level": "warn"}, {"actual": 90, "uncounted": 1}
    assert verdict(limit, found).verdict == "pass"
    assert verdict(limit, found, strict=True).verdict == "warn"
    doubtful = {"actual": 0.05, "low": 0.045, "high": 0.065}
    assert verdict({"max": 0.06, "level": "warn"}, doubtful, metric="latency").verdict == "inconclusive"
    assert verdict({"max": 0.06, "level": "warn"}, doubtful, metric="latency", strict=True).verdict == "warn"


def test_a_baseline_that_could_not_be_obtained_decides_nothing() -> None:
    lost = {"actual": 150, "baseline": None, "lost": True, "why": "it could not be counted"}
    for limit in ({"grow": 0.01}, {"grow": 0.01, "max": 200}):
        judged = verdict(limit, lost)
        assert (judged.verdict, judged.reason) == ("inconclusive", "it could not be counted")
    assert verdict({"grow": 0.01, "max": 100}, lost).verdict == "fail"


def test_growth_over_a_revision_that_the_lock_holds_is_accepted() -> None:
    grown = "150 is 50 % over the baseline of 100"
    judged = verdict({"grow": 0.01}, {"actual": 150, "baseline": 100, "accepted": 150})
    reason = f"accepted: {grown}, and convcost.lock holds 150 too"
    assert (judged.verdict, judged.reason, judged.notes) == ("pass", reason, (f"macs {reason}",))
    assert verdict({"grow": 0.01, "max": 140}, {"actual": 150, "baseline": 100, "accepted": 150}).verdict == "fail"
    other = verdict({"grow": 0.01}, {"actual": 150, "baseline": 100, "accepted": 151})
    assert (other.verdict, other.reason) == ("fail", f"{grown}; it may grow by 1 %, and convcost.lock holds 151")
    hidden = {"actual": 150, "baseline": 100, "accepted": 150, "uncounted": 1}
    assert verdict({"grow": 0.01, "max": 200}, hidden).notes[0].startswith("macs accepted: ")
    assert [verdict({"grow": 0.01}, hidden, strict=strict).verdict for strict in (False, True)] == ["pass", "inconclusive"]  # fmt: skip


def test_a_limit_that_is_not_judged_names_its_metric() -> None:
    judged = verdict({"grow": 0.01, "max": 200}, {"actual": 150, "baseline": None, "why": "no entry"})
    assert judged.notes == ("macs grow is not judged: no entry",)


@pytest.mark.parametrize(("high", "said"), [(0.05, "pass"), (0.15, "inconclusive"), (0.35, "fail")])
def test_growth_is_judged_on_another_machine_and_max_is_said_not_to_be(high: float, said: str) -> None:
    limit = {"max": 0.06, "machine": "A", "grow": 0.1}
    times = {"actual": 1.0, "low": 0.9, "high": 1.1, "machine": "B", "baseline": 1.0}
    judged = verdict(limit, {**times, "growth": (high - 0.05, high - 0.1, high)}, metric="latency")
    other = "latency max is not judged: other machine: the limit was set for A, this is B"
    assert (judged.verdict, judged.notes) == (said, (other,))
    alone = verdict(limit, {**times, "why": "a lock holds no times"}, metric="latency")
    assert (alone.verdict, alone.notes) == ("skipped", ("latency grow is not judged: a lock holds no times",))


def test_a_share_of_ten_times_and_more_is_a_factor() -> None:
    assert verdict({"max": 100}, {"actual": 1099}).reason == "1.10 k is over max 100 by 999 (999 %)"
    assert verdict({"max": 100}, {"actual": 14_700}).reason == "14.7 k is over max 100 by 14.6 k (146x)"
    growth = verdict({"grow": 0.01}, {"actual": 1200, "baseline": 100})
    assert growth.reason == "1.20 k is 11.0x over the baseline of 100; it may grow by 1 %"


def test_growth_over_a_lower_bound_is_not_decided() -> None:
    found = {
        "actual": 150,
        "baseline": 100,
        "uncounted": 1,
        "uncounted_calls": 1,
        "uncounted_calls_before": 3,
        "locked": True,
    }
    judged = verdict({"grow": 0.01}, found)
    assert judged.verdict == "inconclusive"
    assert judged.reason.endswith("3 calls uncounted then, 1 now; give each a formula with convcost.register, or accept it with convcost check --update")  # fmt: skip
    assert verdict({"grow": 0.01}, {**found, "uncounted_calls": 3}).verdict == "fail"  # the same is hidden in both
    assert verdict({"grow": 0.01}, found, metric="params").verdict == "fail"  # parameters hide nowhere


def test_uncounted_arithmetic_leaves_parameters_exact() -> None:
    judged = verdict({"max": 100}, {"actual": 90, "uncounted": 3}, metric="params", strict=True)
    assert (judged.verdict, judged.lower_bound, judged.reason) == ("pass", False, "")


def test_an_improvement_that_the_lock_does_not_know_fails_only_when_strict() -> None:
    found = {"actual": 90, "baseline": 100, "locked": True}
    plain = verdict({"grow": 0.01}, found)
    keep = "keep it with convcost check --update (until then it may grow back to 100)."
    assert (plain.verdict, plain.notes) == ("pass", (f"macs fell by 10 %: {keep}",))
    assert verdict({"grow": 0.01}, found, strict=True).verdict == "fail"
    assert verdict({"grow": 0.2}, found, strict=True).verdict == "pass"


@pytest.mark.parametrize(
    "field",
    [
        {"locked": False},  # the base is another revision: there is nothing to keep
        {"uncounted": 1},  # what is hidden may be as much
        {"uncounted_calls_before": 1},
        {"recounted": -10},  # the counter, not the model
    ],
)
def test_a_fall_that_is_none_of_the_model_under_the_lock_is_no_improvement(field: dict[str, Any]) -> None:
    found = {"actual": 90, "baseline": 100, "locked": True} | field
    assert verdict({"grow": 0.01}, found).notes == ()
    assert verdict({"grow": 0.01}, found, strict=True).verdict != "fail"


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
    assert distinct_texts(METRICS["macs"], 1_900_000_001, 1_900_000_000) == ("1,900,000,001", "1,900,000,000")
    assert distinct_texts(METRICS["macs"], 1_900_000_001, 1_000_000_000) == ("1.90 G", "1.00 G")
    assert distinct_texts(METRICS["weight_bytes"], 5_000_001, 5_000_000) == ("5,000,001 B", "5,000,000 B")
    reason = verdict({"max": 1_900_000_000}, {"actual": 1_900_000_001}).reason
    assert reason == "1,900,000,001 is over max 1,900,000,000 by 1 (0.0000000526 %)"


def test_the_limit_that_decided_names_its_own_line() -> None:
    limit = {"max": 100, "grow": 0.0, "source": "c.toml:2", "sources": {"max": "c.toml:3", "grow": "c.toml:4"}}
    assert verdict(limit, {"actual": 101, "baseline": 101}).source == "c.toml:3"
    assert verdict(limit, {"actual": 90, "baseline": 80}).source == "c.toml:4"


EXACT = 2**53 + 1  # the first whole number that a float does not hold


@pytest.mark.parametrize(
    ("limit", "found", "said"),
    [
        ({"max": EXACT}, {"actual": EXACT}, ""),
        ({"max": EXACT}, {"actual": EXACT + 1}, "9,007,199,254,740,994 is over max 9,007,199,254,740,993 by 1 (0.0000000000000111 %)"),
        ({"min": EXACT}, {"actual": EXACT - 1}, "9,007,199,254,740,992 is under min 9,007,199,254,740,993 by 1 (0.0000000000000111 %)"),
        ({"max": 10**38 + 1}, {"actual": 10**38 + 1}, ""),
        ({"max": "1.5"}, {"actual": 1}, ""),
        ({"max": "1.5"}, {"actual": 2}, "2 is over max 1 by 1 (100 %)"),  # the whole number below says the same
        ({"min": "1.5"}, {"actual": 2}, ""),
        ({"min": "1.5"}, {"actual": 1}, "1 is under min 2 by 1 (50 %)"),
        ({"grow": 0.0}, {"actual": EXACT, "baseline": EXACT - 1}, "9,007,199,254,740,993 is 0.0000000000000111 % over the baseline of 9,007,199,254,740,992; it may grow by 0 %"),
        ({"grow": 0.1}, {"actual": 11 * EXACT, "baseline": 10 * EXACT}, ""),  # 10 % exactly
        ({"grow": 0.0, "floor": "1.5"}, {"actual": 101, "baseline": 100}, ""),
        ({"grow": 0.0, "floor": "1.5"}, {"actual": 102, "baseline": 100}, "102 is 2 % over the baseline of 100; it may grow by 0 % and 1"),
    ],
)  # fmt: skip
def test_whole_numbers_are_compared_as_such(limit: dict[str, Any], found: dict[str, Any], said: str) -> None:
    judged = verdict(limit, found)
    assert (judged.verdict, judged.reason) == ("fail" if said else "pass", said)


def test_limits_without_a_file_name_the_option() -> None:
    assert limits_from({"macs": "580M", "params": None}) == (Limit("macs", max=Decimal(580_000_000)),)
    with pytest.raises(ConvcostError, match=r"^max_macs \(=5 MB\) must be a number of MACs"):
        limits_from({"macs": "5 MB"})
    with pytest.raises(
        ConvcostError, match=r'^max_macs \(=12.6\) must be a number of MACs without a fraction; write "12.6 M" if'
    ):
        limits_from({"macs": "12.6"})
    with pytest.raises(ConvcostError, match=r'^max_weight_bytes \(=1.5 B\) .* write "1.5 MB" if it is millions\.$'):
        limits_from({"weight_bytes": "1.5 B"})
    with pytest.raises(ConvcostError, match=r'^max_macs \(=2580479.5\) .* without a fraction; write "2580479"\.$'):
        limits_from({"macs": "2580479.5"})
    assert limits_from({"weight_bytes": "45.7 MiB", "macs": "12.0"})[0].bound("max") == 47_919_923  # of 45.7 * 2**20
    with pytest.raises(ConvcostError, match="a check must have a limit; give one of max_macs"):
        limits_from({"macs": None})

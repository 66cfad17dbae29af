"""What a failure says about the ways back and about how to accept it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from locks import conv, entry, relu

from convcost.budgets.advice import acceptance, ways_back
from convcost.budgets.limits import Limit
from convcost.budgets.remedy import find_remedy
from convcost.budgets.verdict import Judgement, Reading, judge
from convcost.changes.change import what_changed

BEFORE, AFTER = entry(conv("stem", "8>8"), conv("body", "8>16")), entry(conv("stem", "8>8"), conv("body", "8>64"))
SOURCES = {"max": "c.toml:3", "min": "c.toml:4", "grow": "c.toml:5"}


def failure(
    metric: str = "macs",
    actual: float = 150,
    *,
    reading: dict[str, Any] | None = None,
    strict: bool = False,
    **limits: Any,
) -> Judgement:
    given: dict[str, Any] = {
        key: value if key in {"grow", "sources"} else Decimal(str(value)) for key, value in limits.items()
    }
    return judge(Limit(metric, **given), Reading(actual, **reading or {}), strict=strict)


def test_reverting_the_change_comes_first_and_gives_the_baselines_figures() -> None:
    changes = what_changed(BEFORE, AFTER)
    most = BEFORE.macs + 1000
    broken = failure(actual=AFTER.macs, max=most, reading={"baseline": BEFORE.macs})
    revert, block = ways_back([broken], changes, find_remedy(AFTER, changes, {"macs": most}))
    assert (
        revert == "back under budget: revert the change of body: the model then has 111 k macs again"
    )  # 64 (8 * 8 + 8 * 16) 9
    assert block.split(": ")[1].endswith(" in place of body")


@pytest.mark.parametrize(
    ("baseline", "limit"),
    [(None, {"max": 100}), (120, {"max": 100}), (200, {"grow": 0.01})],
    ids=["none", "over the limit too", "larger"],
)
def test_reverting_is_no_way_back_where_the_baseline_would_not_pass(
    baseline: int | None, limit: dict[str, Any]
) -> None:
    broken = failure(reading={"baseline": baseline, "locked": True}, strict=True, **limit)
    assert broken.verdict == "fail"
    assert list(ways_back([broken], what_changed(BEFORE, AFTER), None)) == []


def test_a_block_that_leaves_a_limit_broken_or_unknown_is_a_part_of_the_way() -> None:
    params, macs = failure("params", AFTER.params or 0, max=3000), failure(actual=AFTER.macs, max=10)
    peak = failure("peak_activation_bytes", 4096, max=4000)
    remedy = find_remedy(AFTER, (), {"params": 3000})
    assert remedy is not None
    (whole,), (partly,) = (tuple(ways_back(judged, (), remedy)) for judged in ([params], [params, macs]))
    assert whole.startswith("back under budget: ")
    assert partly.startswith("part of the way: ")
    assert partly.endswith("; still broken then: max of macs")
    (unknown,) = ways_back([params, peak], (), remedy)
    assert unknown.startswith("part of the way: ")
    assert unknown.endswith("; peak_activation_bytes is not known for a block")


def test_a_lower_bound_stays_one_with_a_block() -> None:
    params = failure("params", AFTER.params or 0, max=3000, reading={"uncounted": 1})
    macs = failure(actual=AFTER.macs, max=200_000, reading={"uncounted": 1})
    remedy = find_remedy(AFTER, (), {"params": 3000, "macs": 200_000})
    assert remedy is not None
    (way,) = ways_back([params, macs], (), remedy)
    assert ", at least " in way.partition("the model then has ")[2]
    assert "at least " not in way.partition(" params")[0]


def test_a_limit_that_is_met_now_and_not_known_for_a_block_is_named() -> None:
    params, peak = failure("params", AFTER.params or 0, max=3000), failure("peak_activation_bytes", 4096, max=5000)
    (way,) = ways_back([params, peak], (), find_remedy(AFTER, (), {"params": 3000}))
    assert way.startswith("back under budget: ")
    assert way.endswith("; peak_activation_bytes is not known for a block")


def test_a_block_that_falls_under_a_minimum_is_a_part_of_the_way() -> None:
    params = failure("params", AFTER.params or 0, max=3000, min=2900)
    (way,) = ways_back([params], (), find_remedy(AFTER, (), {"params": 3000}))
    assert way.startswith("part of the way: ")
    assert way.endswith("; still broken then: min of params")


def test_reverting_that_meets_the_growth_alone_names_the_maximum_and_comes_last() -> None:
    changes = what_changed(BEFORE, AFTER)
    broken = failure("params", AFTER.params or 0, max=1000, grow=0.01, reading={"baseline": BEFORE.params})
    (revert,) = ways_back([broken], changes, None)
    assert revert == (
        "part of the way: revert the change of body: the model then has 1.73 k params again; "  # 9 (8 * 8 + 8 * 16)
        "still broken then: max of params"
    )
    block, last = ways_back([broken], changes, find_remedy(AFTER, changes, {"params": 1000}))
    assert (block.partition(":")[0], last) == ("back under budget", revert)


def test_the_layers_that_grew_alone_are_to_be_reverted() -> None:
    before = entry(conv("a", "8>8"), conv("b", "8>64", "5x5"), relu("c", 64))
    after = entry(conv("a", "8>64"), conv("b", "64>8", "5x5"), relu("c"))
    broken = failure(actual=after.macs, max=before.macs + 1, reading={"baseline": before.macs})
    assert after.macs > before.macs
    revert, *_ = ways_back([broken], what_changed(before, after), None)
    figure = "856 k"  # 64 (9 * 8 * 8 + 25 * 8 * 64)
    assert revert == f"back under budget: revert the change of a: the model then has {figure} macs again"


def test_a_layer_whose_input_alone_grew_is_not_to_be_reverted() -> None:
    before, after = (entry(conv("a", f"8>{width}"), relu("b", width)) for width in (8, 16))
    peak = failure("peak_activation_bytes", 8192, max=5000, reading={"baseline": 4096})
    (revert,) = ways_back([peak], what_changed(before, after), None)
    assert revert.startswith("back under budget: revert the change of a: ")
    larger = entry(conv("a", "8>8"), relu("b", 16))
    (revert,) = ways_back([peak], what_changed(before, larger), None)
    assert revert.startswith("back under budget: revert the change of b: ")


def test_a_renamed_layer_is_not_to_be_reverted() -> None:
    renamed = what_changed(entry(conv("a", "8>8"), relu("b")), entry(conv("c", "8>8"), relu("b")))
    broken = failure(max=100, reading={"baseline": 90})
    assert list(ways_back([broken], renamed, None)) == []
    assert list(ways_back([], what_changed(BEFORE, AFTER), None)) == []


UPDATE = "run convcost check --update and commit convcost.lock"


@pytest.mark.parametrize(
    ("broken", "steps"),
    [
        ([failure(max=100)], "raise max_macs"),
        ([failure(max=100, sources=SOURCES)], "raise max of macs (c.toml:3)"),
        ([failure(max=100, sources=SOURCES), failure("params", max=100, sources=SOURCES)], "raise max of macs (c.toml:3), params (c.toml:3)"),
        ([failure(min=200, sources=SOURCES)], "lower min of macs (c.toml:4)"),
        ([failure(grow=0.01, reading={"baseline": 100, "locked": True})], UPDATE),
        ([failure(grow=0.01, reading={"baseline": 100})], f"{UPDATE}, which then holds for base too"),
        ([failure(max=100, grow=0.01, sources=SOURCES, reading={"baseline": 100, "locked": True})], f"raise max of macs (c.toml:3); {UPDATE}"),
        ([failure(max=200, grow=0.01, sources=SOURCES, reading={"baseline": 100, "locked": True})], UPDATE),
        ([failure("latency", 0.2, grow=0.01, sources=SOURCES, reading={"baseline": 0.1, "growth": (1, 0.9, 1.1)})], "raise grow of latency (c.toml:5)"),
        ([failure("latency", 0.2, max=0.1, reading={"low": 0.19, "high": 0.21})], "raise max_latency"),
        ([], None),
    ],
)  # fmt: skip
def test_every_failure_says_how_to_accept_it(broken: list[Judgement], steps: str | None) -> None:
    assert all(one.verdict == "fail" for one in broken)
    assert acceptance(broken) == steps

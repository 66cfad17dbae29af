"""What a result says: the totals that moved, and what would bring a model back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from locks import conv, entry

from convcost.budgets.limits import Budget, Limit
from convcost.budgets.result import BudgetResult
from convcost.budgets.verdict import Reading, judge
from convcost.models.report import Uncounted

MODEL = entry(conv("stem", "3>8"), conv("body", "8>16"))  # 216 + 1,152 parameters, 4 bytes each


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"peak_activation_bytes": 4096 + 512}, "512 B more of activations at the peak"),
        ({"weight_bytes": 4 * (216 + 1152) - 72}, "72 B less of weights"),
        ({"macs": MODEL.macs + 64}, "64 MACs more"),
        ({"macs": MODEL.macs + 64, "uncounted": 1}, "64 counted MACs more"),
    ],
)
def test_a_total_that_moved_is_said_although_no_layer_changed(now: dict[str, Any], said: str) -> None:
    one = BudgetResult(Budget("net", "m.py:net", Path()), (), replace(MODEL, **now), MODEL, "convcost.lock")
    assert list(one.lines) == [f"why: net against convcost.lock: {said}"]


def test_limits_that_are_not_judged_for_one_reason_share_a_note() -> None:
    reading = Reading(1, why="no entry")
    judged = tuple(judge(Limit(name, max=Decimal(2), grow=0.01), reading) for name in ("params", "macs"))
    one = BudgetResult(Budget("net", "m.py:net", Path()), judged, MODEL)
    assert one.all_notes == ("params, macs grow is not judged: no entry",)


def test_uncounted_operations_are_named_where_a_figure_is_a_lower_bound() -> None:
    operations = (Uncounted("aten.fft", 2, ("f",)), Uncounted("my.op", 1, ("g",)))
    for metric, actual, named in (("macs", 1, True), ("macs", 3, True), ("params", 1, False)):
        judged = judge(Limit(metric, max=Decimal(2)), Reading(actual, uncounted=2))
        one = BudgetResult(Budget("net", "m.py:net", Path()), (judged,), MODEL, uncounted=operations)
        step = "give each a formula with convcost.register"
        note = f"not counted, so that macs may be larger: aten.fft (2 calls), my.op (1 call); {step}"
        assert one.all_notes == ((note,) if named else ())


def test_nothing_is_said_of_a_model_that_did_not_move() -> None:
    assert list(BudgetResult(Budget("net", "m.py:net", Path()), (), MODEL, MODEL, "convcost.lock").lines) == []


@pytest.mark.parametrize("mendable", [True, False])
def test_that_no_block_helps_is_said_only_where_one_was_sought(mendable: bool) -> None:  # noqa: FBT001 - a row of a table
    judged = judge(Limit("macs", max=Decimal(1)), Reading(2))
    one = BudgetResult(Budget("net", "m.py:net", Path()), (judged,), MODEL, mendable=mendable)
    sought = ["back under budget: no block of the catalogue is enough for net"]
    assert list(one.lines)[1:] == [*(sought if mendable else []), "to accept net: raise max_macs"]

"""`convcost.count_many`: a row for each configuration, and what an interrupt or an impossible one leaves."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import convcost
from convcost.text.errors import ConvcostError

INPUT = torch.empty(1, 3, 8, 8, device="meta")


def small(width: int = 4, kernel: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, kernel, bias=False), nn.ReLU())


def test_each_configuration_has_a_row() -> None:
    sweep = convcost.count_many(small, [{"width": 4}, {"width": 8, "kernel": 1}], INPUT)
    frame = sweep.to_frame()
    assert list(frame.columns[:4]) == ["width", "kernel", "params", "macs"]
    assert list(frame["width"]) == [4, 8]
    assert list(frame["kernel"]) == [None, 1]
    assert list(frame["params"]) == [4 * 3 * 9, 8 * 3]
    assert list(frame["macs"]) == [36 * 4 * 27, 64 * 8 * 3]
    assert frame["traffic_bytes"][1] == 4 * (3 * 64 + 8 * 3 + 8 * 64 + 2 * 8 * 64)  # the ReLU reads and writes again
    assert frame["peak_activation_bytes"][1] == 4 * (3 * 64 + 2 * 8 * 64)
    assert sweep.reports[0] is not None
    assert sweep.reports[0].totals == convcost.count(small(4), INPUT).totals


def test_an_argument_of_the_name_of_a_cost_has_a_column_of_its_own() -> None:
    def make(macs: int, error: int) -> nn.Module:
        return small(macs, error)

    sweep = convcost.count_many(make, [{"macs": 4, "error": 3}], INPUT)
    (row,) = sweep.to_frame().to_dict("records")
    assert (row["argument_macs"], row["argument_error"]) == (4, 3)
    assert (row["macs"], row["error"]) == (36 * 4 * 27, None)
    assert "argument_macs" in str(sweep)


def test_a_row_is_the_same_as_json() -> None:
    (row,) = convcost.count_many(small, [{"width": 4}], [INPUT]).to_dict()["configurations"]
    assert row["arguments"] == {"width": 4}
    assert row["macs"] == 36 * 4 * 27
    assert row["error"] is None


def test_a_configuration_that_fails_has_the_reason() -> None:
    sweep = convcost.count_many(small, [{"kernel": 9}, {"height": 2}, {"width": 2}], INPUT)
    too_large, unknown, fine = sweep.rows
    assert re.search(r"got input 1x3x8x8|kernel_size \(=9", str(too_large.error))  # torch before 2.7 raises nothing
    assert "unexpected keyword argument 'height'" in str(unknown.error)
    assert list(sweep.to_frame()["macs"]) == [None, None, 36 * 2 * 27]
    assert fine.error is None


@pytest.mark.parametrize("configurations", [[4], {"width": 4}, None])
def test_configurations_that_are_no_dicts_are_refused(configurations: Any) -> None:
    with pytest.raises(ConvcostError, match=r"^configurations must be a list of dicts"):
        convcost.count_many(small, configurations, INPUT)


def test_an_interrupt_keeps_what_is_done() -> None:
    def interrupted(width: int) -> nn.Module:
        if width == 2:
            raise KeyboardInterrupt
        return small(width)

    sweep = convcost.count_many(interrupted, [{"width": width} for width in range(1, 4)], INPUT)
    assert [row.arguments["width"] for row in sweep.rows] == [1]
    assert sweep.notes == ("interrupted after 1 of 3 configurations.",)
    assert "interrupted" in str(sweep)

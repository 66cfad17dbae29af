"""Two counted models timed side by side: which rows get times and accounts. No time is asserted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import convcost
from convcost.timing.conditions import TimingOptions
from convcost.workflows.side_by_side import TimedPair, time_side_by_side

pytestmark = [pytest.mark.timing, pytest.mark.torch]

BEFORE = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU())
AFTER = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)), nn.ReLU())
PAIRS = [("0", "0"), (None, "0.0"), (None, "0.1")]


def steps(*, why: bool) -> list[TimedPair]:
    image: tuple[tuple[Any, ...], dict[str, Any]] = ((torch.zeros(1, 4, 16, 16),), {})
    counted = convcost.count(BEFORE, image[0]), convcost.count(AFTER, image[0])
    options = TimingOptions(("cpu",), time_budget=1.0, why=why)
    return list(time_side_by_side(counted, ((BEFORE, *image), (AFTER, *image)), PAIRS, options, lambda _: None))


def test_only_the_layers_that_differ_have_times() -> None:
    (timed,) = steps(why=False)
    assert {row.name for row in timed.a.layers if row.time_s is not None} == {"0"}
    assert {row.name for row in timed.b.layers if row.time_s is not None} == {"0.0", "0.1"}
    assert timed.timing.pairs.keys() == {("0", "0")}
    assert timed.a.forward is not None
    assert timed.b.forward is not None
    assert timed.a.forward.speedup == 1.0
    assert timed.b.forward.speedup is not None


def test_each_convolution_that_differs_has_an_account() -> None:
    *_, last = steps(why=True)
    accounted = [row.name for report in (last.a, last.b) for row in report.layers if row.account is not None]
    assert accounted == ["0", "0.0", "0.1"]

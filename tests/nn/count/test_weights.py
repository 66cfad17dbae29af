"""Weights: those of the module tree and those that were used, whatever a class says of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import convcost

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.torch

DEVICES = pytest.mark.parametrize("device", ["meta", "cpu"])


class Denying(nn.Module):
    """A module that names neither its parts nor its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1))
        self.body[0].register_buffer("scale", torch.ones(()))

    def nothing(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())

    parameters = named_parameters = buffers = named_buffers = children = named_children = nothing

    def modules(self, *_: Any, **__: Any) -> Iterator[nn.Module]:
        yield self

    def named_modules(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Module]]:
        yield "", self

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(x)


@DEVICES
def test_the_module_tree_is_counted_whatever_the_class_says_of_it(device: str) -> None:
    report = convcost.count(Denying(), torch.zeros(1, 3, 8, 8), device=device)
    assert [row.name for row in report.layers] == ["body.0", "body.1"]
    params = 3 * 4 + 4 + 4 * 5 + 5
    assert (report.totals.params, report.totals.weight_bytes) == (params, 4 * params)


class Listed(nn.Module):
    """Parameters in a list and in nested tables, which torch does not register."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [nn.Parameter(torch.zeros(8, 8)), nn.Parameter(torch.zeros(8, 3))]
        self.table = {"inner": {"w": nn.Parameter(torch.zeros(3, 2))}}
        self.never = [nn.Parameter(torch.zeros(50))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights[0] @ self.weights[0] @ self.weights[1] @ self.table["inner"]["w"]


@DEVICES
def test_parameters_that_are_used_count_where_no_module_holds_them(device: str) -> None:
    report = convcost.count(Listed(), torch.zeros(1, 8), device=device)
    assert [row.params for row in report.layers] == [8 * 8, 0, 8 * 3, 3 * 2]
    assert report.totals.params == 8 * 8 + 8 * 3 + 3 * 2
    assert report.totals.peak_activation_bytes == 4 * (8 + 8 + 8)  # x, and two products; the weights are none


def test_an_input_that_is_a_parameter_and_what_forward_makes_are_no_weights() -> None:
    data = nn.Parameter(torch.zeros(1, 8))
    report = convcost.count(lambda x: nn.Linear(8, 3)(x @ nn.Parameter(torch.zeros(8, 8))), data)
    assert (report.totals.params, report.totals.macs) == (0, 8 * 8 + 8 * 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int8])
def test_parameters_of_integers_may_be_packed(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    model[0].w_q = nn.Parameter(torch.zeros(2, 2, dtype=dtype), requires_grad=False)
    report = convcost.count(model, torch.zeros(1, 4))
    assert (report.totals.params, report.totals.weight_bytes) == (None, None)
    reason = "0 holds packed weights: params and weight_bytes are not obtained"
    assert (report.notes, report.doubts) == ((f"{reason}.",), {"params": reason, "weight_bytes": reason})
    assert "parameters not obtained" in report.verdicts[0]
    assert report.to_dict()["totals"]["weight_bytes"] is None


def test_a_parameter_of_truth_values_is_not_packed() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    model[0].mask = nn.Parameter(torch.zeros(2, dtype=torch.bool), requires_grad=False)
    assert convcost.count(model, torch.zeros(1, 4)).totals.params == 4 * 2 + 2 + 2

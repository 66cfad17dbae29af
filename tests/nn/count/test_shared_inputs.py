"""Inputs that are one tensor, views of one, or tensors of the model: on meta tensors as on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import convcost

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.torch
LINEAR = 2 * 3 * 3
"""MACs of `Pair.linear` for two rows."""
ROWS = 4 * 2 * 3
"""Bytes of the two rows."""


class Pair(nn.Module):
    """One product if its inputs are one object, else two."""

    table: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.weight = nn.Parameter(torch.zeros(2, 3))
        self.register_buffer("table", torch.zeros(2, 3))

    def forward(self, first: Any, second: Any = None) -> Any:
        if isinstance(first, dict):
            first, second = first["first"], first["second"]
        second = getattr(self, second) if isinstance(second, str) else second
        data = first[0] if isinstance(first, list) else first
        return self.linear(data) if first is second else self.linear(self.linear(data))


X = torch.zeros(2, 3)
ROW = [X]
ONE_OBJECT: dict[str, Callable[[Pair], tuple[Any, dict[str, Any]]]] = {
    "by position": lambda _: ((X, X), {}),
    "by keyword": lambda _: ((), {"first": X, "second": X}),
    "both": lambda _: ((X,), {"second": X}),
    "in a dict": lambda _: (({"first": X, "second": X},), {}),
    "a list": lambda _: ((ROW, ROW), {}),
    "a parameter": lambda model: ((model.weight, "weight"), {}),
    "a buffer": lambda model: ((model.table, "table"), {}),
    "meta tensors": lambda _: ((meta := X.to("meta"), meta), {}),
}


@pytest.mark.parametrize("device", ["meta", "auto", "cpu"])
@pytest.mark.parametrize("inputs", ONE_OBJECT.values(), ids=ONE_OBJECT)
def test_what_is_one_object_stays_one(inputs: Callable[[Pair], Any], device: str) -> None:
    model = Pair()
    args, kwargs = inputs(model)
    counted = convcost.count(model, args, kwargs, device=device, cross_check=device == "meta" and "first" not in kwargs)
    assert counted.totals.macs == LINEAR
    assert {check.status for check in counted.cross_check.values()} <= {"agrees", "unavailable", "not requested"}


def test_equal_tensors_stay_two() -> None:
    assert convcost.count(Pair(), (X, X.clone())).totals.macs == 2 * LINEAR


SHARED: dict[str, tuple[Callable[[Pair], tuple[Any, ...]], int]] = {
    "one tensor": (lambda _: (X, X), ROWS),
    "views": (lambda _: (X, X[1:]), ROWS),
    "a part of a larger one": (lambda _: (torch.zeros(5, 3)[:2], X), 5 * 4 * 3 + ROWS),
    "an expanded one": (lambda _: (torch.zeros(1, 3).expand(2, 3), X), 4 * 3 + ROWS),
    "a parameter": (lambda model: (model.weight, X), ROWS),
    "a view of a parameter": (lambda model: (model.weight[1:], model.weight.detach()), 0),
    "a view of a buffer": (lambda model: (model.table[1:], model.table.data), 0),
}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(("inputs", "held"), SHARED.values(), ids=SHARED)
def test_inputs_share_memory_as_they_do_on_the_cpu(
    inputs: Callable[[Pair], tuple[Any, ...]], held: int, device: str
) -> None:
    class Sum(Pair):
        def forward(self, first: Any, second: Any = None) -> Any:
            return first + second

    model = Sum()
    counted = convcost.count(model, inputs(model), device=device)
    (row,) = (one for one in counted.layers if one.op == "add")
    output = 4 * 3 * row.output_shape[0]
    assert (counted.totals.peak_activation_bytes, row.alive_bytes) == (held + output, held + output)


def test_attention_of_a_tensor_with_itself_moves_it_once() -> None:
    model, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.zeros(2, 5, 8)
    rows = [convcost.count(model, (x, x, x), device=device).layers[0] for device in ("meta", "cpu")]
    output, means, weights = 4 * 2 * 5 * 8, 4 * 2 * 5 * 5, 4 * (3 * 8 * 8 + 3 * 8 + 8 * 8 + 8)
    assert [row.traffic_bytes for row in rows] == 2 * [4 * 2 * 5 * 8 + output + means + weights]
    assert rows[0].alive_bytes == rows[1].alive_bytes


def test_a_packed_sequence_that_occurs_twice_stays_one() -> None:
    packed = pack_sequence([torch.zeros(3, 3), torch.zeros(2, 3)])
    counted = convcost.count(lambda a, b: (a.data + 1, a.data is b.data and a.data @ a.data.T), (packed, packed))
    assert counted.totals.macs == 5 * 3 * 5


def test_inputs_and_buffers_that_are_one_are_left_as_they_were() -> None:
    class Writes(Pair):
        def forward(self, first: Any, second: Any = None) -> Any:
            del second
            return self.linear(first.add_(1))

    model = Writes()
    model.table.fill_(3)
    convcost.count(model, model.table, device="cpu")
    assert model.table.eq(3).all()


def test_an_input_that_needs_a_gradient_still_does() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    counted = convcost.count(lambda x: x @ x.T if x.requires_grad else x, x)
    assert counted.totals.macs == 2 * 3 * 2

"""The activations alive at each call, and the peak with what it consists of, by hand-computed sizes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from zoo import ZOO, Lambda

import convcost
from convcost.models.peak import Kept, Peak

if TYPE_CHECKING:
    from convcost.models.report import ModelReport

F = 4
"""Bytes of a float32."""
IMAGE = torch.zeros(1, 2, 8, 8)
SIZE = F * 2 * 8 * 8
"""Bytes of the image, and of each tensor of its size."""


def alive(report: ModelReport) -> dict[str, int | None]:
    return {row.name: row.alive_bytes for row in report.layers}


def count(forward: Any, *inputs: torch.Tensor, device: Any = "meta", **parts: nn.Module) -> ModelReport:
    return convcost.count(Lambda(forward, **parts), inputs or (IMAGE,), device=device)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("network", ZOO)
def test_the_largest_of_the_calls_is_the_peak_and_its_parts_add_up(network: str, device: Any) -> None:
    model, inputs = ZOO[network]()
    report = convcost.count(model, inputs, device=device)
    assert max(row.alive_bytes or 0 for row in report.layers) == report.totals.peak_activation_bytes
    peak = report.peak
    assert peak is not None
    assert peak.alive_bytes == report.totals.peak_activation_bytes
    sizes = (peak.input_bytes, peak.output_bytes, peak.inside_bytes, *(one.bytes for one in peak.kept))
    assert (sum(sizes), min(sizes) >= 0) == (peak.alive_bytes, True)
    assert next(row.name for row in report.layers if row.alive_bytes == peak.alive_bytes) == peak.name
    assert {one.name for one in peak.kept} <= {"(input)", *(row.name for row in report.layers)}


def test_in_a_chain_a_call_has_its_input_and_output_and_the_caller_keeps_the_first_input() -> None:
    report = convcost.count(nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 30), nn.Linear(30, 1)), torch.zeros(1, 10))
    assert alive(report) == {"0": F * (10 + 20), "1": F * (10 + 20 + 30), "2": F * (10 + 30 + 1)}
    assert report.peak == Peak("1", F * 60, F * 20, F * 30, 0, (Kept("(input)", F * 10),))
    assert str(report.peak) == "at 1: input 80 B, output 120 B, also alive 40 B of the model's input"


def test_a_call_in_place_adds_nothing_and_neither_does_a_view() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(128, 1))
    report = convcost.count(model, IMAGE)
    assert alive(report) == {"0": 2 * SIZE, "1": 2 * SIZE, "2": 2 * SIZE, "3": 2 * SIZE + F}
    assert report.peak == Peak("3", 2 * SIZE + F, SIZE, F, 0, (Kept("(input)", SIZE),))


def test_a_layer_that_is_called_again_has_a_size_for_each_call() -> None:
    report = count(lambda m, x: m.a(m.a(m.a(x))), a=nn.Conv2d(2, 2, 1))
    assert alive(report) == {"a": 2 * SIZE, "a#2": 3 * SIZE, "a#3": 3 * SIZE}
    assert report.peak is not None
    assert report.peak.name == "a#2"  # the first of equal ones


def test_a_skip_connection_is_kept_until_it_is_added() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        skip = m.a(x)
        return skip + m.c(m.b(skip))

    report = count(forward, a=nn.Conv2d(2, 4, 1), b=nn.Conv2d(4, 8, 1), c=nn.Conv2d(8, 4, 1))
    a, b, c, added = SIZE * 2, SIZE * 4, SIZE * 2, SIZE * 2
    assert alive(report) == {"a": SIZE + a, "b": SIZE + a + b, "c": SIZE + a + b + c, "add#1": SIZE + a + c + added}
    assert report.peak == Peak("c", SIZE + a + b + c, b, c, 0, (Kept("a", a), Kept("(input)", SIZE)))


def test_a_concatenation_keeps_what_it_joins_and_a_deleted_tensor_is_gone() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        first, second = m.a(x), m.b(x)
        joined = torch.cat([first, second], 1)
        del first, second
        return m.c(joined)

    report = count(forward, a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 6, 1), c=nn.Conv2d(8, 2, 1))
    assert alive(report) == {
        "a": SIZE + SIZE,
        "b": SIZE + SIZE + 3 * SIZE,
        "cat#1": SIZE + SIZE + 3 * SIZE + 4 * SIZE,
        "c": SIZE + 4 * SIZE + SIZE,
    }
    assert report.peak == Peak("cat#1", 9 * SIZE, 4 * SIZE, 4 * SIZE, 0, (Kept("(input)", SIZE),))


def test_at_the_bottom_of_a_u_the_skip_waits() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        skip = m.a(x)
        up = functional.interpolate(m.b(functional.max_pool2d(skip, 2)), scale_factor=2)
        return m.c(torch.cat([skip, up], 1))

    report = count(forward, a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 2, 1), c=nn.Conv2d(4, 1, 1))
    quarter = SIZE // 4
    values = alive(report)
    assert values["b"] == SIZE + SIZE + quarter + quarter
    assert values["interpolate#1"] == SIZE + SIZE + quarter + SIZE
    assert values["cat#1"] == SIZE + SIZE + SIZE + 2 * SIZE
    kept = (Kept("(input)", SIZE), Kept("a", SIZE), Kept("interpolate#1", SIZE))  # the last by the variable up
    assert report.peak == Peak("c", 5 * SIZE + SIZE // 2, 2 * SIZE, SIZE // 2, 0, kept)


def test_what_a_call_needs_for_a_time_is_inside_it() -> None:
    class Normalised(nn.Softmax):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.exp() + x.neg()).sum((2, 3))

    report = convcost.count(Normalised(1), IMAGE)
    # exp, neg and their sum are alive together, and the output, one number for each channel, after them
    assert report.peak == Peak("Normalised", 4 * SIZE, SIZE, F * 2, 3 * SIZE - F * 2, ())


def test_a_tensor_that_a_module_keeps_stays_alive() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        m.kept = x + 1
        return m.b(m.a(x))

    report = count(forward, a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 2, 1))
    assert alive(report) == {"add#1": 2 * SIZE, "a": 3 * SIZE, "b": 4 * SIZE}
    assert report.peak == Peak("b", 4 * SIZE, SIZE, SIZE, 0, (Kept("(input)", SIZE), Kept("add#1", SIZE)))


def test_a_call_that_raises_leaves_its_memory_to_the_next() -> None:
    class Refuses(nn.Softmax):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError(x.repeat(1, 4, 1, 1).shape)

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        try:
            return m.a(x)
        except ValueError:
            return x + 1

    report = count(forward, a=Refuses(1))
    assert report.totals.peak_activation_bytes == 5 * SIZE
    assert alive(report) == {"add#1": 5 * SIZE}


def test_a_model_without_a_call_has_no_peak_at_one() -> None:
    report = count(lambda _, x: x)
    assert (report.peak, report.to_dict()["peak"], report.layers) == (None, None, ())
    assert report.totals.peak_activation_bytes == SIZE


def test_threads_share_the_memory() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        results: list[torch.Tensor] = []
        thread = threading.Thread(target=lambda: results.append(m.a(x)))
        thread.start()
        thread.join()
        return m.b(results[0])

    report = count(forward, a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 2, 1))
    assert alive(report) == {"a": 2 * SIZE, "b": 3 * SIZE}


def test_parameters_outside_any_call_have_no_size() -> None:
    report = count(lambda _, x: x + 1, unused=nn.Linear(2, 2))
    assert alive(report) == {"add#1": 2 * SIZE, "(parameters outside any call)": None}


def test_the_json_object_has_both() -> None:
    record = convcost.count(nn.Conv2d(2, 2, 1), IMAGE).to_dict()
    assert record["layers"][0]["alive_bytes"] == 2 * SIZE
    sizes = {"alive_bytes": 2 * SIZE, "input_bytes": SIZE, "output_bytes": SIZE, "inside_bytes": 0}
    assert record["peak"] == {"name": "Conv2d", **sizes, "kept": []}

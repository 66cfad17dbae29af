"""Errors of outputs, against the models run by hand."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from convcost.nn.alter.output_error import has_values, output_errors, random_inputs, relative_error

if TYPE_CHECKING:
    from collections.abc import Callable


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 5, 3, padding=1))
    ).train()


def with_others(model: nn.Sequential, *places: str) -> nn.Sequential:
    """A copy with other weights in some convolutions."""
    altered = copy.deepcopy(model)
    for place in places:
        conv = altered.get_submodule(place)
        conv.load_state_dict({name: value + 0.1 for name, value in conv.state_dict().items()})
    return altered


def test_the_error_is_that_of_the_whole_model_and_of_each_layer_replaced_alone() -> None:
    model, image = network(), torch.randn(2, 3, 9, 9)
    altered = with_others(model, "0", "4.0")
    errors = dict(output_errors(model, altered, ["0", "4.0"], ((image,), {})))
    assert list(errors) == [None, "0", "4.0"]
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(image)
        for path, places in ((None, ("0", "4.0")), ("0", ("0",)), ("4.0", ("4.0",))):
            output = with_others(model, *places).eval()(image)
            assert errors[path] == pytest.approx(float((output - expected).norm() / expected.norm()), rel=1e-5)


def test_equal_models_have_no_error_whatever_they_draw() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.conv(x) + torch.rand(()) + torch.rand(())
            return output

    model = Noisy()
    image = torch.randn(1, 2, 5, 5)
    assert dict(output_errors(model, copy.deepcopy(model), ["conv"], ((image,), {}))) == {None: 0.0, "conv": 0.0}


def test_both_models_stay_as_they_are() -> None:
    model = network()
    altered = with_others(model, "0")
    before = [(name, id(part), part.training, list(vars(part))) for name, part in altered.named_modules()]
    values = [value.clone() for value in (*model.state_dict().values(), *altered.state_dict().values())]
    state = torch.get_rng_state()
    list(output_errors(model, altered, ["0", "4.0"], ((torch.randn(2, 3, 9, 9, generator=torch.Generator()),), {})))
    assert [(name, id(part), part.training, list(vars(part))) for name, part in altered.named_modules()] == before
    now = (*model.state_dict().values(), *altered.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(values, now, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_block_that_only_a_list_holds_is_replaced_alone_too() -> None:
    class Listed(nn.Module):
        def __init__(self, conv: nn.Conv2d) -> None:
            super().__init__()
            self.conv, self.steps = conv, [conv]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.steps[0](x)
            return output

    model, altered = Listed(nn.Conv2d(2, 2, 1)), Listed(nn.Conv2d(2, 2, 1))
    errors = dict(output_errors(model, altered, ["conv"], ((torch.randn(1, 2, 4, 4),), {})))
    assert errors["conv"] == errors[None]
    assert errors["conv"]


def test_inputs_without_values_are_the_same_random_numbers_each_time() -> None:
    call = ((torch.empty(2, 3, device="meta"), 7), {"index": torch.empty(4, dtype=torch.int64, device="meta")})
    (floats, number), named = random_inputs(call, nn.Linear(1, 1))
    assert torch.equal(floats, torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    assert number == 7
    assert torch.equal(named["index"], torch.zeros(4, dtype=torch.int64))
    assert (has_values(call), has_values(((floats,), named))) == (False, True)
    given = torch.rand(2, 3)
    assert torch.equal(random_inputs(((given,), {}), nn.Linear(1, 1))[0][0], given)


def test_where_there_is_no_finite_error_a_reason_stands_in_its_place() -> None:
    one, two = torch.ones(1), torch.ones(2)
    assert relative_error([two], [torch.zeros(2)]) == "is zero"
    assert relative_error([], []) == "has no real or complex numbers"
    assert relative_error([one], [torch.tensor([float("nan")])]) == "is not finite"
    assert relative_error([torch.tensor([float("nan")])], [one]) == "is not finite with the block"
    assert relative_error([torch.tensor([float("inf")])], [one]) == "is not finite with the block"
    assert relative_error([one], [two]) == relative_error([one, one], [one]) == "has other sizes with the block"
    assert relative_error([one, torch.tensor([3.0])], [one, torch.tensor([0.0])]) == 3.0


def test_a_forward_pass_that_raises_is_a_reason_with_the_next_step() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Linear(3, 3))
    errors = dict(output_errors(model, copy.deepcopy(model), ["0"], ((torch.randn(1, 2, 4, 4),), {})))
    assert errors[None] == errors["0"]
    assert re.fullmatch("could not be compared: RuntimeError: .*; change the input", str(errors[None]))


class Stateful(nn.Module):
    """Two convolutions, whose output depends on how often forward ran."""

    def __init__(self, change: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.last, self.change = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1), change
        self.register_buffer("runs", torch.zeros(()))
        self.calls = 0
        self.cache: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self, x)


def overwrites(model: Any, x: torch.Tensor) -> Any:
    return model.last(model.conv(x.sub_(1).mul_(2)))


def counts(model: Any, x: torch.Tensor) -> Any:
    model.runs += 1
    model.calls += 1
    return model.last(model.conv(x)) * model.runs * model.calls


def caches(model: Any, x: torch.Tensor) -> Any:
    model.cache = model.conv(x) if model.cache is None else torch.cat([model.cache, model.conv(x)])
    return model.last(model.cache)


def alternates(model: Any, x: torch.Tensor) -> Any:
    model.calls += 1
    return (model.last(model.conv(x)),) * (1 + model.calls % 2)


@pytest.mark.parametrize("change", [overwrites, counts, caches, alternates])
def test_each_run_starts_from_the_same_input_and_state(change: Callable[[Any, torch.Tensor], Any]) -> None:
    model, image = Stateful(change), torch.randn(1, 2, 4, 4)
    altered, before = copy.deepcopy(model), image.clone()
    altered.conv = nn.Conv2d(2, 2, 1)
    errors = dict(output_errors(model, altered, ["conv", "last"], ((image,), {})))
    assert errors["last"] == 0  # it is equal
    assert errors["conv"] == errors[None]
    assert isinstance(errors["conv"], float)
    assert errors["conv"] > 0
    assert torch.equal(image, before)
    assert (altered.calls, altered.state_dict()["runs"].item(), altered.cache) == (0, 0, None)


def test_a_model_that_never_gives_the_same_output_twice_has_no_error() -> None:
    runs: list[int] = []

    def forward(model: Any, x: torch.Tensor) -> Any:
        runs.append(1)
        return model.conv(x) * len(runs)

    model = Stateful(forward)
    errors = dict(output_errors(model, copy.deepcopy(model), ["conv"], ((torch.randn(1, 2, 4, 4),), {})))
    assert set(errors.values()) == {"differs between two runs of the model itself"}


@dataclass
class Output:
    """What a model may return, unknown to torch's trees."""

    number: int
    image: torch.Tensor


@pytest.mark.parametrize(
    "kind", [partial(Output, 1), lambda y: torch.complex(y, y), lambda y: {"a": [SimpleNamespace(y=y)]}]
)
def test_numbers_are_compared_whatever_holds_them(kind: Callable[[torch.Tensor], Any]) -> None:
    model, image = Stateful(lambda model, x: kind(model.conv(x))), torch.randn(1, 2, 4, 4)
    altered = copy.deepcopy(model)
    altered.conv = nn.Conv2d(2, 2, 1)
    with torch.no_grad():
        expected, output = model.conv(image), altered.conv(image)
    errors = dict(output_errors(model, altered, ["conv"], ((image,), {})))
    assert errors["conv"] == pytest.approx(float((output - expected).norm() / expected.norm()), rel=1e-5)

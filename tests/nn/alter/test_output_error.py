"""Errors of outputs, against the models run by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from convcost.nn.alter.output_error import has_values, output_errors, random_inputs, relative_error
from convcost.text.errors import ConvcostError


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


def test_an_error_that_is_no_finite_number_is_none() -> None:
    assert relative_error([torch.ones(2)], [torch.zeros(2)]) is None
    assert relative_error([torch.tensor([float("nan")])], [torch.ones(1)]) is None
    assert relative_error([torch.tensor([float("inf")])], [torch.ones(1)]) is None
    assert relative_error([torch.ones(1), torch.tensor([3.0])], [torch.ones(1), torch.tensor([0.0])]) == 3.0


def test_a_forward_pass_that_raises_is_one_line_with_the_next_step() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Linear(3, 3))
    with pytest.raises(ConvcostError, match=r"^the model could not run to compare its output: .*; change the input\.$"):
        list(output_errors(model, copy.deepcopy(model), ["0"], ((torch.randn(1, 2, 4, 4),), {})))

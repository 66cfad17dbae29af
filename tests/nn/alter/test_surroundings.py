"""Between the stages of a block stands what follows the convolution in the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from zoo import Lambda

import convcost

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = torch.zeros(1, 8, 9, 9)


def between(model: nn.Module, name: str = "a", **rules: Any) -> list[str]:
    """The modules of the block in the place of a layer."""
    new, _ = convcost.replace(model, IMAGE, to="depthwise-separable", only=f"^{name}$", **rules)
    return [type(part).__name__ for part in new.get_submodule(name).children()]


def net(run: Callable[..., torch.Tensor], **parts: nn.Module) -> nn.Module:
    return Lambda(run, a=nn.Conv2d(8, 8, 3, padding=1, bias=False), **parts)


RELU = ["Conv2d", "ReLU", "Conv2d"]
BOTH = ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d"]
ALONE = ["Conv2d", "Conv2d"]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda m, x: m.a(x), ALONE),
        (lambda m, x: m.relu(m.norm(m.a(x))), BOTH),
        (lambda m, x: m.relu(m.a(x)), RELU),
        (lambda m, x: functional.relu(m.a(x)), RELU),
        (lambda m, x: functional.relu_(m.a(x)), RELU),
        (lambda m, x: functional.relu(m.a(x), inplace=True), RELU),
        (lambda m, x: m.a(x).relu(), RELU),
        (lambda m, x: torch.relu_(m.norm(m.a(x))), BOTH),
        (lambda m, x: m.norm(m.a(x)), ["Conv2d", "BatchNorm2d", "Conv2d"]),
        (lambda m, x: m.norm(m.relu(m.a(x))), RELU),  # the normalisation of another tensor
        (lambda m, x: m.norm(functional.relu_(m.a(x))), RELU),
        (lambda m, x: m.relu(m.a(x) + x), ALONE),  # the activation of a sum
        (lambda m, x: m.relu(m.norm(m.a(x)) + x), ["Conv2d", "BatchNorm2d", "Conv2d"]),
        (lambda m, x: m.a(m.relu(m.norm(x))), ALONE),  # what comes before
        (lambda m, x: nn.ReLU6()(m.a(x)), ["Conv2d", "ReLU6", "Conv2d"]),
        (lambda m, x: functional.relu6(m.a(x)), ["Conv2d", "ReLU6", "Conv2d"]),
        (lambda m, x: functional.hardtanh(m.a(x), 0.0, 6.0), ["Conv2d", "ReLU6", "Conv2d"]),
        (lambda m, x: functional.hardtanh(m.a(x)), ALONE),
        (lambda m, x: nn.SiLU(inplace=True)(m.a(x)), ["Conv2d", "SiLU", "Conv2d"]),
        (lambda m, x: nn.Hardswish()(m.a(x)), ["Conv2d", "Hardswish", "Conv2d"]),
        (lambda m, x: functional.gelu(m.a(x)), ["Conv2d", "GELU", "Conv2d"]),
        (lambda m, x: functional.relu(input=m.norm(input=m.a(input=x))), BOTH),
        (lambda m, x: functional.gelu(m.a(x), approximate="tanh"), ALONE),
        (lambda m, x: m.relu(m.a(x).add_(x)), ALONE),  # the activation of a sum, in place
        (lambda m, x: m.relu(m.norm(m.a(x)).add_(x)), ["Conv2d", "BatchNorm2d", "Conv2d"]),
        (lambda m, x: m.relu(functional.leaky_relu_(m.a(x))), ALONE),
        (lambda m, x: m.norm(nn.LeakyReLU()(m.a(x))), ALONE),  # the normalisation of an activation
        (lambda m, x: m.norm(nn.ReLU(inplace=True)(m.a(x))), RELU),
        (lambda m, x: m.relu(m.norm(m.a(x)).mul_(2)), ["Conv2d", "BatchNorm2d", "Conv2d"]),
        (lambda m, x: sum(part(y) for y in [m.a(x)] for part in (m.relu, m.norm)), RELU),  # side by side, not one after the other
        (lambda m, x: sum(part(y) for y in [m.a(x)] for part in (m.norm, m.relu)), ["Conv2d", "BatchNorm2d", "Conv2d"]),
        (lambda m, x: m.norm(m.a(m.relu(m.a(x)))), RELU),  # the first call decides
        (lambda m, x: m.relu(m.a(x + torch.rand(1))), RELU),  # made on the device of the count
    ],
)  # fmt: skip
def test_the_stages_are_followed_as_the_layer_is(run: Callable[..., torch.Tensor], expected: list[str]) -> None:
    model = net(run, norm=nn.BatchNorm2d(8), relu=nn.ReLU())
    assert between(model) == expected
    assert between(model, between=False) == ALONE


def test_the_normalisation_has_the_numbers_of_the_networks_own() -> None:
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16, eps=0.5, momentum=None), nn.ReLU())
    new, _ = convcost.replace(model, IMAGE, to="depthwise-separable")
    norm = new.get_submodule("0.depthwise_norm")
    assert isinstance(norm, nn.BatchNorm2d)
    assert (norm.num_features, norm.eps, norm.momentum) == (8, 0.5, None)


def test_what_no_block_has_between_its_stages_is_noted() -> None:
    model = nn.Sequential(
        nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.LeakyReLU(),
        nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.LeakyReLU(inplace=True), nn.Conv2d(8, 8, 1), nn.Tanh(),
        nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8, affine=False),
    )  # fmt: skip
    new, result = convcost.replace(model, IMAGE, to="depthwise-separable")
    assert result.notes == (
        "GroupNorm follows 0 and 1 more, and does not stand between the stages of the block there: no block has one.",
        "LeakyReLU follows 6, and does not stand between the stages of the block there: no block has one.",
        "BatchNorm2d without weights follows 11, and does not stand between the stages of the block there: no block has "
        "one.",
    )
    blocks = [[type(part).__name__ for part in new.get_submodule(name).children()] for name in ("0", "3", "6")]
    assert blocks == [RELU, ALONE, ["Conv2d", "BatchNorm2d", "Conv2d"]]
    assert convcost.replace(model, IMAGE, to="depthwise-separable", between=False)[1].notes == ()


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda m, x: functional.leaky_relu(m.a(x)), "leaky_relu()"),
        (lambda m, x: functional.gelu(m.a(x), approximate="tanh"), "gelu()"),
        (lambda m, x: functional.hardtanh(input=m.a(x)), "hardtanh()"),
        (lambda m, x: functional.group_norm(m.a(x), 2), "group_norm()"),
    ],
)
def test_functions_that_no_block_has_are_noted(run: Callable[..., torch.Tensor], name: str) -> None:
    _, result = convcost.replace(net(run), IMAGE, to="depthwise-separable")
    (note,) = result.notes
    assert note.startswith(f"{name} follows a, ")


def test_each_layer_has_its_own() -> None:
    model = Lambda(lambda m, x: m.b(m.relu(m.a(x))), a=nn.Conv2d(8, 8, 3), b=nn.Conv2d(8, 8, 3), relu=nn.ReLU())
    assert between(model, "a") == RELU
    assert between(model, "b") == ALONE


def test_between_counts_in_parameters_and_not_in_macs() -> None:
    model = nn.Sequential(nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    with_norm, without = (
        convcost.replace(model, IMAGE, to="depthwise-separable", between=between)[1].layers[0]
        for between in (True, False)
    )
    assert with_norm.params_after == without.params_after + 2 * 8 == 8 * 9 + 8 * 16 + 2 * 8
    assert with_norm.macs_after == without.macs_after == 49 * (8 * 9 + 8 * 16)

"""Hyper-parameters of layers that differ between two models, in words."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import convcost

if TYPE_CHECKING:
    from collections.abc import Callable

conv = partial(nn.Conv2d, 8, 16, 3, padding=1)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (conv(), conv(padding_mode="reflect"), "padding_mode zeros → reflect"),
        (conv(padding_mode="circular"), conv(padding_mode="reflect"), "padding_mode circular → reflect"),
        (conv(), nn.Conv2d(8, 16, 5, padding=2, padding_mode="reflect"), "kernel 3x3 → 5x5, padding 1x1 → 2x2, padding_mode zeros → reflect"),
        (conv(), conv(bias=False), "bias removed"),
        (conv(bias=False), conv(), "bias added"),
        (nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), "kernel_size 2 → 3, padding 0 → 1"),
        (nn.MaxPool2d(2), nn.MaxPool2d((2, 2)), None),
        (nn.MaxPool2d(2), nn.MaxPool2d((2, 4), 2, (0, 1)), "kernel_size 2 → 2x4, padding 0 → 0x1"),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2), "negative_slope 0.1 → 0.2"),
        (nn.ReLU(), nn.ReLU(inplace=True), None),
        (nn.GroupNorm(2, 8), nn.GroupNorm(4, 8), "num_groups 2 → 4"),
        (nn.Linear(9, 4), nn.Linear(9, 4, bias=False), "bias removed"),
        (nn.Linear(9, 4), nn.Linear(9, 5), "out_features 4 → 5"),
        (nn.ReLU(), nn.ReLU6(), "ReLU → ReLU6"),
    ],
    ids=str,
)  # fmt: skip
def test_what_differs_is_named(one: nn.Module, other: nn.Module, what: str | None) -> None:
    result = convcost.diff(nn.Sequential(one), nn.Sequential(other), torch.zeros(1, 8, 9, 9))
    (row,) = result.layers
    assert (row.change, row.what) == (("changed", what) if what else ("same", ""))


@pytest.mark.torch
def test_a_changed_layer_under_another_name_has_both_words() -> None:
    def network(name: str, make: Callable[[], nn.Module]) -> nn.Module:
        model = nn.Sequential(conv(bias=False))
        model.add_module(name, make())
        return model

    one, other = network("a", nn.MaxPool2d(2).train), network("b", nn.MaxPool2d(2, ceil_mode=True).train)
    result = convcost.diff(one, other, torch.zeros(1, 8, 8, 8))
    assert [row.what for row in result.differing] == ["renamed from a; ceil_mode False → True"]

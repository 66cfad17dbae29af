"""What optimised scripts run unseen is listed as uncounted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convcost

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

IMAGE = torch.zeros(1, 3, 8, 8)


class Branching(nn.Module):
    """A convolution in each branch, and one after."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Branch on a value."""
        x = self.conv(x) if x.sum() > 0 else self.conv(2 * x)
        return self.conv(x)


def optimised(model: nn.Module) -> nn.Module:
    return torch.jit.optimize_for_inference(torch.jit.script(model.eval()))


def test_convolutions_of_a_script_optimised_for_inference_are_listed() -> None:
    model = optimised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5)))
    report = convcost.count(model, IMAGE, cross_check=True)
    assert report.totals.macs == 144 * 5
    assert [(one.op, one.calls) for one in report.uncounted] == [("prim.mkldnn_convolution", 1)]


def test_they_are_listed_inside_a_larger_model_and_in_branches() -> None:
    report = convcost.count(nn.Sequential(optimised(Branching())), IMAGE)
    assert [(one.op, one.calls, one.where) for one in report.uncounted] == [("prim.mkldnn_convolution", 3, ("0",))]


def test_a_group_that_onednn_compiles_is_listed() -> None:
    torch.jit.enable_onednn_fusion(True)
    try:
        with torch.no_grad():
            model = torch.jit.freeze(torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), IMAGE))
            for _ in range(3):
                model(IMAGE)
        uncounted = convcost.count(model, IMAGE, device="cpu").uncounted
    finally:
        torch.jit.enable_onednn_fusion(False)
    assert [one.op for one in uncounted] == ["prim.oneDNNFusionGroup"]


def test_a_plain_script_has_nothing_unseen() -> None:
    report = convcost.count(torch.jit.script(Branching().eval()), IMAGE, device="cpu")
    assert report.totals.macs == 2 * 3 * 3 * 8 * 8
    assert not report.uncounted

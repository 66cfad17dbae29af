"""Where the time of a model's convolutions goes: one account a distinct layer, on one to three axes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from convcost.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timing

MODEL = """\
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Conv1d(4, 32, 3, padding=1)
        self.twice = torch.nn.Conv1d(32, 32, 3, padding=1, groups=4)
        self.plane = torch.nn.Conv2d(32, 16, 3, stride=2, padding=1)
        self.up = torch.nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.room = torch.nn.Conv3d(8, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, 10)

    def forward(self, x):
        x = self.twice(self.twice(self.line(x)))
        x = self.up(self.plane(x.unflatten(2, (16, 16))))
        x = self.room(x.unflatten(3, (4, 4)))
        return self.head(x.mean((2, 3, 4)))
"""


@pytest.fixture
def result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    path = tmp_path / "net.py"
    path.write_text(MODEL, encoding="utf-8")
    words = ["model", f"{path}:Net", "--input", "1x4x256", "--no-cross-check", "--time", "--time-budget", "1", "--why"]
    assert main([*words, "--format", "json"]) == 0
    streams = capsys.readouterr()
    assert "other layers have no account" in streams.err
    return dict(json.loads(streams.out))


def test_every_convolution_has_an_account_that_sums_to_its_time_and_nothing_else_has_one(
    result: dict[str, Any],
) -> None:
    layers = {layer["name"]: layer for layer in result["layers"]}
    with_account = {name for name, layer in layers.items() if layer["account"] is not None}
    assert with_account == {"line", "twice", "twice#2", "plane", "up", "room"}
    for name in with_account:
        parts = layers[name]["account"]
        assert sum(part["seconds"] for part in parts) == pytest.approx(layers[name]["time_s"])
        assert all(part["kernel"] for part in parts if part["part"] in {"convolution", "native"})
    assert layers["twice"]["account"] == layers["twice#2"]["account"]


def test_onednn_agrees_with_convolutions_on_one_to_three_axes_and_transposed_ones(result: dict[str, Any]) -> None:
    seen = {layer["name"]: layer["onednn_agrees"] for layer in result["layers"] if layer["account"] is not None}
    assert False not in seen.values()
    assert not any("oneDNN" in (layer["warning"] or "") for layer in result["layers"])


def test_why_without_times_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "network:mobilenet_v1", "--why"]) == 2
    assert capsys.readouterr().err == "error: --why must have times to account for; add --time.\n"


def test_the_text_names_layers_that_share_an_account_once(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model", "network:mobilenet_v1", "--input", "1x3x64x64", "--no-cross-check", "--time"]
    assert main([*words, "--time-budget", "1.5", "--why", "--top", "5", "--sort", "params"]) == 0
    out = capsys.readouterr().out
    assert "where " in out
    assert out.count("  overhead ") == out.count(": where ")

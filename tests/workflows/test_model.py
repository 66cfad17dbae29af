"""`model --time --why`: each layer under its own dtype and memory format; an account only where one stands for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from convcost.cli import main
from convcost.nn.explain.answer import Explainer
from convcost.timing.onednn import Agreement

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timing

MODELS = """
import torch
from torch import nn


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(8, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1).double()

    def forward(self, x):
        return self.b(self.a(x).double())


class Standardised(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


def last():
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()).to(memory_format=torch.channels_last)


def two():
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1))


def hooked():
    model = nn.Sequential(nn.Conv2d(8, 8, 3))
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    return model


def standardised():
    return nn.Sequential(Standardised(8, 8, 3))


def circular():
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"))
"""


@pytest.fixture
def why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    (tmp_path / "nets.py").write_text(MODELS, encoding="utf-8")

    def run(name: str, *words: str) -> tuple[int, dict[str, Any], str]:
        target = [f"{tmp_path / 'nets.py'}:{name}", "--input", "1x8x12x12"]
        how = ["--time", "--why", "--time-budget", "0.4", "--no-cross-check", "--no-store", "--format", "json"]
        code = main(["model", *target, *how, *words])
        streams = capsys.readouterr()
        return code, json.loads(streams.out), streams.err

    return run


def layers(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["layers"]}


def test_layers_that_differ_in_dtype_alone_are_timed_and_looked_into_apart(why: Any) -> None:
    code, result, _ = why("Mixed")
    rows = layers(result)
    assert code == 0
    assert (rows["a"]["dtype"], rows["b"]["dtype"]) == ("float32", "float64")
    assert rows["a"]["time_s"] != rows["b"]["time_s"]
    assert rows["a"]["account"] != rows["b"]["account"]
    assert result["timing"]["dtype"] == "mixed"
    assert {row["device"] for row in rows.values() if row["time_s"]} == {"cpu"}


def test_a_channels_last_layer_is_looked_into_as_it_lies_in_memory(why: Any) -> None:
    code, result, _ = why("last")
    row = layers(result)["0"]
    assert code == 0
    assert row["memory_format"] == result["timing"]["memory_format"] == "channels_last"
    assert row["onednn_agrees"] is not False
    assert "channels_last would" not in (row["hint"] or "")


@pytest.mark.parametrize("name", ["standardised", "hooked", "circular"])
def test_a_layer_that_may_do_more_than_convolve_has_no_account_and_says_so(why: Any, name: str) -> None:
    code, result, err = why(name)
    row = layers(result)["0"]
    assert code == 0
    assert row["time_s"] > 0
    assert (row["account"], row["hint"]) == (None, None)
    assert "may do more than convolve" in row["warning"]
    assert "note: 0: no account: this " in err


def test_a_layer_that_is_another_for_onednn_fails_the_command(why: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    explain = Explainer.explain

    def of_another(self: Explainer, *args: Any) -> Any:
        answer: Any = explain(self, *args)
        other = Agreement(False, ("0: groups 1 here, 2 for oneDNN",), 1, 1)
        return replace(answer, account=replace(answer.account, agreement=other))

    monkeypatch.setattr(Explainer, "explain", of_another)
    code, result, _ = why("two")
    assert code == 1
    assert layers(result)["0"]["onednn_agrees"] is False


def test_an_interrupt_keeps_every_time_and_the_accounts_that_are_done(
    why: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain, calls = Explainer.explain, []

    def until_the_second(self: Explainer, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return explain(self, *args)

    monkeypatch.setattr(Explainer, "explain", until_the_second)
    code, result, err = why("two")
    rows = layers(result)
    assert code == 130
    assert all(row["time_s"] > 0 for row in rows.values())
    assert rows["0"]["account"] is not None
    assert rows["1"]["account"] is None
    assert "interrupted: what was not measured yet is left empty." in err

"""A model under the clock: which rows get a time, and what is said. No time is asserted."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from convcost.cli import main
from convcost.errors import ConvcostError
from convcost.nn.measure_model import measure_model
from convcost.timing import TimingOptions

pytestmark = pytest.mark.timing

OPTIONS = TimingOptions(("cpu",), time_budget=1.0)


def test_layers_of_one_kind_on_one_shape_share_a_timing() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 4))
    timed = measure_model(model, (torch.zeros(2, 8),), {}, OPTIONS)
    assert set(timed.layers) == {"0", "1", "2", "3"}
    assert timed.distinct == 3
    assert timed.layers["0"] == timed.layers["2"]
    assert timed.whole.time_s > 0
    assert timed.explained == sum(t.time_s for t in timed.layers.values()) / timed.whole.time_s


def test_no_hooks_are_left() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    measure_model(model, (torch.zeros(2, 8),), {}, OPTIONS)
    assert not model[0]._forward_hooks  # noqa: SLF001 - the only way to see them


def test_a_second_call_has_a_row_of_its_own() -> None:
    layer = nn.Linear(8, 8)
    timed = measure_model(nn.Sequential(layer, layer), (torch.zeros(2, 8),), {}, OPTIONS)
    assert set(timed.layers) == {"0", "0#2"}


def test_a_model_that_does_not_run_is_one_line() -> None:
    with pytest.raises(ConvcostError, match=r"^the model could not run: .*; change --input\.$"):
        measure_model(nn.Linear(8, 8), (torch.zeros(2, 7),), {}, OPTIONS)


def test_the_command_fills_the_times_in(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model", "network:mobilenet_v1", "--arg", "alpha=0.25", "--arg", "resolution=64", "--no-cross-check"]
    assert main([*words, "--time", "--time-budget", "2", "--time-device", "cpu", "--format", "json"]) == 0
    streams = capsys.readouterr()
    payload = json.loads(streams.out)
    assert all(layer["time_s"] > 0 for layer in payload["layers"] if layer["op"] == "Conv2d")
    assert payload["timing"]["device"] == "cpu"
    assert payload["timing"]["explained_share"] > 0
    assert "the layers alone add up to" in streams.err


def test_times_must_be_there_to_sort_by(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "network:mobilenet_v1", "--no-cross-check", "--sort", "time"]) == 2
    assert capsys.readouterr().err == "error: sort (=time) must have times to sort by; add --time.\n"

"""A model under the clock: which rows get a time, and what is said. No time is asserted."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from convcost.cli import main
from convcost.nn.measure import session as session_home
from convcost.nn.measure.models import measure_forwards, measure_model
from convcost.text.errors import ConvcostError
from convcost.timing.conditions import TimingOptions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timing

OPTIONS = TimingOptions(("cpu",), time_budget=1.0)


def test_layers_of_one_kind_on_one_shape_share_a_timing() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 4))
    timed = measure_model(model, (torch.zeros(2, 8),), {}, OPTIONS)
    assert set(timed.layers) == {"0", "1", "2", "3"}
    assert len(set(timed.kinds.values())) == 3
    assert timed.layers["0"] == timed.layers["2"]
    assert timed.whole.time_s > 0


def test_no_hooks_are_left() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    measure_model(model, (torch.zeros(2, 8),), {}, OPTIONS)
    assert not model[0]._forward_hooks


def test_a_second_call_has_a_row_of_its_own() -> None:
    layer = nn.Linear(8, 8)
    timed = measure_model(nn.Sequential(layer, layer), (torch.zeros(2, 8),), {}, OPTIONS)
    assert set(timed.layers) == {"0", "0#2"}


def test_a_model_that_does_not_run_is_one_line() -> None:
    with pytest.raises(ConvcostError, match=r"^the model could not run: .*; change the input\.$"):
        measure_model(nn.Linear(8, 8), (torch.zeros(2, 7),), {}, OPTIONS)


@pytest.mark.parametrize("raised", [SystemExit("no"), BaseException("no"), KeyError("no")])
def test_whatever_a_timed_forward_raises_is_one_line(raised: BaseException) -> None:
    class Ends(nn.Module):
        def forward(self, _: torch.Tensor) -> None:
            print("hello")  # noqa: T201 - what the user's own forward may do
            raise raised

    where = rf"{re.escape(__file__)}:\d+"
    said = (
        rf"^the model could not run: {type(raised).__name__}: '?no'? at {where}; mend it there, or change the input\.$"
    )
    forward: tuple[nn.Module, tuple[Any, ...], dict[str, Any]] = (Ends(), (torch.zeros(2, 7),), {})
    with pytest.raises(ConvcostError, match=said):
        measure_model(*forward, OPTIONS)
    with pytest.raises(ConvcostError, match=said):
        measure_forwards(forward, None, OPTIONS)


def test_the_command_fills_the_times_in(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model", "network:mobilenet_v1", "--arg", "alpha=0.25", "--arg", "resolution=64", "--no-cross-check"]
    assert main([*words, "--time", "--time-budget", "2", "--time-device", "cpu", "--format", "json"]) == 0
    streams = capsys.readouterr()
    payload = json.loads(streams.out)
    assert all(layer["time_s"] > 0 for layer in payload["layers"] if layer["op"] == "Conv2d")
    assert payload["timing"]["device"] == "cpu"
    added = sum(layer["time_s"] or 0.0 for layer in payload["layers"])
    assert payload["timing"]["explained_share"] == added / payload["timing"]["time_s"]
    assert "the layers alone add up to" in streams.err


def test_times_must_be_there_to_sort_by(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "network:mobilenet_v1", "--no-cross-check", "--sort", "time"]) == 2
    assert capsys.readouterr().err == "error: sort (=time) must have times to sort by; turn time on.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--allocator", "jemalloc"], "allocator (=jemalloc) must be one of pinned, default."),
        (
            ["--time-budget", "-1"],
            "time_budget (=-1.0) must be a number of seconds above 0; leave it out for the default.",
        ),
        (["--threads", "0"], "threads (=0) must be 1 or more, or all."),
        (["--time-device", "tpu"], "device (=tpu) must be cpu, cuda, cuda:1, mps or auto."),
    ],
)
def test_illegal_timing_options_are_refused_before_anything_is_counted(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["model", "network:mobilenet_v1", "--time", *words]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == f"error: {message}\n"


def test_ctrl_c_while_timing_keeps_what_was_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(session_home, "interleave", interrupted)
    out = tmp_path / "model.json"
    words = ["model", "network:mobilenet_v1", "--arg", "alpha=0.25", "--no-cross-check", "--time"]
    assert main([*words, "--time-budget", "1", "--export", str(out)]) == 130
    assert "interrupted: what was not measured yet is left empty." in capsys.readouterr().err
    payload = json.loads(out.read_text(encoding="utf-8"))
    assert payload["totals"]["macs"] == 41_030_272
    assert payload["timing"] is None
    assert {layer["time_s"] for layer in payload["layers"]} == {None}


def test_parts_of_a_parametrised_layer_are_not_added_to_it_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = "from torch import nn\ndef net():\n    return nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))\n"
    (tmp_path / "normed.py").write_text(source, encoding="utf-8")
    words = ["model", f"{tmp_path / 'normed.py'}:net", "--input", "2x8", "--no-cross-check", "--time"]
    assert main([*words, "--time-budget", "1", "--format", "json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert [layer["time_s"] is None for layer in payload["layers"]].count(False) == 1
    added = sum(layer["time_s"] or 0.0 for layer in payload["layers"])
    assert payload["timing"]["explained_share"] == added / payload["timing"]["time_s"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_model_is_timed_as_a_whole_and_beside_layers_that_have_rows() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    assert measure_model(scripted, [torch.zeros(1, 3, 8, 8)], {}, OPTIONS).layers == {}
    mixed = nn.Sequential(nn.Conv2d(3, 3, 1), scripted)
    assert measure_model(mixed, [torch.zeros(1, 3, 8, 8)], {}, OPTIONS).layers.keys() == {"0"}

"""Replacements under a made clock: what is timed, what is said, which set is the fastest. No time is measured."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import convcost
from convcost.cli import main
from convcost.nn.measure import side_by_side
from convcost.timing.conditions import Conditions
from convcost.timing.measured import Kind, ModelTiming, PairTiming
from convcost.timing.statistics import Sample, Series, Timing, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from convcost.timing.conditions import TimingOptions

pytestmark = pytest.mark.torch

MS = 1e-3
NET = """
from torch import nn


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)

    def forward(self, x):
        return self.conv(self.conv(x))


def net():
    first, second = (nn.Conv2d(c, 16, 3, padding=1, bias=False) for c in (8, 16))
    return nn.Sequential(first, nn.ReLU(), second)


def one():
    return nn.Conv2d(8, 16, 3, padding=1)
"""
CONV, SEPARABLE, GROUPED = "conv", "depthwise-separable", "grouped"
SECONDS = {
    "0": {CONV: 4 * MS, SEPARABLE: 1 * MS, GROUPED: 2 * MS},
    "2": {CONV: 4 * MS, SEPARABLE: 8 * MS, GROUPED: 3 * MS},
}
"""Seconds of each layer, and of each block in its place; of a layer not listed, those of "0"."""
KIND = Kind("a layer", ("float32",), "contiguous", "contiguous", True, None)
ELSE_S = 2 * MS
"""Seconds of the rest of each model."""


def kind_of(module: nn.Module) -> str:
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    if len(convolutions) > 1:
        return SEPARABLE
    return CONV if convolutions[0].groups == 1 else GROUPED


def seconds_of(model: nn.Module, name: str) -> float:
    part = dict(model.named_modules()).get(name, model)
    return SECONDS.get(name, SECONDS["0"])[kind_of(part)]


def series(seconds: float) -> Series:
    return Series(seconds, tuple(Sample(number, seconds, 10, clean=True, faults=0.0) for number in range(20)))


def pair_of(before: float, after: float) -> tuple[Timing, Timing]:
    timed = summarise({"a": series(before), "b": series(after)}, dict.fromkeys(range(20), MS), "a", pinned=True)
    return timed["a"], timed["b"]


class MadeClock:
    """Stands in for `measure_side_by_side`, and keeps the pairs and the budget of each run."""

    def __init__(self) -> None:
        self.runs: list[tuple[list[tuple[str | None, str | None]], float]] = []

    def __call__(
        self,
        models: tuple[tuple[nn.Module, Any, Any], tuple[nn.Module, Any, Any]],
        pairs: Sequence[tuple[str | None, str | None]],
        options: TimingOptions,
        progress: object,
        **_: float,
    ) -> PairTiming:
        del progress
        a, b = models[0][0], models[1][0]
        self.runs.append((list(pairs), options.time_budget))
        conditions = Conditions("cpu", "float32", 1, "contiguous", False, "pinned", "2.13.0", "a CPU")
        times = {(x, y): pair_of(seconds_of(a, x), seconds_of(b, y)) for x, y in pairs if x and y}
        before, after = (ELSE_S + sum(one[side].time_s for one in times.values()) for side in (0, 1))
        wholes = pair_of(before, after)
        layers_a = {x: one[0] for (x, _), one in times.items()}
        layers_b = {y: one[1] for (_, y), one in times.items()}
        return PairTiming(
            ModelTiming(conditions, wholes[0], layers_a, ("a note on the machine",), dict.fromkeys(layers_a, KIND)),
            ModelTiming(conditions, wholes[1], layers_b, ("a note on the machine",), dict.fromkeys(layers_b, KIND)),
            {names: one[1] for names, one in times.items()},
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MadeClock:
    made = MadeClock()
    monkeypatch.setattr(side_by_side, "measure_side_by_side", made)
    return made


def replaced(folder: Path, capsys: pytest.CaptureFixture[str], *words: str, factory: str = "net") -> dict[str, Any]:
    (folder / "models.py").write_text(NET, encoding="utf-8")
    target = f"{folder / 'models.py'}:{factory}"
    assert main(["replace", target, "--input", "1x8x8x8", "--no-cross-check", "--format", "json", *words]) == 0
    payload: dict[str, Any] = json.loads(capsys.readouterr().out)
    return payload


def test_each_layer_has_its_speed_up_and_verdict(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    payload = replaced(tmp_path, capsys, "--to", SEPARABLE, "--time")
    first, second = payload["layers"]
    assert (first["time_before_s"], first["time_after_s"], first["speedup"]) == (4 * MS, 1 * MS, 4.0)
    assert (first["verdict"], second["verdict"]) == ("faster", "slower")
    assert payload["time"]["a_s"] == pytest.approx(ELSE_S + 4 * MS + 4 * MS)
    assert payload["time"]["b_s"] == pytest.approx(ELSE_S + 1 * MS + 8 * MS)
    assert payload["time"]["speedup"] == pytest.approx(10 / 11)
    assert payload["time"]["speedup_low"] < 10 / 11 < payload["time"]["speedup_high"]
    assert payload["pareto"] is None
    assert clock.runs == [([("0", "0"), ("2", "2")], 8.0)]


def test_the_verdict_names_the_promise_the_clock_and_the_layer_that_ate_the_difference(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Per position: 8 x 9 x 16 = 1152 and 16 x 9 x 16 = 2304 MACs become 8 x (9 + 16) = 200 and 16 x (9 + 16) = 400.

    So the layers of 4 ms promise 4 x 200 / 1152 ms each, with 2 ms for the rest: 3.39 ms.
    """
    (tmp_path / "models.py").write_text(NET, encoding="utf-8")
    words = ["replace", f"{tmp_path / 'models.py'}:net", "--input", "1x8x8x8", "--no-cross-check", "--to", SEPARABLE]
    assert main([*words, "--time"]) == 0
    streams = capsys.readouterr()
    assert (
        "formula: 5.8x fewer MACs, so 3.0x the speed if each layer's time followed its MACs; "
        "clock: 0.91x the speed (0.87–0.95), 10.0 ms → 11.0 ms; "
        "7.61 ms more than the formula promised: 2 7.31 ms"
    ) in streams.out
    assert "each layer alone, its block against it: 1 faster, 1 slower" in streams.out
    assert streams.err.count("a note on the machine") == 1
    assert clock.runs


def test_the_fastest_set_leaves_out_what_does_not_pay(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    payload = replaced(tmp_path, capsys, "--to", SEPARABLE, "--time", "--pareto")
    fastest = payload["pareto"]["fastest"]
    assert fastest["blocks"] == {"0": SEPARABLE}
    assert fastest["only"] == {SEPARABLE: "^(0)$"}
    assert fastest["params"] == 8 * 9 + 8 * 16 + 16 * 9 * 16
    assert fastest["macs"] == (8 * 9 + 8 * 16 + 16 * 9 * 16) * 64
    assert fastest["time_s"] == pytest.approx(ELSE_S + 1 * MS + 4 * MS)
    assert [row["fastest"] for row in payload["layers"]] == [SEPARABLE, "as it is"]
    assert len(clock.runs) == 1


def test_a_limit_takes_a_slower_block(clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Kept, the second layer alone has 2304 parameters."""
    payload = replaced(tmp_path, capsys, "--to", SEPARABLE, "--time", "--pareto", "--max-params", "2k")
    assert payload["pareto"]["max_params"] == 2000
    assert payload["pareto"]["fastest"]["blocks"] == {"0": SEPARABLE, "2": SEPARABLE}
    assert payload["pareto"]["cost"] == "params"
    assert len(clock.runs) == 1


def test_of_several_blocks_each_layer_takes_the_one_that_pays(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    payload = replaced(tmp_path, capsys, "--to", SEPARABLE, "--to", GROUPED, "--time", "--pareto")
    assert payload["pareto"]["fastest"]["blocks"] == {"0": SEPARABLE, "2": GROUPED}
    assert payload["pareto"]["fastest"]["time_s"] == pytest.approx(ELSE_S + 1 * MS + 3 * MS)
    options = payload["pareto"]["layers"]["0"]
    assert [one["block"] for one in options] == [None, SEPARABLE, GROUPED]
    assert [one["macs"] for one in options[:2]] == [64 * 8 * 16 * 9, 64 * (8 * 9 + 8 * 16)]
    assert options[1]["time_s"] == pytest.approx(1 * MS)
    both = [("0", "0"), ("2", "2")]
    assert clock.runs == [(both, 4.0), (both, 4.0)]


def test_limits_out_of_reach_are_refused_before_the_clock_runs(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "models.py").write_text(NET, encoding="utf-8")
    words = ["replace", f"{tmp_path / 'models.py'}:net", "--input", "1x8x8x8", "--no-cross-check", "--to", SEPARABLE]
    assert main([*words, "--time", "--pareto", "--max-params", "599"]) == 2
    streams = capsys.readouterr()
    least = 8 * 9 + 8 * 16 + 16 * 9 + 16 * 16
    assert streams.out == ""
    assert streams.err.splitlines()[-1] == (
        f"error: max_params (=599) must be at least {least}, the smallest that the replacements reach; raise it, or "
        "allow more blocks or layers."
    )
    assert clock.runs == []


def test_a_layer_that_is_called_twice_counts_twice_in_the_set(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    payload = replaced(tmp_path, capsys, "--to", SEPARABLE, "--time", "--pareto", factory="Twice")
    (row,) = payload["layers"]
    assert (row["calls"], row["time_before_s"]) == (2, 4 * MS)
    saved = payload["time"]["a_s"] - payload["pareto"]["fastest"]["time_s"]
    assert saved == pytest.approx(2 * (4 * MS - 1 * MS))
    assert clock.runs[0][0] == [("conv", "conv")]


def test_a_model_that_is_one_convolution_is_timed_beside_the_block(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (row,) = replaced(tmp_path, capsys, "--to", SEPARABLE, "--time", factory="one")["layers"]
    assert (row["name"], row["speedup"]) == ("Conv2d", 4.0)
    assert clock.runs[0][0] == [("Conv2d", "Sequential")]


def test_rows_are_sorted_by_the_time_that_they_save(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "models.py").write_text(NET, encoding="utf-8")
    words = ["replace", f"{tmp_path / 'models.py'}:net", "--input", "1x8x8x8", "--no-cross-check", "--to", SEPARABLE]
    assert main([*words, "--time", "--sort", "time", "--format", "csv", "--columns", "name"]) == 0
    assert capsys.readouterr().out.split() == ["name", "0", "2"]
    assert clock.runs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--why"], "--why must have times to account for; add --time."),
        (["--pareto"], "--pareto must have times to weigh; add --time."),
        (["--time", "--max-macs", "3k"], "max_macs (=3k) limits the fastest set of replacements; add --pareto."),
        (["--time", "--pareto", "--max-params", "x"], 'max_params (=x) must be a number of parameters of at least 0 and at most 40 digits; write it as "4.3 M".'),
        (["--sort", "time"], "sort (=time) must have times to sort by; turn time on."),
        (["--time", "--time-budget", "0"], "time_budget (=0.0) must be a number of seconds above 0; leave it out for the default."),
        (["--time", "--time-device", "tpu"], "device (=tpu) must be cpu, cuda, cuda:1, mps or auto."),
    ],
)  # fmt: skip
def test_options_without_sense_are_refused_before_anything_is_counted(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["replace", "nowhere.py:net", "--to", SEPARABLE, *words]) == 2
    streams = capsys.readouterr()
    assert (streams.out, streams.err) == ("", f"error: {message}\n")
    assert clock.runs == []


def test_options_of_the_clock_without_time_are_noted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(NET, encoding="utf-8")
    words = ["replace", f"{tmp_path / 'models.py'}:net", "--input", "1x8x8x8", "--no-cross-check", "--to", SEPARABLE]
    assert main([*words, "--threads", "2"]) == 0
    assert "note: --threads has no effect here: nothing is timed without --time." in capsys.readouterr().err


def test_ctrl_c_while_timing_keeps_what_was_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(side_by_side, "measure_side_by_side", interrupted)
    (tmp_path / "models.py").write_text(NET, encoding="utf-8")
    words = ["replace", f"{tmp_path / 'models.py'}:net", "--input", "1x8x8x8", "--no-cross-check", "--to", SEPARABLE]
    assert main([*words, "--time", "--pareto", "--sort", "time", "--format", "json"]) == 130
    streams = capsys.readouterr()
    payload = json.loads(streams.out)
    assert len(payload["layers"]) == 2
    assert (payload["time"], payload["pareto"]) == (None, None)
    assert "interrupted: what was not measured yet is left empty." in streams.err


def test_a_module_in_python_is_timed_in_a_copy(clock: MadeClock) -> None:
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)).train()
    image = torch.zeros(1, 8, 8, 8)
    new, result = convcost.replace(model, image, to=SEPARABLE, time=True, pareto=True, max_params="3 k")
    assert model.training
    assert new.training
    payload = result.to_dict()
    assert payload["layers"][0]["speedup"] == 4.0
    assert payload["pareto"]["fastest"]["blocks"] == {"0": SEPARABLE}
    assert "fastest within 3.00 k parameters: 1 layer replaced" in str(result)
    assert clock.runs == [([("0", "0")], 8.0)]


def test_a_module_without_weights_is_timed_with_others(clock: MadeClock) -> None:
    model = nn.Conv2d(8, 16, 3, padding=1, device="meta")
    new, result = convcost.replace(model, torch.zeros(1, 8, 8, 8, device="meta"), to=SEPARABLE, time=True)
    assert {one.device.type for one in (*model.parameters(), *new.parameters())} == {"meta"}
    assert result.layers[0].timing is not None
    assert clock.runs


def test_a_target_that_is_another_model_when_it_is_timed_is_refused(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = "import itertools\nfrom torch import nn\nwidths = itertools.count(8)\n"
    source += "def net():\n    return nn.Sequential(nn.Conv2d(8, next(widths), 3))\n"
    (tmp_path / "other.py").write_text(source, encoding="utf-8")
    words = ["replace", f"{tmp_path / 'other.py'}:net", "--input", "1x8x8x8", "--no-cross-check", "--to", SEPARABLE]
    assert main([*words, "--time"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert " must make the same model each time: between the count and the timing, " in streams.err
    assert clock.runs == []


def test_kept_weights_are_timed_with_the_ranks_that_they_were_counted_with(
    clock: MadeClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each load makes other random weights, whose ranks may differ."""
    loads = (tmp_path / "loads.txt").as_posix()
    source = f"from torch import nn\ndef net():\n    with open({loads!r}, 'a') as file:\n        file.write('x')\n"
    source += "    return nn.Sequential(nn.Conv2d(16, 32, 3, padding=1))\n"
    (tmp_path / "kept.py").write_text(source, encoding="utf-8")
    words = ["replace", f"{tmp_path / 'kept.py'}:net", "--input", "1x16x8x8", "--no-cross-check", "--to", "low-rank"]
    assert main([*words, "--keep-weights", "--rank", "4", "--time", "--pareto", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["layers"]
    assert row["output_error"] > 0
    assert row["fastest"] == "low-rank"
    assert (tmp_path / "loads.txt").read_text(encoding="utf-8") == "x"
    assert len(clock.runs) == 1


@pytest.mark.timing
def test_the_accounts_are_those_of_the_layers_and_of_the_stages(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    payload = replaced(tmp_path, capsys, "--to", SEPARABLE, "--time", "--why", "--time-budget", "1")
    assert [one["name"] for one in payload["accounts"]["before"]] == ["0", "2"]
    stages = [f"{name}.{stage}" for name in ("0", "2") for stage in ("depthwise", "pointwise")]
    assert [one["name"] for one in payload["accounts"]["after"]] == stages
    assert all(one["account"] for side in ("before", "after") for one in payload["accounts"][side])

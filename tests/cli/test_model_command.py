"""`convcost model` as its users have it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from convcost.cli import main
from convcost.models.report import CrossCheck
from convcost.system.terminal import ERASE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

NETWORK = """
import torch
from torch import nn

def small(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, 10))

def broken():
    raise KeyError("weights")

def fft():
    class Model(nn.Module):
        def forward(self, x):
            return torch.fft.fft2(x).real
    return Model()
"""
SMALL = 36 * 4 * 27 + 4 * 36 * 10


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(NETWORK, encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["model", *words])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        ("mobilenet_v1", 568_740_352, 4_231_976),
        ("mobilenet_v1_full", 4_867_293_184, 29_294_088),
        ("mobilenet_v2", 300_774_272, 3_504_872),
        ("resnet18", 1_814_073_344, 11_689_512),
    ],
)
def test_the_published_networks_come_out_exactly(
    capsys: pytest.CaptureFixture[str], name: str, macs: int, params: int
) -> None:
    code, out, _ = run(capsys, f"network:{name}", "--format", "json")
    payload = json.loads(out)
    assert code == 0
    assert payload["totals"]["macs"] == macs
    assert payload["totals"]["flops"] == 2 * macs
    assert payload["totals"]["params"] == params
    assert sum(layer["macs"] for layer in payload["layers"]) == macs
    assert sum(layer["params"] for layer in payload["layers"]) == params
    assert payload["cross_check"]["torch"]["macs"] == macs
    assert {check["status"] for check in payload["cross_check"].values()} == {"agrees"}


def test_a_width_multiplier_and_a_resolution_are_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "network:mobilenet_v1", "--arg", "alpha=0.5", "--format", "json", "--no-cross-check")
    assert json.loads(out)["totals"]["macs"] == 149_497_088  # the paper rounds it to 149 M


def test_a_callable_of_a_file_with_arguments(capsys: pytest.CaptureFixture[str], file: str) -> None:
    code, out, _ = run(capsys, f"{file}:small", "--input", "1x3x8x8", "--format", "json")
    assert code == 0
    assert json.loads(out)["totals"]["macs"] == SMALL
    _, out, _ = run(capsys, f"{file}:small", "--arg", "width=8", "--input", "1x3x8x8", "--format", "json")
    assert json.loads(out)["totals"]["macs"] == 2 * SMALL


def test_the_table_ends_with_totals_and_the_word_of_the_other_counters(
    capsys: pytest.CaptureFixture[str], file: str
) -> None:
    _, out, _ = run(capsys, f"{file}:small", "--input", "1x3x8x8")
    assert out.splitlines()[0] == f"{file}:small, input 1x3x8x8; 1 MAC = 2 FLOPs"
    assert f"MACs ({SMALL:,})" in out
    assert "fvcore: agrees\ntorch: agrees\n" in out


def test_rows_can_be_added_up_sorted_and_cut(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("network:mobilenet_v1", "--no-cross-check", "--columns", "name,macs")
    _, out, _ = run(capsys, *words, "--sort", "macs", "--top", "2")
    largest = [line.split() for line in out.splitlines()[2:4]]
    assert [cells[1:] for cells in largest] == [["51.4", "M"]] * 2  # 128·128·56·56 and its equals
    assert all(cells[0].endswith(".pointwise") for cells in largest)
    _, out, _ = run(capsys, *words, "--depth", "1", "--format", "csv")
    rows = dict(line.split(",") for line in out.splitlines()[1:])
    assert sum(map(int, rows.values())) == 568_740_352
    assert len(rows) < 20


def test_what_was_not_counted_is_said_and_totals_are_at_least(capsys: pytest.CaptureFixture[str], file: str) -> None:
    code, out, _ = run(capsys, f"{file}:fft", "--input", "1x3x8x8")
    assert code == 0
    assert "at least 0 MACs" in out
    assert "not counted: aten._fft" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{file}:small", "--input", "1x5x8x8"], "0 (Conv2d) expects in_channels 3, got input 1x5x8x8: "),
        (["{file}:small"], "must be given an input; write one such as 1x3x224x224."),
        (["{file}:nothing", "--input", "1x3x8x8"], "nothing"),
        (["{file}:broken", "--input", "1x3x8x8"], "models.py:9"),
        (["network:mobilenet_v9"], "mobilenet_v9"),
        (["network:mobilenet_v1", "--sort", "name"], "sort (=name) must be one of macs, params, traffic, time."),
        (["network:mobilenet_v1", "--top", "0"], "top (=0) must be at least 1; give a larger number."),
        (["network:mobilenet_v1", "--device", "tpu"], "device (=tpu) must be auto, meta or cpu for counting; "),
        (["no_such_package:model", "--input", "1x3"], "no_such_package"),
        (["{file}:small", "--input", "1x3x"], "input (=1x3x) must be sizes with x between them"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], file: str, words: list[str], message: str
) -> None:
    code, out, err = run(capsys, *(word.replace("{file}", file) for word in words))
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_terminal_shows_what_is_being_done(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.system.terminal.is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "400")
    _, out, err = run(capsys, f"{file}:small", "--input", "1x3x8x8")
    shown = [part.strip() for part in err.split(ERASE)]
    counters = ["counting with torch's FlopCounterMode ...", "counting with fvcore ..."]
    target = f"{file}:small"
    assert [line for line in shown if line] == [
        "importing torch ...", f"loading {target} ...", f"tracing {target} ...", *counters,
    ]  # fmt: skip
    assert err.endswith(ERASE)
    assert "..." not in out


def test_a_terminal_shows_the_table_before_the_cross_check_and_then_what_that_adds(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"{file}:small", "--input", "1x3x8x8", "--sort", "macs", "--top", "2")
    _, whole, _ = run(capsys, *words)
    monkeypatch.setattr("convcost.cli.model_command.is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "400")
    before = []

    def check(*_: Any) -> CrossCheck:
        before.append(capsys.readouterr().out)
        return CrossCheck("unavailable", None, "a test")

    monkeypatch.setattr("convcost.nn.count.cross_check.check_with_torch", check)
    _, after, _ = run(capsys, *words)
    assert "Conv2d" in before[0]
    assert before[0].splitlines()[-2:] == whole.splitlines()[-4:-2]  # the totals
    assert after.splitlines()[-1] == "torch: unavailable, a test"
    assert "total:" not in after


def test_debug_names_each_operator_without_a_shape_rule_once(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = (f"{file}:fft", "--input", "1x3x8x8", "--no-cross-check")
    _, _, err = run(capsys, *words, "--debug")
    assert err.splitlines().count("no shape rule: aten._fft_c2c.default") == 1
    assert "shape rule" not in run(capsys, *words)[2]

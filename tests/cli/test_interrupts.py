"""Ctrl-C at any moment of any command: exit code 130, no traceback, and the exports hold what there is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from convcost.cli import main
from convcost.workflows.compare import fill

if TYPE_CHECKING:
    from pathlib import Path

    from convcost.comparison.result import Comparison

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to one process on Windows")

COMPARE = ["compare", "--c", "3", "--o", "8", "--k", "3", "--h", "16"]
MODEL = ["model", "network:mobilenet_v1", "--input", "1x3x32x32"]
AT_IMPORT = """
import runpy, signal, sys

word, number = sys.argv.pop(1), int(sys.argv.pop(1))
left = [number]

def interrupt(event, args):
    if event == "import" and args[0].startswith(word):
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)

sys.addaudithook(interrupt)
runpy.run_module("convcost", run_name="__main__", alter_sys=True)
"""
"""The command, interrupted when so many modules whose names begin so have begun to be imported."""


def at_import(word: str, number: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", AT_IMPORT, word, str(number), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [1, 2, 10, 25])
def test_an_interrupt_while_convcost_is_imported_has_no_traceback(number: int) -> None:
    done = at_import("convcost.", number, *COMPARE, "--no-time", "--no-count")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("word", ["torch", "numpy", "numpy.linalg", "fvcore", "pandas"])
def test_an_interrupt_of_an_import_loses_no_export(word: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    done = at_import(word, 1, *COMPARE, "--no-time", "--export", str(out))
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert rows[0]["macs"] == 16 * 16 * 3 * 8 * 9


@pytest.mark.torch
@pytest.mark.slow
def test_a_check_whose_imports_are_interrupted_reports_what_it_did_not_check(tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    done = at_import("torch", 1, *COMMANDS["check"], "--export", str(out))
    assert (done.returncode, done.stderr) == (130, "error: mobilenet_v1: interrupted\n")
    (budget,) = json.loads(out.read_text(encoding="utf-8"))["budgets"]
    assert [metric["verdict"] for metric in budget["metrics"]] == ["skipped"]


def interrupted(*_: object, **__: object) -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.torch
@pytest.mark.parametrize("place", ["cross_check.check_with_torch", "cross_check.check_with_fvcore"])
def test_an_interrupt_of_the_cross_check_keeps_the_count(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(f"convcost.nn.count.{place}", interrupted)
    out = tmp_path / "model.json"
    assert main([*MODEL, "--export", str(out)]) == 130
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["target"] == "network:mobilenet_v1"
    assert report["totals"]["macs"] == sum(layer["macs"] for layer in report["layers"]) > 0
    assert {check["reason"] for check in report["cross_check"].values()} == {"interrupted"}
    assert {check["macs"] for check in report["cross_check"].values()} == {None}
    assert "interrupted: what was not measured yet is left empty." in capsys.readouterr().err


@pytest.mark.torch
def test_an_interrupt_in_the_first_of_several_targets_keeps_its_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.nn.count.cross_check.check_with_torch", interrupted)
    out = tmp_path / "models.json"
    assert main([*MODEL, "network:mobilenet_v1_full", "--export", str(out)]) == 130
    (model,) = json.loads(out.read_text(encoding="utf-8"))["models"]
    assert model["totals"]["macs"] > 0
    assert {check["reason"] for check in model["cross_check"].values()} == {"interrupted"}


@pytest.mark.torch
def test_an_interrupt_of_the_timing_keeps_the_count_also_sorted_by_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.nn.measure.models.measure_model", interrupted)
    out = tmp_path / "model.csv"
    words = ["--no-cross-check", "--time", "--sort", "time", "--no-store", "--export", str(out)]
    assert main([*MODEL, *words]) == 130
    assert "block1.conv,Conv2d" in out.read_text(encoding="utf-8")


def test_a_command_that_swallows_an_interrupt_and_goes_on_ends_in_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def swallow(*words: object) -> Comparison:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return fill(*words)  # type: ignore[arg-type]  # the words of the command

    monkeypatch.setattr("convcost.cli.compare_command.fill", swallow)
    assert main([*COMPARE, "--no-time", "--no-count", "--format", "json"]) == 130
    assert json.loads(capsys.readouterr().out)["rows"][0]["macs"] == 16 * 16 * 3 * 8 * 9


def test_an_error_that_follows_an_interrupt_is_not_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def half_imported(*_: object) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("cannot load module more than once per process")

    monkeypatch.setattr("convcost.cli.compare_command.fill", half_imported)
    assert main(COMPARE) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.torch
def test_calibrate_ends_although_a_step_swallows_the_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swallow(*_: object) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        while True:
            time.sleep(0.001)

    monkeypatch.setattr("convcost.system.signals.RAISE_AGAIN_S", 0.001)
    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", swallow)
    assert main(["calibrate", "--device", "cpu", "--out", str(tmp_path / "m.toml")]) == 130
    assert list(tmp_path.iterdir()) == []


STARTED = "import sys; sys.stderr.write('started\\n'); from convcost.__main__ import run; run()"
COMMANDS = {
    "compare": [*COMPARE, "--time-budget", "1", "--no-store"],
    "kernel": ["kernel", "sobel", "--time-budget", "1", "--no-store"],
    "model": [*MODEL, "--time", "--time-budget", "1", "--no-store"],
    "replace": ["replace", "network:mobilenet_v1", "--to", "ghost"],
    "check": ["check", "network:mobilenet_v1", "--max-macs", "580M"],
}


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.1, 0.5, 1.6])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("command", list(COMMANDS))
def test_an_interrupt_at_any_moment_is_130_with_whole_exports(
    command: str, times: int, moment: float, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    words = [sys.executable, "-c", STARTED, *COMMANDS[command], "--export", str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "started\n"
        time.sleep(moment)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode in {0, 130}, stderr  # 0: it had ended
    assert "Traceback" not in stderr
    assert "crashed" not in stderr
    if out.exists():
        assert json.loads(out.read_text(encoding="utf-8"))["schema"].startswith("convcost.")
    assert set(tmp_path.iterdir()) <= {out}

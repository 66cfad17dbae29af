"""`convcost calibrate`, and what a calibration adds to `compare` and `model --time`."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_machine import machine
from made_results import CONDITIONS, TIMING

import convcost
from convcost.cli import main
from convcost.nn.measure.this_machine import identity
from convcost.timing.machine_file import read_machine, save_machine

TIMED = ["compare", "--c", "8", "--o", "16", "--k", "3", "--h", "20", "--no-count", "--time-budget", "0.6"]
BOUND_FIELDS = ("bound_s", "bound", "attained")

pytestmark = pytest.mark.timing


@pytest.fixture
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up roofs of this machine, far above what it reaches: no row beats its bound."""
    path = tmp_path / "machine.toml"
    save_machine(path, machine(identity(torch.device("cpu")), speed=1e6))
    monkeypatch.setenv("CONVCOST_MACHINE", str(path))
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("small_calibration")
def test_a_calibration_is_written_where_asked_for_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "here.toml"
    assert main(["calibrate", "--seconds", "2", "--device", "cpu", "--out", str(path)]) == 0
    streams = capsys.readouterr()
    lines = streams.out.splitlines()
    assert lines[0].startswith(identity(torch.device("cpu")).name)
    assert any(line.startswith("float32, 1 thread: ") and "GFLOP/s" in line for line in lines)
    assert any(line.startswith("memory, 1 thread: ") and "/s (spread " in line for line in lines)
    assert f"note: {path}: written" in streams.err
    assert "the noise between processes was not measured: give --seconds 60." in streams.err
    assert read_machine(path).lines == tuple(lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seconds", "0"], "seconds (=0) must be from 2 to 600"),
        (["--seconds", "nan"], "seconds (=nan) must be from 2 to 600"),
        (["--device", "tpu"], "device (=tpu) must be cpu"),
        (["--out", "m.json"], "out (=m.json) must be the name of a TOML file; write it as m.toml."),
        (["--out", "no/such/folder/m.toml"], "no/such/folder"),
    ],
)
def test_bad_words_are_refused_before_anything_is_measured(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", lambda *_: pytest.fail("it measured"))
    assert main(["calibrate", *words]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert said in errors[0]


def test_a_cache_folder_that_cannot_be_made_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", lambda *_: pytest.fail("it measured"))
    (tmp_path / "file").touch()
    monkeypatch.delenv("CONVCOST_MACHINE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "file/cache")
    assert main(["calibrate"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("must be in a folder that can be written (Not a directory); choose another folder.")


def test_a_file_that_cannot_be_written_does_not_cost_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine(identity(torch.device("cpu")))
    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", lambda *_: (here, ()))

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    assert main(["calibrate", "--out", str(tmp_path / "m.toml")]) == 2
    streams = capsys.readouterr()
    assert streams.out.splitlines() == list(here.lines)
    assert "could not be written (No space left on device)" in streams.err
    assert list(tmp_path.iterdir()) == []


def test_a_better_file_is_kept_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, here = tmp_path / "m.toml", machine(identity(torch.device("cpu")))
    words = ["calibrate", "--out", str(path)]
    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", lambda *_: (here, ()))
    assert main(words) == main(words) == 0  # an equal one is no worse
    kept = path.read_bytes()
    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", lambda *_: (replace(here, noise=None), ()))
    capsys.readouterr()
    assert main(words) == 2
    streams = capsys.readouterr()
    assert streams.out.startswith(here.lines[0])
    assert streams.err == (
        f"error: machine (={path}) holds a better calibration, and this one is without the noise between processes; "
        "close other programs and try again, or add --force.\n"
    )
    assert path.read_bytes() == kept
    assert main([*words, "--force"]) == 0
    assert read_machine(path).noise is None


@pytest.mark.parametrize("stale", ["damaged", "of another torch"])
def test_a_damaged_or_stale_file_is_replaced(stale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, here = tmp_path / "m.toml", machine(identity(torch.device("cpu")))
    if stale == "damaged":
        path.write_text("date = 1", encoding="utf-8")
    else:
        save_machine(path, replace(here, identity=replace(here.identity, torch_version="1.0")))
    worse = replace(here, noise=None)
    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", lambda *_: (worse, ()))
    assert main(["calibrate", "--out", str(path)]) == 0
    assert read_machine(path).noise is None


def test_figures_that_cannot_be_are_refused_and_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine(identity(torch.device("cpu")), speed=1e4)
    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", lambda *_: (here, ()))
    assert main(["calibrate", "--out", str(tmp_path / "m.toml"), "--force"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: a calibration must have possible figures, and float32 reaches 1.00 PFLOP/s with 1")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_calibration_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convcost.nn.measure.machine.calibrate", interrupted)
    assert main(["calibrate", "--out", str(tmp_path / "m.toml")]) == 130
    assert list(tmp_path.iterdir()) == []


def test_each_row_has_its_bound_its_roof_and_what_was_attained(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TIMED, "--format", "json"]) == 0
    streams = capsys.readouterr()
    result = json.loads(streams.out)
    for row in result["rows"]:
        assert row["bound"] in {"compute", "memory", "overhead"}
        assert row["attained"] == pytest.approx(row["bound_s"] / row["time_s"])
        assert row["attained"] < 1
    assert result["machines"]["cpu"]["peaks"][0]["flop_per_s"] == 1e17
    assert f"from the calibration of 2026-11-24, run-to-run term 5.0 % ({calibrated})." in streams.err
    assert streams.err.count("Its bound on this machine is ") == len(result["rows"])


def test_the_run_to_run_term_of_the_calibration_is_in_the_intervals(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrated.exists()
    assert main([*TIMED, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row in rows[1:]:
        if not row["speedup_low"]:  # one round, on a busy machine
            continue
        half = 1.645 * 0.05 * float(row["speedup"])
        assert float(row["speedup_low"]) <= float(row["speedup"]) - half * 0.999
        assert float(row["speedup_high"]) >= float(row["speedup"]) + half * 0.999


def test_roofs_that_are_too_low_are_found_out(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_machine(calibrated, machine(identity(torch.device("cpu")), speed=1e-3))
    assert main([*TIMED, "--block", "standard", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row["attained"] > 1
    assert "faster than its bound: calibrate again" in row["warning"]


def test_without_a_calibration_nothing_is_bounded_and_one_line_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*TIMED, "--block", "standard", "--format", "json"]) == 0
    streams = capsys.readouterr()
    result = json.loads(streams.out)
    assert [result["rows"][0][name] for name in BOUND_FIELDS] == [None, None, None]
    assert result["machines"] == {}
    assert streams.err.count("run convcost calibrate (a minute)") == 1


def test_each_number_of_threads_has_its_own_roofline() -> None:
    made = convcost.compare(8, 16, 3, height=20, blocks=["standard", "depthwise"], count=False, time=False)
    rows = tuple(
        replace(row, conditions=replace(CONDITIONS, threads=threads), timing=TIMING)
        for threads in (1, 2)
        for row in made.rows
    )
    result = replace(made, rows=rows, machines={"cpu": machine(threads=(1, 2))})
    one, two = result.rooflines()
    assert (one.splitlines()[0], two.splitlines()[0]) == ("cpu, float32, 1 thread", "cpu, float32, 2 threads")
    assert "A  standard (2 threads): " in two
    (alone,) = replace(result, rows=rows[:2]).rooflines()
    assert alone.splitlines()[0] == "cpu"
    assert "A  standard: " in alone


def test_a_roofline_is_drawn_under_the_table(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrated.exists()
    assert main([*TIMED, "--roofline"]) == 0
    out = capsys.readouterr().out
    assert "FLOP/byte" in out
    assert "A  standard: " in out
    assert "roofs: ─ " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--roofline"],
            "roofline (=true) must have a calibration of auto: no bound is shown: this machine is not calib",
        ),
        (["--roofline", "--no-time"], "roofline (=true) must have timings to draw; turn time on."),
    ],
)
def test_a_roofline_without_roofs_or_times_is_refused_at_once(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.nn.measure.blocks.measure", lambda *_: pytest.fail("it measured"))
    assert main([*TIMED, *words]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert said in streams.err


def test_a_damaged_machine_file_is_refused_before_anything_is_timed(
    calibrated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = calibrated.read_text(encoding="utf-8").replace("flop_per_s", "flops", 1)
    calibrated.write_text(text, encoding="utf-8")
    monkeypatch.setattr("convcost.nn.measure.blocks.measure", lambda *_: pytest.fail("it measured"))
    assert main([*TIMED, "--format", "json"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert [line.partition(":")[0] for line in streams.err.splitlines()] == ["error"]


def test_the_layers_of_a_model_have_bounds_where_they_compute_or_move_anything(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrated.exists()
    words = ["model", "network:mobilenet_v1", "--input", "1x3x32x32", "--no-cross-check"]
    assert main([*words, "--time", "--time-budget", "1", "--format", "json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    bounded = [layer for layer in layers if layer["bound_s"] is not None]
    assert {layer["op"] for layer in bounded} >= {"Conv2d", "BatchNorm2d", "ReLU"}
    assert {layer["op"] for layer in layers if layer["bound_s"] is None} <= {"Flatten", "Dropout", "parameters"}
    assert all(layer["attained"] == pytest.approx(layer["bound_s"] / layer["time_s"]) for layer in bounded)

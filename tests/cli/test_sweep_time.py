"""`convcost sweep --time` as its users have it. No time is asserted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from convcost.cli import main

if TYPE_CHECKING:
    from pathlib import Path

GRID = """\
blocks = ["standard", "depthwise-separable"]
[axes]
c = { from = 8, to = 64, step = 8 }
o = { from = 8, to = 64, step = 8 }
k = [3]
h = [7, 14]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "grid.toml"
    path.write_text(GRID, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--export", "latency.yaml"], "error: export (=latency.yaml) must have times to write; add --time."),
        (["--export", "a.YML", "--time", "--dry-run"], "error: export (=a.YML) must have times to write; add --time."),
        (
            ["--time", "--export", "a.yaml", "--group-by", "block"],
            "error: export (=a.yaml) must have rows, not groups; leave --group-by out, or add --top.",
        ),
        (["--time", "--export", "no/latency.yml"], "error: export (=no/latency.yml) must be in a folder that can be"),
        (["--time", "--export", "latency.txt"], "error: export (=latency.txt) must end in .csv"),
        (["--time", "--threads", "0"], "error: threads (=0) must be 1 or more, or all."),
        (["--time", "--time-budget", "0"], "error: time_budget (=0.0) must be a number of seconds above 0"),
        pytest.param(
            ["--time", "--device", "cuda:99"], "error: device (=cuda:99) must be there", marks=pytest.mark.torch
        ),
        pytest.param(
            ["--time", "--memory-format", "odd"], "error: memory_format (=odd) must be one of", marks=pytest.mark.torch
        ),
        pytest.param(
            ["--time", "--sort", "verdict", "--top", "3"],
            "error: sort (=verdict) must be a column of numbers; known: params, macs",
            marks=pytest.mark.torch,
        ),
    ],
)
def test_a_mistake_is_one_line_and_code_2_before_anything_is_timed(
    words: list[str], message: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", file, "--out", "out", *words]) == 2
    streams = capsys.readouterr()
    assert streams.err.startswith(message)
    assert streams.err.count("\n") == 1
    assert streams.out == ""
    assert not (tmp_path / "out/measured.parquet").exists()


def test_options_of_the_clock_without_it_have_a_note(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", file, "--threads", "2", "--no-store"]) == 0
    errors = capsys.readouterr().err
    for option in ("--threads", "--no-store"):
        assert f"note: {option} has no effect here: nothing is timed without --time." in errors
    assert main(["sweep", file, "--dry-run", "--time", "--device", "cpu"]) == 0
    errors = capsys.readouterr().err
    for option in ("--time", "--device"):
        assert f"note: {option} has no effect here: a dry run times nothing." in errors


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process there")
def test_ctrl_c_keeps_what_is_timed_and_ends_with_130(file: str, tmp_path: Path) -> None:
    words = ["sweep", file, "--time", "--device", "cpu", "--no-store", "--time-budget", "300"]
    command = [sys.executable, "-m", "convcost", *words, "--out", str(tmp_path / "out")]
    measured = tmp_path / "out/measured.parquet"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not measured.exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    rows = pq.read_metadata(measured).num_rows
    assert rows > 0
    assert f"timed: {rows} of 256 combinations" in out
    assert "the same command goes on from there" in err
    assert "Traceback" not in err

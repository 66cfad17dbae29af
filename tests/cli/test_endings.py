"""How a command ends: whatever is raised and whoever closes the pipe, the exit code and the last line are ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fork_server import fast_python

from convcost.cli import main
from convcost.cli.output import fitted

if TYPE_CHECKING:
    from pathlib import Path

OVER = ["check", "network:mobilenet_v1", "--max-params", "1"]


class Fatal(BaseException):
    """What libraries raise that want to get past `except Exception`."""


class MuteError(Exception):
    """An exception whose text cannot be made."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (SystemExit("bad GPU"), "the code that was run must not end the program: SystemExit: bad GPU; correct it"),
        (SystemExit(0), "the code that was run must not end the program: SystemExit: 0; correct it"),
        (Fatal("gone"), "convcost crashed: Fatal: gone; run it again with --debug"),
        (MuteError(), "convcost crashed: MuteError; run it again with --debug"),
        (ZeroDivisionError("x"), "convcost crashed: ZeroDivisionError: x; run it again with --debug"),
    ],
)
def test_whatever_is_raised_is_one_line_and_exit_code_2(
    raised: BaseException, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(*_: object) -> None:
        raise raised

    monkeypatch.setattr("convcost.workflows.check.check_budgets", end)
    assert main(OVER) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")


@pytest.mark.torch
@pytest.mark.skipif(os.name == "nt", reason="a pipe that closes early looks different on Windows")
@pytest.mark.parametrize("form", [pytest.param("table", marks=pytest.mark.slow), "json", "markdown", "github"])
def test_a_reader_that_closes_the_pipe_changes_neither_the_verdict_nor_the_files(form: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    summary, rows = tmp_path / "summary.md", tmp_path / "rows.csv"
    python = sys.executable if form == "table" else fast_python()
    command = [python, "-m", "convcost", *OVER, "--format", form, "--export", str(rows)]
    done = subprocess.run(
        command,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
        env=os.environ | {"GITHUB_STEP_SUMMARY": str(summary)},
    )
    os.close(writer)
    assert done.returncode == 1, done.stderr
    assert "error" not in done.stderr
    assert "❌ fail" in summary.read_text(encoding="utf-8")
    assert rows.read_text(encoding="utf-8").startswith("budget,metric,")


@pytest.mark.torch
@pytest.mark.skipif(os.name == "nt", reason="oneDNN's lines go elsewhere on Windows")
@pytest.mark.parametrize("name", ["ONEDNN_VERBOSE", "DNNL_VERBOSE"])
def test_stdout_is_the_data_alone_where_onednn_is_to_talk(name: str) -> None:
    words = ["compare", "--c", "8", "--o", "8", "--k", "3", "--h", "14", "--no-time", "--format", "json"]
    done = subprocess.run(
        [fast_python(), "-m", "convcost", *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {name: "1"},
    )
    assert json.loads(done.stdout)["rows"][0]["counts_agree"] is True
    assert "onednn_verbose" in done.stderr


@pytest.mark.torch
@pytest.mark.parametrize("form", ["table", "json"])
def test_an_interrupt_while_results_are_written_waits_for_them(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    rows = tmp_path / "rows.csv"

    def interrupted(_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("convcost.budgets.reports.write_summary", interrupted)
    assert main([*OVER, "--format", form, "--export", str(rows)]) == 130
    assert rows.read_text(encoding="utf-8").startswith("budget,metric,")
    assert "mobilenet_v1" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.torch
def test_a_second_interrupt_while_results_are_written_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("convcost.budgets.reports.write_summary", interrupted)
    assert main(OVER) == 130
    assert capsys.readouterr().out == ""


def test_a_long_line_is_broken_between_words_and_never_within_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcost.cli.output.is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "30")
    path = "some-long/path-with-hyphens/of-a-file.py:12"
    assert path in fitted(f"error: it is said to be in {path} , mend it there", sys.stderr).split()


def test_errors_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("convcost.cli.output.is_terminal", lambda stream: stream is sys.stderr)
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["check", "--init"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 40 for line in lines)

"""What a model's names and a full disk do to the outputs: one file is lost at most, with one line, and no table lies."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from convcost.cli import main
from convcost.cli.output import complain, write_out

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """
from torch import nn

NAMES = ["::error::x", " ::warning::y", "new\\n::error::z", "##[error]v", "a|<b>", "bidi\\u202eevil", "surro\\udcffgate"]

class Evil(nn.Module):
    def __init__(self):
        super().__init__()
        for name in NAMES:
            self._modules[name] = nn.Conv2d(3, 3, 1)
    def forward(self, x):
        for name in NAMES:
            x = self._modules[name](x)
        return x
"""
NAMES = 7
MACS = NAMES * 4 * 9
COMMAND = re.compile(r"\s*::|.*##\[")
"""A line that a GitHub runner takes for a workflow command."""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A model whose names attack, on a GitHub runner."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "evil.py").write_text(MODEL, encoding="utf-8")
    return ["evil.py:Evil", "--input", "1x3x2x2"]


@pytest.mark.torch
@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "latex"])
@pytest.mark.parametrize("command", [["model", "--no-cross-check"], ["check", "--max-macs", "1"]])
def test_no_line_of_any_table_is_a_workflow_command(
    command: list[str], form: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command[0], *words, *command[1:], "--format", form]) == (0 if command[0] == "model" else 1)
    streams = capsys.readouterr()
    lines = [*re.split(r"[\r\n]+", streams.out), *re.split(r"[\r\n]+", streams.err)]
    assert [line for line in lines if COMMAND.match(line)] == []
    assert form == "csv" or "\u202e" not in streams.out
    if form == "csv" and command[0] == "model":
        assert [row["macs"] for row in csv.DictReader(io.StringIO(streams.out))] == ["36"] * NAMES
    if form == "json" and command[0] == "model":
        assert [layer["name"] for layer in json.loads(streams.out)["layers"]][:2] == ["::error::x", " ::warning::y"]


@pytest.mark.torch
def test_the_annotations_of_a_check_stay_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *words, "--max-macs", "1", "--format", "github"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("::error title=convcost Evil%3A macs::252 is over max 1")
    assert NAMES * 36 == 252


def test_elsewhere_a_line_may_begin_with_colons(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    write_out("::error::x\n")
    assert capsys.readouterr().out == "::error::x\n"


def test_a_line_on_stderr_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    complain("note: a\n::error::b \x1b[31m\u202e")
    assert capsys.readouterr().err == "note: a ::error::b \ufffd[31m\\u202e\n"


@pytest.mark.torch
def test_every_export_of_such_a_model_is_written(words: list[str], tmp_path: Path) -> None:
    files = [tmp_path / f"rows{suffix}" for suffix in (".csv", ".json", ".md", ".tex", ".parquet", ".xlsx")]
    exports = [word for file in files for word in ("--export", str(file))]
    assert main(["model", *words, "--no-cross-check", *exports]) == 0
    assert all(file.stat().st_size for file in files)


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.torch
def test_a_junit_file_that_fails_loses_neither_the_verdict_nor_the_exports(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convcost.budgets.reports.junit_xml", full_disk)
    files = ["--junit", str(tmp_path / "j.xml"), "--export", str(tmp_path / "rows.csv")]
    assert main(["check", *words, "--max-macs", "1", *files]) == 2
    streams = capsys.readouterr()
    assert "fail: Evil macs: 252 is over max 1" in streams.out
    assert streams.err.count("error: ") == 1
    assert "could not be written (No space left on device)" in streams.err
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8").startswith("budget,metric")
    assert not (tmp_path / "j.xml").exists()


@pytest.mark.torch
def test_a_lock_that_cannot_be_written_does_not_lose_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = '[budget.net]\ntarget = "network:mobilenet_v1"\nparams = "5 M"\n'
    (tmp_path / "convcost.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr("pathlib.Path.replace", full_disk)
    assert main(["check", "--update"]) == 2
    streams = capsys.readouterr()
    assert "within budget: 1 budget, 1 limit" in streams.out
    (error,) = (line for line in streams.err.splitlines() if line.startswith("error: "))
    assert "convcost.lock) could not be written (No space left on device)" in error
    assert "no figure changed" not in streams.err


@pytest.mark.parametrize(
    "words",
    [
        ["model", "LONG.pt2"],
        ["model", "LONG:f", "--input", "1x3"],
        ["kernel", "--model", "LONG"],
        ["kernel", "LONG.csv"],
        ["kernel", "sobel", "--no-time", "--export", "LONG.csv"],
        ["check", "--config", "LONG"],
        ["check", "--init", "network:mobilenet_v1", "--config", "LONG"],
        ["check", "network:mobilenet_v1", "--max-macs", "1", "--junit", "LONG"],
        ["config", "show", "--config", "LONG"],
        ["calibrate", "--out", "LONG"],
    ],
)
@pytest.mark.torch
def test_a_path_that_is_too_long_is_one_line_and_no_crash(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.replace("LONG", "a" * 300) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "crashed" not in line


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed on Windows")
def test_a_current_folder_that_is_gone_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir("gone")
    (tmp_path / "gone").rmdir()
    assert main(["check", "network:mobilenet_v1", "--max-macs", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: path (=.) cannot be used (No such file or directory); check it."


WARNING_MODEL = """
import logging, warnings
from torch import nn

def warned():
    warnings.warn("mine")
    logging.getLogger("torch.export").error("torch's")
    return nn.utils.weight_norm(nn.Conv2d(3, 3, 1))
"""


@pytest.mark.torch
@pytest.mark.filterwarnings("default")
def test_of_warnings_and_logs_those_of_the_users_own_code_are_shown_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "warned.py"
    path.write_text(WARNING_MODEL, encoding="utf-8")
    assert main(["model", f"{path}:warned", "--input", "1x3x2x2", "--no-cross-check"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert not any("torch's" in line for line in lines)
    assert [line for line in lines if "Warning" in line] == [f"warning: {path}:6: UserWarning: mine"]


TABLES = (
    "compare --c 64 --o 128 --k 3 --no-count --no-time",
    "kernel sobel --no-time",
    "check network:mobilenet_v1 --max-params 4.3M",
    "diff network:mobilenet_v1 network:mobilenet_v2 --top 3",
    "replace network:mobilenet_v1_full --to depthwise-separable --top 3",
    "history",
    "model network:mobilenet_v1 --no-cross-check --top 3",
)


@pytest.mark.torch
@pytest.mark.parametrize("words", TABLES, ids=[words.split()[0] for words in TABLES])
def test_every_latex_table_fits_a_page_and_has_caption_and_label(
    words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVCOST_DB", str(tmp_path / "history.db"))
    made = tmp_path / "table.tex"
    out_as_latex = [*words.split(), "--format", "latex", "--caption", "50 % less", "--label", "tab:a"]
    assert main([*out_as_latex, "--export", str(made)]) == 0
    text = capsys.readouterr().out
    assert made.read_text(encoding="utf-8") == text
    assert text.startswith("\\begin{table}\n\\centering\n\\caption{50 \\% less}\n\\label{tab:a}\n")
    assert text.isascii()
    body = text[text.index(r"\toprule") :].splitlines()[1]
    assert body.count("&") <= 8
    assert main([*words.split(), "--format", "json", "--label", "tab:a"]) == 0
    assert "note: --label has no effect here: only LaTeX has them; add --format latex." in capsys.readouterr().err


@pytest.mark.torch
@pytest.mark.parametrize("words", TABLES, ids=[words.split()[0] for words in TABLES])
def test_the_example_of_columns_in_the_help_can_be_given(
    words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVCOST_DB", str(tmp_path / "history.db"))
    main([words.split(maxsplit=1)[0], "--help"])
    (example,) = re.findall(r"separated by commas,\s+as\s+([\w,]+);", capsys.readouterr().out)
    assert main([*words.split(), "--columns", example, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == example
    assert main([*words.split(), "--columns", "nothing"]) == 2
    assert "columns (=nothing) must be fields of a row; known: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        ("few: raise time_budget", "few: raise --time-budget"),
        ("try again, or turn force on.", "try again, or add --force."),
        ("run it with device cpu.", "run it with --device cpu."),
        ("raise ValueError in my_time_budget", "raise ValueError in my_time_budget"),
    ],
)
def test_advice_on_stderr_names_options_as_they_are_typed(
    python: str, typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    complain(f"warning: {python}")
    assert capsys.readouterr().err == f"warning: {typed}\n"

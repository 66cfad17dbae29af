"""Options that have no effect are noted, those that are given twice too, and missing words answered by the help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convcost.cli import COMMANDS, main

LONG = "9" * 5001
FULL = Path("/dev/full")
LAYER = ["--c", "3", "--o", "4", "--k", "3"]
COMPARE = ["compare", *LAYER, "--no-time", "--no-count"]
KERNEL = ["kernel", "sobel", "--no-time"]
MODEL = ["model", "network:mobilenet_v1", "--input", "1x3x32x32", "--no-cross-check"]
CHECK = ["check", "network:mobilenet_v1", "--input", "1x3x32x32", "--max-macs", "580M"]
UNTIMED = {
    "--threads": "nope",
    "--allocator": "default",
    "--time-budget": "3",
}
"""Options of the clock that compare, kernel and model have."""


def notes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The options that are noted as having no effect."""
    lines = [line for line in capsys.readouterr().err.splitlines() if " has no effect here: " in line]
    return [line.removeprefix("note: ").partition(" ")[0].removeprefix("--") for line in lines]


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        ([*COMPARE, "--device", "nope", "--allocator", "default", "--compile"], "device allocator compile"),
        ([*COMPARE, "--memory-format", "channels_last", "--time-budget", "3"], "memory-format time-budget"),
        ([*COMPARE, "--dtype", "float16"], ""),
        ([*COMPARE, "--rank", "3", "--reuse"], "rank reuse"),
        ([*COMPARE, "--format", "json", "--columns", "block"], "columns"),
        (["explain", "standard", *LAYER, "--rank", "3"], "rank"),
        (["explain", "low-rank", *LAYER, "--rank", "2"], ""),
        ([*KERNEL, "--device", "nope", "--threads", "3"], "device threads"),
        ([*KERNEL, "--no-store", "--height", "3", "--c", "4"], "no-store"),
        ([*COMPARE, "--no-store"], "no-store"),
        ([*KERNEL, "--format", "json", "--columns", "rank"], "columns"),
        (["history", "--format", "json", "--columns", "layer"], "columns"),
        (["config", "schema", "--config", "nope.toml"], "config"),
    ],
)
def test_options_without_effect_are_noted(
    words: list[str], unused: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVCOST_DB", str(tmp_path / "history.sqlite3"))
    assert main(words) == 0
    assert sorted(notes(capsys)) == sorted(unused.split())


@pytest.mark.torch
@pytest.mark.parametrize(
    ("words", "unused"),
    [
        ([*MODEL, *(word for pair in UNTIMED.items() for word in pair)], "threads allocator time-budget"),
        ([*MODEL, "--time-device", "nope", "--no-store"], "time-device no-store"),
        ([*MODEL, "--format", "json", "--top", "1", "--sort", "macs", "--depth", "1"], "top sort depth"),
        ([*MODEL, "--top", "1"], ""),
        (["kernel", "--model", "network:mobilenet_v1", "--device", "nope", "--in-channels", "4"], "device in-channels"),
        (["kernel", "--model", "network:mobilenet_v1", "--no-time"], ""),
        ([*CHECK, "--time-budget", "3", "--no-store"], "time-budget no-store"),
        ([*CHECK, "--format", "json", "--columns", "metric"], "columns"),
    ],
)
def test_options_of_models_without_effect_are_noted(
    words: list[str], unused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert sorted(notes(capsys)) == sorted(unused.split())


def test_rows_of_an_exported_table_are_an_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--format", "json", "--columns", "block", "--export", str(tmp_path / "rows.csv")]
    assert main([*COMPARE, *words]) == 0
    assert notes(capsys) == []


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "--c", LONG],
        ["model", "network:mobilenet_v1", "--depth", LONG],
        ["history", "--since", f"{LONG}d"],
        ["history", "--limit", f"-{LONG}"],
        [*COMPARE, "--memory-format", LONG],
    ],
    ids=lambda words: words[-2],
)
def test_a_long_word_is_quoted_in_short(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{'9' * 56}" in line
    assert LONG not in line
    assert len(line) < 300


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--format", "json", "--format", "csv"], "--format"),
        (["--height=3", "--h", "4"], "--height"),
        (["--count", "--no-count"], "--count"),
    ],
)
def test_an_option_with_two_values_is_refused(
    words: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMPARE, *words]) == 2
    message = f"error: {option} is given more than once, and takes one value; leave out the others.\n"
    assert capsys.readouterr().err == message


def test_options_that_may_be_repeated_and_equal_flags_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMPARE, "--no-time", "--block", "ghost", "--block", "standard", "--format", "json"]) == 0
    streams = capsys.readouterr()
    assert [row["block"] for row in json.loads(streams.out)["rows"]] == ["ghost", "standard"]
    assert "more than once" not in streams.err


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["--sort", "time"], "sort (=time) must have times to sort by; turn time on."),
        (["--why"], "--why must have times to account for; add --time."),
        (["--sort", "nope"], "sort (=nope) must be one of"),
        (["--top", "0"], "top (=0) must be"),
        (["--depth", "0"], "depth (=0) must be"),
    ],
)
def test_an_arrangement_that_cannot_be_is_refused_before_the_count(
    words: list[str], refused: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.cli.model_command.count_target", lambda *_, **__: pytest.fail("it counted"))
    assert main([*MODEL, *words]) == 2
    assert refused in capsys.readouterr().err


@pytest.mark.parametrize("command", [None, "compare", "explain", "model", "config"])
def test_a_command_that_lacks_its_words_shows_its_help_with_an_example(
    command: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command is None or command in COMMANDS
    assert main([] if command is None else [command]) == 2
    streams = capsys.readouterr()
    assert f"Example: convcost {command or 'compare'} " in streams.out
    assert streams.err == ""


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["compare", "--help"], ["kernel", "--list-kernels"], []])
def test_a_full_stdout_is_one_line_also_for_the_help(words: list[str]) -> None:
    command = [sys.executable, "-m", "convcost", *words]
    with FULL.open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: stdout must be writable, and it is not: No space left on device; make room, or send it elsewhere.\n",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", *LAYER, "--dtype", "float32,bfloat16"], "write --dtype float32 --dtype bfloat16"),
        (["compare", *LAYER, "--threads", "1,2"], "threads (=1,2) must be one value; write --threads 1 --threads 2"),
        (["compare", *LAYER, "--block", "standard,depthwise"], "write --block standard --block depthwise"),
        (["explain", "standard,depthwise", *LAYER], "must be one value; write standard depthwise"),
        (["compare", *LAYER, "--c", "4"], "error: --c is given more than once"),
        (["compare", *LAYER, "--in-channels", "4"], "error: --c is given more than once"),
        (
            ["compare", "--c", "3", "--o", "64,128", "--k", "3,5"],
            "o (=64,128) must be one size; run the command once for each: for o in 64 128; do for k in 3 5; do "
            "convcost compare --c 3 --o $o --k $k; done; done",
        ),
        (["comparee"], "error: No such command 'comparee'. Did you mean 'compare'? See convcost --help.\n"),
    ],
)
def test_a_refusal_gives_the_words_to_type(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_a_command_without_words_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--help"]) == 0
    assert "Usage: convcost explain " in capsys.readouterr().out
    for name in ("compare", "kernel"):
        assert main([name]) == 2
        out, err = capsys.readouterr()
        assert f"Usage: convcost {name} " in out
        assert err == ""

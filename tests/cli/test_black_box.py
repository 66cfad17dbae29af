"""The command as its users have it: a subprocess, its two streams and its exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fork_server import fast_python

from convcost import BLOCKS
from convcost.kernels.named import KERNELS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SHAPE = ["--c", "3", "--o", "64", "--k", "3"]
PREDICTED = ["compare", *SHAPE, "--no-count", "--no-time"]


def convcost(*words: str, python: str = sys.executable, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "convcost", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", **variables},
    )


def test_off_a_terminal_the_table_is_plain_and_complete() -> None:
    done = convcost(*PREDICTED)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "3→64, 3x3, input 1x3x224x224, float32; 1 MAC = 2 FLOPs"
    assert lines[1].split()[:3] == ["block", "out", "params"]
    assert [line.split()[0] for line in lines[2:8]] == [
        "standard",
        "depthwise",
        "pointwise",
        "depthwise-separable",
        "shared-kernel-separable",
        "spatially-separable",
    ]
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    assert done.stderr == ""


@pytest.mark.torch
def test_the_counted_view_agrees_and_is_marked() -> None:
    done = convcost("compare", *SHAPE, "--no-time")
    assert done.returncode == 0
    assert "86.7 M ✓" in done.stdout
    assert "86,704,128" in done.stdout
    assert "173,408,256" in done.stdout


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "latex"])
def test_a_machine_format_has_nothing_but_data_on_stdout(form: str) -> None:
    done = convcost(*PREDICTED, "--format", form)
    starts = {"csv": "block,in_channels,", "json": "{\n", "markdown": "| block", "latex": "\\begin{tabular}"}
    assert done.stdout.startswith(starts[form])
    assert "fewer MACs" not in done.stdout
    assert "depthwise-separable: 7.9x fewer MACs, against standard." in done.stderr


def test_explain_prints_symbols_and_numbers() -> None:
    done = convcost("explain", "depthwise-separable", *SHAPE)
    assert "MACs = N × H × W × m·C × 1 × K × K" in done.stdout
    assert "= 1 × 224 × 224 × 64 × 3 × 1 × 1 = 9,633,792" in done.stdout
    assert "m·(1/O + 1/K²)" in done.stdout
    payload = json.loads(convcost("explain", "depthwise-separable", *SHAPE, "--format", "json").stdout)
    assert payload["schema"] == "convcost.explain/1"


def test_explain_under_the_table_explains_every_row() -> None:
    done = convcost(*PREDICTED, "--explain")
    assert re.findall(r"^(\S+): .*\n  paper:", done.stdout, re.MULTILINE) == [
        "standard",
        "depthwise",
        "pointwise",
        "depthwise-separable",
        "shared-kernel-separable",
        "spatially-separable",
    ]
    machine = convcost(*PREDICTED, "--explain", "--format", "json")
    assert json.loads(machine.stdout)["schema"] == "convcost.compare/1"
    assert "paper:" in machine.stderr


def test_a_layer_of_10_to_the_20_macs_is_exact() -> None:
    words = ["--c", "1000000000", "--o", "1000000000", "--k", "1", "--h", "10", "--no-count", "--no-time"]
    done = convcost("compare", *words, "--block", "standard", "--format", "json")
    assert json.loads(done.stdout)["rows"][0]["macs"] == 10**20
    assert "100 E" in convcost("compare", *words, "--block", "standard").stdout


def test_the_catalogue_is_listed_with_formula_and_paper() -> None:
    done = convcost("compare", "--list-blocks")
    assert done.returncode == 0
    assert re.search(r"depthwise-separable +m·\(1/O \+ 1/K²\)\n.*\n.*Howard et al\. 2017", done.stdout)


@pytest.mark.parametrize(
    ("words", "known"), [(("compare", "--list-blocks"), BLOCKS), (("kernel", "--list-kernels"), KERNELS)]
)
def test_a_list_fits_80_columns_and_has_every_name(words: tuple[str, ...], known: Mapping[str, object]) -> None:
    lines = convcost(*words).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:] if line[0] != " "] == list(known)


@pytest.mark.parametrize("words", [["-h"], ["compare", "-h"], ["compare", "--c", "3", "-h"]])
def test_h_is_the_help(words: list[str]) -> None:
    assert convcost(*words).stdout == convcost(*words[:-1], "--help").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["compare", "--c", "0", "--o", "64", "--k", "3"],
            "in_channels (=0) must be at least 1; give a larger number.",
        ),
        (
            ["compare", "--c", "3", "--o", "64", "--k", "3x"],
            "kernel_size (=3x) must be a whole number or HEIGHTxWIDTH; write it as 3 or 3x5.",
        ),
        (
            ["compare", "--c", "3", "--o", "64", "--k", "-3"],
            "kernel_size (=-3) must be a whole number or HEIGHTxWIDTH; write it as 3 or 3x5.",
        ),
        (
            [*PREDICTED, "--block", "depthwise-seperable"],
            "block (=depthwise-seperable) must be a name of the catalogue; did you mean depthwise-separable?",
        ),
        (
            ["compare", "--c", "6", "--o", "8", "--k", "3", "--block", "grouped", "--groups", "4"],
            "in_channels (=6) must be divisible by groups (=4).",
        ),
        (
            [*PREDICTED, "--padding", "full"],
            "padding (=full) must be same, valid, a whole number or HEIGHTxWIDTH; write it as same, 1 or 1x2.",
        ),
        ([*PREDICTED, "--threads", "two"], "threads (=two) must be 1 or more, or all."),
        ([*PREDICTED, "--partial", "1/0"], "partial (=1/0) must be a share; write it as 1/4 or 0.25."),
        (["compare", "--c", "3", "--k", "3"], "Missing option '--o' / '--out-channels'; see convcost compare --help."),
        ([*PREDICTED, "--nope"], "No such option: --nope"),
        (["compare", "-c", "3"], "No such option: -c; did you mean --c?"),
        (["compare", "--C", "3"], "No such option: --C; did you mean --c?"),
        (["compare", "--in_channels", "3"], "No such option: --in_channels; did you mean --in-channels?"),
        (["compare", "--zzz", "3"], "No such option: --zzz; see convcost compare --help."),
        (
            [*PREDICTED, "--block", "DEPTHWISE"],
            "block (=DEPTHWISE) must be a name of the catalogue; did you mean depthwise?",
        ),
        ([*PREDICTED, "--columns", "fewer"], "columns (=fewer) must be fields of a row; did you mean macs_ratio?"),
        (["compar"], "No such command 'compar'. Did you mean 'compare'"),
        ([*PREDICTED, "--format", "yaml"], "Invalid value for '--format': 'yaml' is not one of"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], message: str) -> None:
    done = convcost(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback_of_an_error() -> None:
    done = convcost("--debug", "compare", "--c", "0", "--o", "64", "--k", "3")
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert "Traceback" not in convcost("compare", "--c", "0", "--o", "64", "--k", "3").stderr


def test_each_command_begins_its_help_with_an_example() -> None:
    for command in ("compare", "explain", "history"):
        assert f"Example: convcost {command} " in convcost(command, "--help").stdout
    assert "convcost compare --c 3 --o 64 --k 3" in convcost("--help").stdout


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"convcost \d+\.\d+\.\d+\n", convcost("--version").stdout)


@pytest.mark.skipif(os.name == "nt", reason="a pipe that closes early looks different on Windows")
def test_a_reader_that_closes_the_pipe_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "convcost", *PREDICTED]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, text=True)
    os.close(writer)
    assert done.returncode == 0
    assert done.stderr == ""


def test_an_ascii_stdout_gets_the_table_all_the_same() -> None:
    done = convcost(*PREDICTED, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "depthwise-separable" in done.stdout


TELLING = """
import sys
from convcost.__main__ import run
from convcost.nn.measure import session

timed = session.interleave

def interleave(*words, **options):
    print("timing begins", file=sys.stderr, flush=True)
    return timed(*words, **options)

session.interleave = interleave
run()
"""
"""The command, with a line on stderr when the clock starts."""


@pytest.mark.torch
@pytest.mark.timing
@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to one process on Windows")
def test_ctrl_c_while_timing_keeps_what_was_predicted_and_counted(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [sys.executable, "-c", TELLING, "compare", *SHAPE, "--time-budget", "120", "--export", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "timing begins" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "86.7 M ✓" in stdout
    assert "interrupted: what was not measured yet is left empty." in stderr
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 6
    assert rows[0]["counts_agree"] is True
    assert rows[0]["macs"] == 224 * 224 * 3 * 64 * 9


QUICK_WHY = ["compare", "--c", "8", "--o", "16", "--k", "3", "--h", "20", "--no-count", "--time-budget", "0.7", "--why",
             "--block", "standard"]  # fmt: skip


@pytest.mark.torch
@pytest.mark.timing
def test_why_accounts_for_each_row_under_the_table() -> None:
    done = convcost(*QUICK_WHY, python=fast_python())
    assert done.returncode == 0
    _, _, account = done.stdout.partition("\nstandard: where ")
    parts = [line.split()[0] for line in account.splitlines()[1:]]
    assert "overhead" in parts
    assert "unexplained" in parts
    assert "onednn_verbose" not in done.stdout
    assert "USDT" not in done.stderr


@pytest.mark.torch
@pytest.mark.timing
def test_why_in_json_is_a_list_that_sums_to_the_median_and_in_csv_one_cell() -> None:
    row = json.loads(convcost(*QUICK_WHY, "--format", "json", python=fast_python()).stdout)["rows"][0]
    assert {key for part in row["account"] for key in part} == {"part", "seconds", "kernel"}
    assert sum(part["seconds"] for part in row["account"]) == pytest.approx(row["time_s"])
    words = [*QUICK_WHY, "--format", "csv", "--columns", "block,account"]
    head, cells = convcost(*words, python=fast_python()).stdout.splitlines()
    assert head == "block,account"
    assert re.fullmatch(r"standard,.*overhead [0-9.e-]+ s; unexplained [0-9.e-]+ s", cells)


@pytest.mark.parametrize("option", ["--no-time", "--compile"])
def test_why_without_eager_timings_is_one_line(option: str) -> None:
    done = convcost("compare", *SHAPE, "--why", option)
    assert done.returncode == 2
    step = "turn time on" if option == "--no-time" else "turn compile off"
    assert done.stderr == f"error: why (=true) must have eager timings to account for; {step}.\n"
    assert done.stdout == ""


def test_without_why_the_fields_are_null() -> None:
    row = json.loads(convcost(*PREDICTED, "--format", "json").stdout)["rows"][0]
    assert {name: row[name] for name in ("account", "onednn_agrees", "hint", "hint_verified")} == dict.fromkeys(
        ("account", "onednn_agrees", "hint", "hint_verified")
    )


@pytest.mark.parametrize(
    ("redirection", "code", "out", "err"),
    [
        (">&-", 0, "", ""),
        ("2>&-", 0, "3→64", ""),
        (">/dev/full", 2, "", "error: stdout must be writable, and it is not: No space left on device; make room, or "),
        ("2>/dev/full", 0, "3→64", ""),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_traceback(redirection: str, code: int, out: str, err: str) -> None:
    words = shlex.join([sys.executable, "-m", "convcost", *PREDICTED])
    done = subprocess.run(f"{words} {redirection}", shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - ours
    assert done.returncode == code
    assert done.stdout.startswith(out)
    assert done.stderr.startswith(err)
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == bool(err)


def test_wrong_usage_is_exit_code_2_also_when_nobody_can_hear_it() -> None:
    words = shlex.join([sys.executable, "-m", "convcost", "compare", "--c", "0", "--o", "1", "--k", "1"])
    for redirection in ("2>/dev/full", "2>&-", ">&- 2>&-"):
        done = subprocess.run(f"{words} {redirection}", shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - ours
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "")

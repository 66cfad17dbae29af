"""The history as its users have it: what compare and model keep, what is listed, what is reused, what refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import history_writer as made
import numpy as np
import openpyxl
import pandas as pd
import pytest
import torch
from made_machine import machine

import convcost
from convcost.archive import database as database_file
from convcost.archive.database import add, stored_rows
from convcost.archive.listing import HISTORY_COLUMNS
from convcost.cli import main
from convcost.nn.measure import session as session_home
from convcost.nn.measure.this_machine import identity
from convcost.text.table import plain_table
from convcost.timing.machine_file import save_machine

SHAPE = ["compare", "--c", "8", "--o", "8", "--k", "3", "--h", "16", "--no-count", "--device", "cpu"]
TIMED = [*SHAPE, "--time-budget", "0.7"]
PAIR = ["--block", "standard", "--block", "depthwise-separable"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def rows_of(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    code, out, _ = run(capsys, *words, "--format", "json")
    assert code == 0
    return json.loads(out)["rows"]


def count(path: Path) -> int:
    return stored_rows(path, "1", {}, None)[1]


TIMING_FIELDS = [
    "time_s", "time_q25_s", "time_q75_s", "time_min_s", "first_call_s", "time_runs", "dropped_share",
    "faults_per_call", "speedup", "speedup_low", "speedup_high", "probe_drift", "warning",
]  # fmt: skip
CONDITION_FIELDS = ["device", "dtype", "threads", "memory_format", "compiled", "allocator", "torch_version", "cpu"]


@pytest.mark.timing
def test_every_timed_row_of_compare_is_kept_as_it_was_shown(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = rows_of(capsys, *TIMED, *PAIR)
    kept = rows_of(capsys, "history")
    assert [row["name"] for row in kept] == ["standard", "depthwise-separable"]
    for before, after in zip(shown, kept, strict=True):
        for name in (*TIMING_FIELDS, *CONDITION_FIELDS, "in_channels", "out_channels", "macs", "params"):
            assert before[name] == after[name], name
        assert before["reused_from"] is None
    assert count(database) == 2


@pytest.mark.timing
@pytest.mark.usefixtures("database")
def test_the_baseline_that_is_timed_unseen_is_kept_too(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *TIMED, "--block", "depthwise")
    assert {row["name"] for row in rows_of(capsys, "history")} == {"standard", "depthwise"}


@pytest.mark.timing
def test_no_store_and_no_time_keep_nothing(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *TIMED, "--block", "pointwise", "--no-store")[0] == 0
    assert run(capsys, *SHAPE, "--no-time")[0] == 0
    assert not database.exists()


@pytest.mark.timing
def test_a_timed_model_keeps_the_forward_and_each_distinct_layer_once(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "import torch\ndef net():\n    c = lambda: torch.nn.Conv2d(4, 4, 3, padding=1)\n"
    (tmp_path / "net.py").write_text(f"{source}    return torch.nn.Sequential(c(), c(), torch.nn.ReLU())\n")
    target = f"{tmp_path / 'net.py'}:net"
    words = ["model", target, "--input", "1x4x16x16", "--no-cross-check", "--time", "--time-budget", "0.7"]
    assert run(capsys, *words, "--no-store")[0] == 0
    assert not database.exists()
    shown = json.loads(run(capsys, *words, "--format", "json")[1])
    kept = rows_of(capsys, "history", "--target", target)
    assert [row["name"] for row in kept] == ["(forward)", "0", "2"]
    assert kept[0]["time_s"] == shown["timing"]["time_s"]
    assert kept[1]["time_s"] == shown["layers"][0]["time_s"] == shown["layers"][1]["time_s"]
    assert kept[1]["macs"] == 16 * 16 * 4 * 4 * 9
    assert (kept[1]["kernel_size"], kept[1]["in_channels"], kept[2]["kernel_size"]) == ([3, 3], 4, None)
    assert kept[0]["macs"] == 2 * kept[1]["macs"]


# reuse


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def interleave(*_: object, **__: Any) -> None:
        pytest.fail("something was measured")

    monkeypatch.setattr(session_home, "interleave", interleave)


@pytest.mark.timing
def test_reuse_shows_the_stored_run_and_measures_nothing(
    database: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    first = rows_of(capsys, *TIMED, *PAIR)
    request.getfixturevalue("no_clock")
    code, out, err = run(capsys, *TIMED, *PAIR, "--reuse", "--format", "json")
    assert code == 0
    again = json.loads(out)["rows"]
    date = rows_of(capsys, "history")[0]["measured_at"]
    assert [row.pop("reused_from") for row in again] == [date, date]
    assert [row.pop("reused_from") for row in first] == [None, None]
    assert again == first
    assert "note: timings on cpu are reused, measured " in err
    assert count(database) == 2  # what is reused is not a new measurement
    table = run(capsys, *TIMED, *PAIR, "--reuse")[1]
    assert "reused from" in table
    fewer = rows_of(capsys, *TIMED, "--block", "depthwise-separable", "--reuse")
    assert fewer[0]["speedup"] == first[1]["speedup"]


@pytest.mark.timing
@pytest.mark.parametrize(
    "other",
    [
        ["--block", "pointwise"],
        ["--baseline", "depthwise-separable"],
        ["--memory-format", "channels_last"],
        ["--allocator", "default"],
        ["--threads", "2"],
        ["--bias"],
        ["--time-budget", "0.8"],
        ["--stride", "2"],
    ],
)
def test_reuse_measures_all_anew_where_one_row_or_condition_is_not_stored(
    database: Path, capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    rows_of(capsys, *TIMED, *PAIR)
    kept = SHAPE if "--time-budget" in other else TIMED
    code, out, err = run(capsys, *kept, *PAIR, *other, "--reuse", "--format", "json")
    rows = json.loads(out)["rows"]
    assert code == 0
    assert all(row["reused_from"] is None and row["time_s"] > 0 for row in rows)
    assert "note: nothing reused, so all is measured: no stored run" in err
    assert count(database) == 2 + len(rows)


@pytest.mark.timing
def test_a_switch_of_the_environment_that_changes_kernels_is_part_of_the_match(
    database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_of(capsys, *TIMED, *PAIR)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "nothing reused" in run(capsys, *TIMED, *PAIR, "--reuse")[2]
    assert rows_of(capsys, "history")[0]["settings"].split()[-1] == "ONEDNN_MAX_CPU_ISA=AVX2"
    assert count(database) == 4


@pytest.mark.timing
def test_what_was_said_of_the_machine_is_said_again(
    database: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_home, "other_load", lambda _: 1.9)
    run(capsys, *TIMED, *PAIR, "--threads", "1")
    err = run(capsys, *TIMED, *PAIR, "--threads", "1", "--reuse")[2]
    assert "note: when it was measured: other programs keep 1.9 of " in err
    assert "other programs keep 1.9" in rows_of(capsys, "history")[0]["notes"]
    assert count(database) == 2


def test_reuse_without_a_clock_says_that_it_has_no_effect(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, *SHAPE, "--no-time", "--reuse")
    assert code == 0
    assert "note: reuse has no effect here: nothing is to be timed." in err


# the list


@pytest.fixture
def stored(database: Path) -> Path:
    """Two runs of compare on different layers, and one of a model on an accelerator."""
    first = '{"in_channels": 3, "kernel_size": [3, 3], "out_channels": 64, "x": 0}'
    add(database, made.session("2026-07-01T12:00:00Z"), [made.entry("standard", first), made.entry("pointwise", first)])
    second = '{"in_channels": 32, "kernel_size": [3, 5], "out_channels": 64, "x": 0}'
    add(database, made.session("2026-07-03T12:00:00Z"), [made.entry("standard", second)])
    on_cuda = made.replace(made.CONDITIONS, device="cuda:1", dtype="float16", threads=4, memory_format="channels_last")
    run = made.replace(made.session("2026-07-02T12:00:00Z"), command="model", target="a.py:net", conditions=on_cuda)
    add(database, run, [made.entry("standard", "{}")])
    return database


@pytest.mark.parametrize(
    ("filters", "dates"),
    [
        ([], ["03", "02", "01", "01"]),
        (["--block", "standard"], ["03", "01"]),
        (["--block", "standard", "--block", "pointwise"], ["03", "01", "01"]),
        (["--target", "a.py:net"], ["02"]),
        (["--command", "model"], ["02"]),
        (["--command", "compare"], ["03", "01", "01"]),
        (["--device", "cuda"], ["02"]),
        (["--device", "cuda:1"], ["02"]),
        (["--device", "cuda:0"], []),
        (["--device", "cpu", "--device", "cuda"], ["03", "02", "01", "01"]),
        (["--dtype", "float16"], ["02"]),
        (["--memory-format", "contiguous"], ["03", "01", "01"]),
        (["--threads", "4"], ["02"]),
        (["--c", "3"], ["02", "01", "01"]),
        (["--c", "3", "--o", "64", "--k", "3"], ["02", "01", "01"]),
        (["--c", "32"], ["03"]),
        (["--k", "3x5"], ["03"]),
        (["--k", "5"], []),
        (["--since", "2026-07-02T12:00:00+00:00"], ["03", "02"]),
        (["--until", "2026-07-02T12:00:00+00:00"], ["02", "01", "01"]),
        (["--since", "2026-07-02T12:00:01+00:00"], ["03"]),
        (["--since", "2026-07-02T12:00:00+00:00", "--block", "pointwise"], []),
        (["--limit", "2"], ["03", "02"]),
        (["--limit", "all"], ["03", "02", "01", "01"]),
    ],
)
def test_filters_choose_and_the_newest_comes_first(
    stored: Path, capsys: pytest.CaptureFixture[str], filters: list[str], dates: list[str]
) -> None:
    rows = rows_of(capsys, "history", *filters)
    assert [row["measured_at"][8:10] for row in rows] == dates
    assert stored.exists()


@pytest.fixture
def networks(database: Path) -> Path:
    """Two runs of one model with other arguments and threads, and one of a comparison."""
    for threads in (1, 2):
        whole = f'{{"arguments": {{"depth": "1", "width": "{threads}"}}, "target": "a.py:net"}}'
        conditions = made.replace(made.CONDITIONS, threads=threads)
        run = made.replace(made.session(), command="model", target="a.py:net", conditions=conditions)
        add(database, run, [made.entry("(forward)", whole), made.entry("stem")])
    add(database, made.session(), [made.entry("standard")])
    return database


@pytest.mark.usefixtures("networks")
def test_whole_models_have_their_arguments_in_the_name_and_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["(forward) depth=1 width=2", "(forward) depth=1 width=1"]
    assert [row["name"] for row in rows_of(capsys, "history", "--name", "forward")] == names
    assert [row["name"] for row in rows_of(capsys, "history", "--name", "(forward)")] == names
    assert [row["name"] for row in rows_of(capsys, "history", "--name", "stem", "--threads", "2")] == ["stem"]
    assert list(convcost.history(name=["stem", "standard"]).to_frame()["name"]) == ["standard", "stem", "stem"]


def test_the_layers_of_a_model_have_its_arguments_too(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = made.entry("(forward)", '{"arguments": {"alpha": "0.5", "deep": "True"}, "target": "a.py:net"}')
    add(database, made.session(), [whole, made.entry("body.0")])
    add(database, made.session("2026-07-02T12:00:00Z"), [made.entry("standard")])
    rows = rows_of(capsys, "history")
    assert [(row["name"], row["arguments"]) for row in rows] == [
        ("standard", None),
        ("(forward) alpha=0.5 deep=True", ["alpha=0.5", "deep=True"]),
        ("body.0", ["alpha=0.5", "deep=True"]),
    ]
    _, out, _ = run(capsys, "history", "--name", "body.0", "--format", "csv", "--columns", "name,arguments")
    assert out.splitlines()[1] == "body.0,alpha=0.5 deep=True"


def test_the_verdict_is_kept_where_there_was_a_baseline(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubtful = made.replace(made.timing(), doubts=("only 1 undisturbed block: wait",))
    add(database, made.session(), [made.entry(), made.replace(made.entry("other"), timing=doubtful)])
    add(database, made.replace(made.session("2026-07-02T12:00:00Z"), baseline=None), [made.entry("alone")])
    rows = rows_of(capsys, "history")
    assert [(row["name"], row["verdict"]) for row in rows] == [
        ("alone", None),
        ("standard", "faster"),  # 2.0 (1.5 to 2.5)
        ("other", "undecided"),
    ]


@pytest.mark.parametrize("layer", ["{}", "[]", "no JSON", '{"arguments": 3}'])
def test_a_whole_model_that_another_program_stored_is_listed(
    database: Path, layer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add(database, made.session(), [made.entry("(forward)", layer)])
    assert [row["name"] for row in rows_of(capsys, "history")] == ["(forward)"]


@pytest.mark.usefixtures("networks")
def test_conditions_that_differ_are_columns_at_80_and_the_others_stand_below() -> None:
    history = convcost.history()
    head, rule, *rows = plain_table(history.columns, history.rows, 80).splitlines()
    assert head.split() == ["model", "name", "input", "threads", "time"]
    assert len(rule) <= 80
    assert [row.split("  ")[0].strip() for row in rows] == ["-", *["a.py:net"] * 4]
    assert convcost.history().verdicts == ("all on cpu, float32, contiguous",)
    assert "threads" not in plain_table(history.columns, history.rows[:1], 80)


def test_blocks_alone_have_date_and_input_at_80(database: Path) -> None:
    add(database, made.session(), [made.entry("standard"), made.entry("depthwise-separable")])
    history = convcost.history()
    head = plain_table(history.columns, history.rows, 80).splitlines()[0]
    assert head.split() == ["measured", "name", "input", "time", "speed-up"]


def test_an_age_is_counted_from_now(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for hours in (1, 30, 24 * 8):
        date = (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        add(database, made.session(date), [made.entry(f"{hours}")])
    assert [row["name"] for row in rows_of(capsys, "history", "--since", "2h")] == ["1"]
    assert [row["name"] for row in rows_of(capsys, "history", "--since", "7d")] == ["1", "30"]
    assert [row["name"] for row in rows_of(capsys, "history", "--until", "1w")] == ["192"]
    assert [row["name"] for row in rows_of(capsys, "history", "--since", "90m")] == ["1"]


def test_the_table_shows_twenty_rows_and_says_how_many_more_there_are(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(database, made.session(), [made.entry(f"layer{number:02}") for number in range(23)])
    code, out, err = run(capsys, "history")
    assert code == 0
    assert out.splitlines()[0] == f"20 of 23 timings in {database}"
    assert sum(" layer" in line for line in out.splitlines()) == 20
    assert err == "note: 3 older timings are not shown; add --limit all.\n"
    assert len(rows_of(capsys, "history")) == 23
    assert "2.0x (1.5–2.5)" in out


def test_every_kind_of_export_has_the_rows(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("h.csv", "h.json", "h.md", "h.tex", "h.parquet", "h.xlsx")
    exports = [word for name in names for word in ("--export", str(tmp_path / name))]
    assert run(capsys, "history", *exports)[0] == 0
    fields = [column.name for column in HISTORY_COLUMNS]
    with (tmp_path / "h.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines[0] == fields
    assert len(lines) == 5
    assert json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))["schema"] == "convcost.history/1"
    assert list(pd.read_parquet(tmp_path / "h.parquet")["time_s"]) == [2e-3] * 4
    assert openpyxl.load_workbook(tmp_path / "h.xlsx").active.max_row == 5
    assert "2026-07-03T12:00:00Z" in (tmp_path / "h.md").read_text(encoding="utf-8")
    assert "{time (ms)}" in (tmp_path / "h.tex").read_text(encoding="utf-8")
    assert list(convcost.history(block="pointwise").to_frame()["name"]) == ["pointwise"]
    assert count(stored) == 4


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "latex", "table"])
def test_an_empty_history_is_no_error(database: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    code, out, err = run(capsys, "history", "--format", form, "--export", str(database.with_suffix(".xlsx")))
    assert (code, err) == (0, "")
    assert form not in {"csv", "table"} or len(out.strip().splitlines()) == 1
    if form == "csv":
        assert next(csv.reader(StringIO(out))) == [column.name for column in HISTORY_COLUMNS]
    assert not database.exists()
    assert form != "table" or out.startswith(f"0 timings in {database} (no such file yet)\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--block", "deptwise"], "block (=deptwise) must be a name of the catalogue; did you mean depthwise?"),
        (["--command", "compar"], "command (=compar) must be a command that times; did you mean compare?"),
        (["--limit", "0"], "limit (=0) must be 1 or more, or all."),
        (["--limit", "x"], "limit (=x) must be 1 or more, or all."),
        (["--since", "soon"], "since (=soon) must be a date or an age; write it as 2026-07-01,"),
        (["--until", "2026-13-01"], "until (=2026-13-01) must be a date or an age;"),
        (["--since", "999999w"], "since (=999999w) must be a date or an age;"),
        (["--dtype", "float33"], "dtype (=float33) must be one of float32, float64, bfloat16, float16."),
        (["--memory-format", "nhwc"], "memory_format (=nhwc) must be one of contiguous, channels_last."),
        (["--device", "c_u"], "device (=c_u) must be cpu, cuda, cuda:1 or mps."),
        (["--threads", "-3"], "threads (=-3) must be at least 1;"),
        (["--c", "0"], "in_channels (=0) must be at least 1;"),
        (["--since", "1d", "--until", "2d"], "since (=1d) must be before until (=2d); exchange them."),
        (["--k", "3x"], "kernel_size (=3x) must be a whole number or HEIGHTxWIDTH;"),
        (["--columns", "nam"], "columns (=nam) must be fields of a row; did you mean name?"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(
    stored: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, out, err = run(capsys, "history", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert stored.exists()


# databases that refuse


@pytest.mark.timing
@pytest.mark.parametrize("content", [b"no database " * 100, None])
def test_a_timing_goes_on_without_a_database_and_says_so(
    database: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is None:
        database.mkdir()
    else:
        database.write_bytes(content)
    code, out, err = run(capsys, *TIMED, *PAIR, "--reuse", "--format", "json")
    assert code == 0
    assert all(row["time_s"] > 0 for row in json.loads(out)["rows"])
    assert f"note: nothing reused, so all is measured: database (={database}) " in err
    assert f"note: these timings are not stored: database (={database}) " in err
    assert content is None or database.read_bytes() == content
    code, out, err = run(capsys, "history")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: database (={database}) ")
    assert err.count("\n") == 1


@pytest.mark.timing
@pytest.mark.usefixtures("database")
def test_a_forward_that_check_timed_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "import torch\n\ndef net():\n    return torch.nn.Conv2d(3, 8, 3)\n", encoding="utf-8"
    )
    words = ["check", "net.py:net", "--input", "1x3x20x20", "--max-latency", "60 s", "--time-budget", "0.8"]
    code, out, _ = run(capsys, *words, "--format", "json")
    (metric,) = json.loads(out)["budgets"][0]["metrics"]
    assert code == 0
    assert run(capsys, *words, "--no-store")[0] == 0
    (row,) = rows_of(capsys, "history", "--command", "check")
    assert (row["name"], row["target"], row["params"], row["macs"]) == ("(forward)", "net.py:net", 224, 216 * 18 * 18)
    assert (row["time_s"], row["threads"], row["speedup"]) == (metric["actual"], 1, None)


@pytest.mark.timing
@pytest.mark.usefixtures("database")
def test_a_timed_kernel_and_its_factors_are_kept_as_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["kernel", "sobel", "--h", "24", "--time-budget", "0.8", "--device", "cpu", "--format", "json"]
    (shown,) = json.loads(run(capsys, *words)[1])["kernels"]
    assert run(capsys, *words, "--no-store")[0] == 0
    kernel, factors = rows_of(capsys, "history", "--command", "kernel", "--k", "3", "--c", "3")
    assert (kernel["name"], factors["name"], factors["baseline"]) == ("sobel", "sobel (factors)", "sobel")
    assert (kernel["time_s"], factors["time_s"]) == (shown["kernel_time_s"], shown["time_s"])
    assert (factors["speedup"], kernel["speedup"], kernel["run"]) == (shown["speedup"], 1.0, factors["run"])
    assert kernel["layer"] != factors["layer"]


@pytest.mark.timing
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "CONVCOST_DB",
            "~nobody-of-this-name/x.db",
            "not stored: CONVCOST_DB (=~nobody-of-this-name/x.db) must be a path",
        ),
        ("OMP_FOO", "\udcff", ""),
    ],
)
def test_a_strange_environment_costs_no_timing(
    variable: str, value: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    code, out, err = run(capsys, *TIMED, "--block", "standard", "--format", "json")
    assert code == 0
    assert json.loads(out)["rows"][0]["time_s"] > 0
    assert said in err
    assert ("not stored" in err) == bool(said)


@pytest.mark.timing
def test_a_failure_that_nobody_thought_of_costs_no_timing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr("convcost.archive.storing.now", broken)
    code, out, err = run(capsys, *TIMED, "--block", "standard", "--format", "json")
    assert (code, json.loads(out)["rows"][0]["block"]) == (0, "standard")
    assert "these timings are not stored: ZeroDivisionError: nobody thought of it; turn store off to avoid this." in err


@pytest.mark.timing
def test_sizes_of_numpy_are_sizes() -> None:
    sizes: dict[str, Any] = {"height": np.int64(8), "batch": np.int32(1), "bias": np.True_}
    sizes |= {"in_channels": np.int64(4), "out_channels": np.int64(4), "kernel_size": np.array([3, 1])}
    result = convcost.compare(**sizes, blocks=["standard"], count=False, time_budget=0.2)
    assert json.loads(json.dumps(result.to_dict()))["rows"][0]["kernel_size"] == [3, 1]
    assert not [note for note in result.notes if "not stored" in note]


@pytest.mark.timing
def test_reused_intervals_are_not_said_to_be_of_the_calibration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, *TIMED, *PAIR)[0] == 0
    save_machine(tmp_path / "machine.toml", machine(identity(torch.device("cpu")), speed=1e6))
    monkeypatch.setenv("CONVCOST_MACHINE", str(tmp_path / "machine.toml"))
    _, _, err = run(capsys, *TIMED, *PAIR, "--reuse")
    assert "note: bounds from the calibration of 2026-11-24 (" in err
    assert "run-to-run term" not in err


def test_a_timing_goes_on_beside_a_locked_database(
    database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, made.session(), [made.entry()])
    monkeypatch.setattr(database_file, "busy_s", 0.05)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        code, out, err = run(capsys, *TIMED, *PAIR)
    assert code == 0
    assert "depthwise-separable" in out
    assert "not stored: database" in err
    assert "is locked by another program" in err
    assert count(database) == 1


LIST_AND_ADD = """
import os, sys
from pathlib import Path
import history_writer as made
from convcost.archive.database import add
from convcost.cli import main

def use(path):
    os.environ["CONVCOST_DB"] = path
    print(main(["history"]))
    try:
        add(Path(path), made.session(), [made.entry()])
    except ValueError as error:
        print(error)

Path(sys.argv[1]).write_text("no database")
use(sys.argv[1])  # imports all that is needed: others may not read the folder that the package lies in
Path(sys.argv[1]).unlink()
use(sys.argv[1])
use(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
print("nobody")
use(sys.argv[2])
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="permissions are POSIX's")
def test_a_read_only_database_is_listed_but_never_written(database: Path) -> None:
    """Root may write everywhere, so the child becomes somebody else first."""
    folder = Path(tempfile.mkdtemp(prefix="convcost-read-only-"))
    path = folder / "history.sqlite3"
    try:
        add(path, made.session(), [made.entry("kept")])
        path.chmod(0o444)
        folder.chmod(0o555)
        before = path.read_bytes()
        paths = os.pathsep.join([str(Path(made.__file__).parent), str(Path(__file__).parents[2])])
        environment = os.environ | {"PYTHONPATH": paths}
        command = [sys.executable, "-c", LIST_AND_ADD, str(database), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        lines = done.stdout.partition("nobody\n")[2].splitlines()
        assert lines[0] == f"1 timing in {path}"
        assert " kept " in lines[2]
        assert lines[-2] == "0"
        assert lines[-1].startswith(f"database (={path}) is read-only (")
        assert lines[-1].endswith("; make it and its folder writable, or let CONVCOST_DB name another.")
        assert path.read_bytes() == before
        assert [file.name for file in folder.iterdir()] == ["history.sqlite3"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.skipif(os.name == "nt", reason="limits of a process are POSIX's")
def test_a_disk_without_room_loses_nothing(database: Path) -> None:
    add(database, made.session(), [made.entry("kept")])

    def little_room() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    code = (
        "import sys, os\nfrom pathlib import Path\nimport history_writer as made\nfrom convcost.archive.database import add\n"
        "try:\n    add(Path(os.environ['CONVCOST_DB']), made.session(), [made.entry('lost' * 9)] * 200)\n"
        "except ValueError as error:\n    print(error)\n"
    )
    paths = os.pathsep.join([str(made.__file__).rpartition(os.sep)[0], *sys.path])
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=little_room,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.stdout.startswith(f"database (={database}) ")
    assert "room" in done.stdout
    assert [row.entry.name for row in stored_rows(database, "1", {}, None)[0]] == ["kept"]

"""`convcost sweep` as its users have it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import convcost
from convcost.cli import main
from convcost.text.errors import ConvcostError

GRID = """\
blocks = ["standard", "grouped"]
columns = ["block", "c", "o", "k", "groups", "macs", "params", "macs_ratio"]
[axes]
c = [8, 12]
o = [8, 9]
k = [3, "3x5"]
h = 7
groups = [2, 3]
"""
COMMON = "h = w = 7, batch = 1, float32; ratios relative to standard"
LARGE = """\
blocks = ["all"]
[axes]
c = { from = 8, to = 1024, step = 8 }
o = { from = 8, to = 1024, step = 8 }
k = [1, 3, 5, 7]
h = [7, 14, 28]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "grid.toml"
    path.write_text(GRID, encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["sweep", *map(str, words)])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def test_a_small_grid_is_printed_and_what_blocks_do_not_allow_is_counted(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, file)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"grid of 2 blocks, 14 rows; {COMMON}; 1 MAC = 2 FLOPs"
    assert len(lines) == 1 + 1 + 14
    # groups 2 divide c of 8 and 12 but not o = 9; groups 3 do not divide c = 8, nor o = 8
    assert err.splitlines() == [
        "note: 6 combinations are refused: out_channels must be divisible by groups.",
        "note: 4 combinations are refused: in_channels must be divisible by groups.",
    ]


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "latex"])
def test_every_format_has_the_rows_of_the_table(form: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, file, "--format", form)
    assert code == 0
    macs = [7 * 7 * k * c * o for c in (8, 12) for o in (8, 9) for k in (9, 15)]
    if form == "csv":
        rows = list(csv.DictReader(out.splitlines()))
        assert list(rows[0]) == [
            *("block", "in_channels", "out_channels", "kernel_size", "groups", "macs", "params", "macs_ratio"),
        ]
        assert [int(row["macs"]) for row in rows[:8]] == macs
        assert [row["kernel_size"] for row in rows[:2]] == ["3x3", "3x5"]
    elif form == "json":
        read: dict[str, Any] = json.loads(out)
        assert read["schema"] == "convcost.grid/1"
        assert [row["macs"] for row in read["rows"][:8]] == macs
        assert [row["kernel_size"] for row in read["rows"][:2]] == [[3, 3], [3, 5]]
        assert read["refused"] == {
            "in_channels must be divisible by groups": 4,
            "out_channels must be divisible by groups": 6,
        }
    else:
        assert out.count("grouped") == 14 - 8
    assert "refused" in err


@pytest.mark.parametrize("suffix", ["csv", "json", "md", "tex", "parquet", "xlsx"])
def test_a_small_grid_is_exported(suffix: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"rows.{suffix}"
    assert run(capsys, file, "--export", path)[0] == 0
    assert path.stat().st_size > 0
    if suffix == "parquet":
        assert pq.read_table(path)["macs"].to_pylist()[:2] == [7 * 7 * 9 * 8 * 8, 7 * 7 * 15 * 8 * 8]


def test_what_is_not_legal_is_a_row_with_its_reason_on_request(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(file).write_text(f'illegal = "rows"\n{GRID}', encoding="utf-8")
    code, out, _ = run(capsys, file, "--format", "csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert (code, len(rows)) == (0, 8 + 16)
    refused = [row for row in rows if row["refused"]]
    assert len(refused) == 4 + 6
    assert {row["macs"] for row in refused} == {""}


def test_a_folder_gets_parts_and_a_second_run_has_nothing_to_do(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, file, "--out", tmp_path / "out", "--export", tmp_path / "rows.csv")
    assert code == 0
    assert out.splitlines()[0] == f"grid of 2 blocks, 14 rows, in {tmp_path / 'out'}; {COMMON}; 1 MAC = 2 FLOPs"
    names = ["part-00-07.parquet", "part-08-23.parquet", "sweep.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    times = [path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")]
    assert run(capsys, file, "--out", tmp_path / "out")[1] == out
    assert [path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")] == times
    exported = (tmp_path / "rows.csv").read_text(encoding="utf-8")
    assert run(capsys, file, "--format", "csv")[1] == exported


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--pareto", "params,macs_ratio"), "pareto"),
        (("--top", "3", "--sort", "macs_ratio", "--group-by", "k"), "top"),
        (("--group-by", "block,k"), "groups"),
    ],
)
def test_only_what_is_kept_is_written(
    words: tuple[str, ...], name: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, file, *words, "--out", tmp_path / "out", "--format", "csv")
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}.parquet", "sweep.json"}
    assert len(out.splitlines()) == 1 + pq.read_metadata(tmp_path / f"out/{name}.parquet").num_rows
    assert run(capsys, file, *words, "--format", "csv")[1] == out


def test_a_dry_run_writes_nothing(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, file, "--dry-run", "--out", tmp_path / "out", "--format", "json")
    read = json.loads(out)
    assert (code, read["schema"]) == (0, "convcost.sweep-plan/1")
    assert read["totals"]["combinations"] == 8 + 16
    assert [(row["block"], row["combinations"], row["parts"]) for row in read["blocks"]] == [
        *(("standard", 8, 1), ("grouped", 16, 1)),
    ]
    assert not (tmp_path / "out").exists()
    code, out, _ = run(capsys, file, "--dry-run")
    assert "24 combinations in 2 parts\nabout 14 rows, " in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pareto", "macs_rato"), "pareto (=macs_rato) must be a column of numbers; did you mean macs_ratio?"),
        (("--pareto", "h"), "pareto (=h) must be one of the sweep's columns; add it to columns"),
        (("--top", "3"), "top must go with sort"),
        (("--top", "0", "--sort", "macs"), "top (=0) must be a whole number from 1 to 1,000,000; write 100."),
        (("--top", "3", "--sort", "macs", "--pareto", "macs"), "pareto and top exclude each other"),
        (("--export", "rows.docx"), "export (=rows.docx) must end in .csv"),
        (("--out", ""), "out (=) must be the path of a folder; write . for the current one."),
        (("--pareto", ""), "pareto (=) must be names of columns; write them as block,macs, or leave it out."),
        (("--group-by", " , "), "group_by (=,) must be names of columns; write them as"),
        (("--top", "3", "--sort", ""), "sort (=) must be a column of numbers; known: macs, params, macs_ratio."),
        (("--out", "grid.toml"), "out (=grid.toml/sweep.json) must be in a folder that can be written"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    words: tuple[str, ...],
    message: str,
    file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, file, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["grid.toml"]


def test_every_mistake_of_a_file_has_a_line_of_its_own(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(file).write_text('where = ["c >= 1 and f(o)", "cc > 1"]\n[axes]\nc = []\no = 8\nk = 3\n', encoding="utf-8")
    code, out, err = run(capsys, file)
    assert (code, out) == (2, "")
    assert [line.removeprefix(f"error: {file}:").partition(" (")[0] for line in err.splitlines()] == [
        *("1:22: where.0", "1:30: where.1", "3:5: axes.c"),
    ]


def test_another_sweep_and_too_many_rows_are_refused(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, file, "--out", tmp_path / "out")[0] == 0
    code, _, err = run(capsys, file, "--out", tmp_path / "out", "--pareto", "macs")
    assert code == 2
    assert "must hold the same sweep, and kept is missing there, {'pareto': ['macs']} here; give another folder" in err
    Path(file).write_text(LARGE, encoding="utf-8")
    assert "out (=missing) must name a folder for more than 100,000 rows" in run(capsys, file)[2]
    code, _, err = run(capsys, file, "--out", tmp_path / "large", "--format", "csv")
    assert code == 2
    assert "format (=csv) must hold at most 100,000 rows, and there are more" in err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to one process on Windows")
def test_ctrl_c_ends_a_sweep_with_130_and_a_note_and_it_goes_on(file: str, tmp_path: Path) -> None:
    Path(file).write_text(LARGE, encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "convcost", "sweep", file, "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(out.glob("part-*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (130, "")
    assert stderr == f"note: interrupted: what is written to {out} stays, and the same command goes on from there.\n"
    head = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert 0 < head["progress"]["parts"] <= len(list(out.glob("part-*"))) < head["parts"]
    assert not list(out.glob(".convcost-*"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no locks on folders")
def test_a_second_sweep_in_the_same_folder_is_refused(file: str, tmp_path: Path) -> None:
    Path(file).write_text(LARGE, encoding="utf-8")
    command = [sys.executable, "-m", "convcost", "sweep", file, "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        while first.poll() is None and not (tmp_path / "out/sweep.json").exists():
            time.sleep(0.01)
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        first.kill()
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == (
        f"error: out (={tmp_path / 'out'}) must not be in use, and another sweep writes to it; wait for its end.\n"
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits on the size of files")
def test_a_disk_that_is_full_is_one_line_and_what_is_written_stays(file: str, tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys; from convcost.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    Path(file).write_text(GRID.replace("o = [8, 9]", "o = { from = 6, to = 600, step = 6 }"), encoding="utf-8")
    assert main(["sweep", file, "--out", str(tmp_path / "whole")]) == 0
    first, second = sorted((tmp_path / "whole").glob("part-*"))
    assert first.stat().st_size < second.stat().st_size
    words = ["sweep", file, "--out", str(tmp_path / "out")]
    limited = [sys.executable, "-c", program, str(first.stat().st_size), *words]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{second.name}) could not be written (" in done.stderr
    assert "; make room or choose another folder; what is written stays, and the same command" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [first.name, "sweep.json"]
    assert main(words) == 0
    assert (tmp_path / "out" / second.name).read_bytes() == second.read_bytes()


def test_the_function_gives_what_the_command_gives(file: str, tmp_path: Path) -> None:
    result = convcost.sweep(file, tmp_path / "out")
    assert result.to_frame()["macs"].tolist() == convcost.sweep(Path(file)).to_frame()["macs"].tolist()
    assert result.scan().count_rows() == 14
    best = convcost.sweep(file, top=2, sort="macs_ratio", group_by="block, k")
    assert best.to_frame().groupby(["block", "kernel_size"]).size().tolist() == [2, 2, 2, 2]
    assert convcost.sweep(file, pareto=["macs", "params"]).to_frame()["groups"].tolist() == [2]
    assert convcost.sweep(file, dry_run=True).total("combinations") == 24
    with pytest.raises(ConvcostError, match=r"^axes\.c \(=missing\) must be there"):
        convcost.sweep({"axes": {}})


@pytest.mark.parametrize(
    ("source", "given", "message"),
    [
        (5, {}, "source (=5) must be the path of a TOML file, or a mapping with its keys; give one."),
        ({}, {"out": ""}, "out (=) must be the path of a folder; write . for the current one."),
        ({}, {"out": b"x"}, "out (=b'x') must be the path of a folder; write . for the current one."),
        ({}, {"pareto": [3]}, "pareto (=[3]) must be names of columns; write them as block,macs, or leave it out."),
        ({}, {"group_by": 3}, "group_by (=3) must be names of columns; write them as block,macs, or leave it out."),
        ({}, {"sort": ["macs"], "top": 1}, "sort (=['macs']) must be the name of one column; write macs_ratio."),
        pytest.param(
            {}, {"time": True, "device": 5}, "device (=5) must be the name of one device", marks=pytest.mark.torch
        ),
        ({"c": {8}}, {}, "axes.c (={8}) must be a list, a range or one value; write a list such as [8, 16]."),
        ({"c": {8: 1}.keys()}, {}, "axes.c (=dict_keys([8])) must be a list, a range or one value; write a list such"),
        ({"c": b"ab"}, {}, "axes.c (=b'ab') must be a whole number from 1 to 1,000,000,000; write 8."),
        ({"c": 10**10}, {}, "axes.c (=10000000000) must be a whole number from 1 to 1,000,000,000; write 1000000000."),
    ],
)
def test_values_of_another_type_are_refused_in_python(source: Any, given: dict[str, Any], message: str) -> None:
    axes = {"c": [8], "o": [8], "k": [3]}
    with pytest.raises(ConvcostError) as raised:
        convcost.sweep({"axes": axes | source} if isinstance(source, dict) else source, **given)
    assert str(raised.value).startswith(message)


def test_a_column_by_another_name_is_the_same_sweep(file: str, tmp_path: Path) -> None:
    assert main(["sweep", file, "--out", str(tmp_path), "--top", "2", "--sort", "macs", "--group-by", "c"]) == 0
    again = convcost.sweep(file, tmp_path, top=2, sort="macs", group_by=["in_channels"])
    assert again.to_frame()["in_channels"].tolist() == [8, 8, 12, 12]

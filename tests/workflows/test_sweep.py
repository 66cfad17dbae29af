"""Sweeps: undisturbed, interrupted, killed and started again, they leave the same bytes."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import convcost.workflows.sweep as workflow
from convcost.grids.configuration_file import read_configuration
from convcost.grids.grid import Grid
from convcost.grids.parts import write_table as write
from convcost.grids.prediction import predict as predict_part
from convcost.text.errors import ConvcostError
from convcost.workflows.sweep import SweepOptions, configuration_of, plan, sweep

AXES = {"c": [8, 12, 16], "o": [8, 9, 10], "k": [1, 3], "h": [7, 14], "groups": [2, 3]}
GRID = {"axes": AXES, "blocks": ["standard", "grouped", "depthwise-separable"], "where": ["c + o < 26"]}
SIZE = 36 + 72 + 36
ROWS = 10
KINDS: dict[str, dict[str, Any]] = {
    "parts": {},
    "pareto": {"pareto": ("params", "macs_ratio")},
    "top": {"top": 5, "sort": "macs_ratio", "group_by": ("k",)},
    "groups": {"group_by": ("block", "k")},
}
CONFIGURATION = read_configuration(GRID)


def options(folder: Path | None, kind: str) -> SweepOptions:
    return SweepOptions(folder, part_rows=ROWS, **KINDS[kind])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch):
    """A function that interrupts the next sweep within the part of a number, from 0, of those that it predicts."""

    def at(number: int) -> None:
        parts = set()  # a reduction may predict a part twice: few columns, then all

        def predict(configuration, part):
            parts.add(part.first)
            if len(parts) > number:
                monkeypatch.undo()
                raise KeyboardInterrupt
            return predict_part(configuration, part)

        for module in ("convcost.workflows.sweep", "convcost.grids.parts", "convcost.grids.reduction"):
            monkeypatch.setattr(f"{module}.predict", predict)

    return at


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_that_is_interrupted_goes_on_to_the_same_bytes(kind: str, interrupt, tmp_path: Path) -> None:
    sweep(CONFIGURATION, options(tmp_path / "undisturbed", kind))
    for number in (0, 1, 4, 3):
        interrupt(number)
        with pytest.raises(KeyboardInterrupt):
            sweep(CONFIGURATION, options(tmp_path / "interrupted", kind))
    progress = json.loads((tmp_path / "interrupted/sweep.json").read_text(encoding="utf-8"))["progress"]
    assert progress["parts"] == 0 + 1 + 4 + 3
    sweep(CONFIGURATION, options(tmp_path / "interrupted", kind))
    assert contents(tmp_path / "interrupted") == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_that_is_done_predicts_nothing_again(kind: str, interrupt, tmp_path: Path) -> None:
    sweep(CONFIGURATION, options(tmp_path, kind))
    before = contents(tmp_path)
    interrupt(0)
    sweep(CONFIGURATION, options(tmp_path, kind))
    assert contents(tmp_path) == before


def test_a_reduction_that_was_killed_at_its_very_end_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_at_last(progress: dict[str, Any]) -> str:
        if (tmp_path / "killed/top.parquet").exists():
            raise KeyboardInterrupt
        return json.dumps(progress)

    sweep(CONFIGURATION, options(tmp_path / "undisturbed", "top"))
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "SAVE_S", -1.0)
        patch.setattr("convcost.grids.parts.json_text", end_at_last)
        with pytest.raises(KeyboardInterrupt):
            sweep(CONFIGURATION, options(tmp_path / "killed", "top"))
    assert {"top.parquet", "state.parquet"} < set(contents(tmp_path / "killed"))
    sweep(CONFIGURATION, options(tmp_path / "killed", "top"))
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_the_folder_has_every_row_once_and_says_what_became_of_the_others(tmp_path: Path) -> None:
    sweep(CONFIGURATION, options(tmp_path, "parts"))
    head = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    names = sorted(path.name for path in tmp_path.glob("*.parquet"))
    firsts = [int(name.split("-")[1]) for name in names]
    lasts = [int(name.split("-")[2].removesuffix(".parquet")) for name in names]
    assert firsts == [0, *(last + 1 for last in lasts[:-1])]
    assert lasts[-1] == SIZE - 1
    assert (head["combinations"], head["parts"], head["part_rows"]) == (SIZE, len(names), ROWS)
    progress = head["progress"]
    assert progress["parts"] == len(names)
    rows = sum(pq.read_metadata(tmp_path / name).num_rows for name in names)
    assert rows == progress["rows"] == SIZE - progress["excluded"] - sum(progress["refused"].values())
    # c + o < 26 leaves out c = 16 with o = 10, a ninth of the combinations
    assert progress["excluded"] == SIZE // 9


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_and_the_memory_have_the_same_rows(kind: str, tmp_path: Path) -> None:
    written = sweep(CONFIGURATION, options(tmp_path, kind)).to_frame()
    assert written.equals(sweep(CONFIGURATION, options(None, kind)).to_frame())
    assert len(written) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_may_have_a_name_like_an_address(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = sweep(CONFIGURATION, options(Path("s3:x"), kind)).to_frame()
    before = written(Path("s3:x"))
    assert first.equals(sweep(CONFIGURATION, options(Path("s3:x"), kind)).to_frame())
    assert {name: time for name, time in written(Path("s3:x")).items() if name != "sweep.json"} == {
        name: time for name, time in before.items() if name != "sweep.json"
    }


def test_the_size_of_parts_does_not_change_what_is_kept() -> None:
    for kind in ("pareto", "top", "groups"):
        small = sweep(CONFIGURATION, options(None, kind)).to_frame()
        assert small.equals(sweep(CONFIGURATION, SweepOptions(**KINDS[kind])).to_frame())


def test_the_state_of_a_reduction_is_written_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def write_table(path, *rest):
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(workflow, "SAVE_S", -1.0)
    monkeypatch.setattr(workflow, "SAVE_SHARE", 0)
    monkeypatch.setattr(workflow, "write_table", write_table)
    sweep(CONFIGURATION, options(tmp_path, "pareto"))
    assert written == [*["state.parquet"] * Grid(CONFIGURATION).part_count(ROWS), "pareto.parquet"]
    assert sorted(contents(tmp_path)) == ["pareto.parquet", "sweep.json"]


RUN = """
import sys
from pathlib import Path
import convcost.workflows.sweep as workflow
from convcost.grids.configuration_file import read_configuration

workflow.SAVE_S, workflow.SAVE_SHARE = -1.0, 0  # the state after every part
grid, kind = eval(sys.argv[2]), eval(sys.argv[3])
workflow.sweep(read_configuration(grid), workflow.SweepOptions(Path(sys.argv[1]), part_rows=10, **kind))
"""


def written(folder: Path) -> dict[str, int]:
    """When each file of a folder was written."""
    with contextlib.suppress(FileNotFoundError):  # a temporary file that was renamed meanwhile
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    return {}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("kind", ["parts", "pareto"])
def test_a_sweep_that_is_killed_at_random_moments_ends_with_the_same_bytes(kind: str, tmp_path: Path) -> None:
    grid = {**GRID, "axes": {**AXES, "h": {"from": 7, "to": 126, "step": 1}}}
    command = [sys.executable, "-c", RUN, str(tmp_path / "killed"), repr(grid), repr(KINDS[kind])]
    sweep(read_configuration(grid), options(tmp_path / "undisturbed", kind))
    moments = random.Random(19)
    for _ in range(4):
        before = written(tmp_path / "killed")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and written(tmp_path / "killed") == before:
                time.sleep(0.001)
            time.sleep(0.1 * moments.random())
            process.kill()
        assert process.returncode == -signal.SIGKILL
    subprocess.run(command, check=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pareto": ("macs",), "top": 3, "sort": "macs"}, "pareto and top exclude each other"),
        ({"top": 0, "sort": "macs"}, r"top \(=0\) must be a whole number from 1 to 1,000,000; write 100"),
        ({"top": 3}, "top must go with sort; give both"),
        ({"sort": "macs"}, "sort must go with top; give both"),
        (
            {"pareto": ("macs_rato",)},
            r"pareto \(=macs_rato\) must be a column of numbers; did you mean macs_ratio",
        ),
        ({"pareto": ("block",)}, r"pareto \(=block\) must be a column of numbers; known: params"),
        ({"top": 3, "sort": "padding"}, r"sort \(=padding\) must be a column of numbers"),
        (
            {"pareto": ("foo",)},
            r"pareto \(=foo\) must be a column of numbers; known: params, macs, flops, traffic_bytes, f",
        ),
        ({"group_by": ("foo",)}, r"group_by \(=foo\) must be one of the sweep's columns; known: block, in_channels"),
        ({"pareto": ("macs", "macs")}, r"pareto \(=macs\) must be there once; leave the second one out"),
        ({"group_by": ("c", "in_channels")}, r"group_by \(=in_channels\) must be there once"),
        ({"top": 3, "sort": ["macs"]}, r"sort \(=\['macs'\]\) must be the name of one column; write macs_ratio"),
        ({"group_by": ("refused",)}, r"group_by \(=refused\) must be one of the sweep's columns; add it to columns"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConvcostError, match=message):
        sweep(CONFIGURATION, SweepOptions(tmp_path / "out", **given))
    assert not (tmp_path / "out").exists()


def test_a_large_sweep_without_a_folder_or_for_one_file_is_refused(tmp_path: Path) -> None:
    axes = {"c": {"from": 1, "to": 50_001, "step": 1}, "o": 8, "k": 3, "h": [7, 8]}
    large = read_configuration({"axes": axes, "blocks": ["standard"]})
    with pytest.raises(ConvcostError, match=r"must name a folder for more than 100,000 rows, and there are more; "):
        sweep(large, SweepOptions())
    whole = SweepOptions(tmp_path / "out", whole="export (=a.csv)")
    for _ in range(2):  # a second run has the rows of the first one
        with pytest.raises(ConvcostError, match=r"^export \(=a.csv\) must hold at most 100,000 rows"):
            sweep(large, whole)
    front = sweep(large, SweepOptions(top=2, sort="macs", part_rows=2**15)).to_frame()
    assert front["macs"].tolist() == [7 * 7 * 9 * 8, 8 * 8 * 9 * 8]


def test_of_a_large_grid_a_few_rows_need_no_folder(tmp_path: Path) -> None:
    axes = {"c": {"from": 1, "to": 100_001, "step": 1}, "o": 8, "k": 3, "h": 7}
    few = read_configuration({"axes": axes, "blocks": ["standard"], "where": ["c > 100000"]})
    for given in (SweepOptions(), SweepOptions(tmp_path, whole="format (=csv)")):
        assert sweep(few, given).to_frame()["in_channels"].tolist() == [100_001]


def test_more_groups_or_rows_than_the_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcost.grids.groups.MAX_GROUPS", 6)
    monkeypatch.setattr("convcost.grids.reduction.MAX_KEPT", 6)
    assert sweep(CONFIGURATION, options(None, "groups")).row_count == 3 * 2
    for given, message in (
        ({"group_by": ("o", "c")}, r"^group_by \(=out_channels,in_channels\) must keep at most 6 groups, and there"),
        ({"top": 1, "sort": "macs", "group_by": ("c", "k", "h")}, r"^group_by \(=.*\) must keep at most 6 rows"),
        ({"pareto": ("params", "flop_per_byte")}, r"^pareto \(=params,flop_per_byte\) must keep at most 6 rows"),
    ):
        with pytest.raises(ConvcostError, match=message):
            sweep(CONFIGURATION, SweepOptions(**given))


def test_a_plan_of_a_condition_on_the_outermost_axis_is_near_the_rows_that_it_keeps() -> None:
    thousand = {"from": 1, "to": 1000, "step": 1}
    grid = {"axes": {"c": thousand, "o": thousand, "k": 3}, "blocks": ["standard"], "where": ["c < 20"]}
    assert abs(plan(read_configuration(grid), SweepOptions()).total("rows") / (19 * 1000) - 1) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_says_what_the_folder_has_and_refuses_another_sweep(kind: str, interrupt, tmp_path: Path) -> None:
    interrupt(7)
    with pytest.raises(KeyboardInterrupt):
        sweep(CONFIGURATION, options(tmp_path, kind))
    before, made = contents(tmp_path), plan(CONFIGURATION, options(tmp_path, kind))
    assert [row.done for row in made.rows] == [6, 1, 0]
    assert "of which 7 are done" in str(made)
    assert contents(tmp_path) == before
    sweep(CONFIGURATION, options(tmp_path, kind))
    made = plan(CONFIGURATION, options(tmp_path, kind))
    assert [row.done for row in made.rows] == [row.parts for row in made.rows]
    assert made.total("seconds") == 0
    other = read_configuration({**GRID, "where": ["c + o < 27"]})
    with pytest.raises(ConvcostError, match="must hold the same sweep, and where"):
        plan(other, options(tmp_path, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_says_how_many_rows_and_writes_nothing(kind: str, tmp_path: Path) -> None:
    made = plan(CONFIGURATION, options(tmp_path / "out", kind))
    assert not (tmp_path / "out").exists()
    assert [(row.block, row.combinations) for row in made.rows] == [
        *(("standard", 36), ("grouped", 72), ("depthwise-separable", 36)),
    ]
    kept = sweep(CONFIGURATION, options(None, "parts")).to_frame()  # the sample of a small grid is the whole
    assert [row.rows for row in made.rows] == [(kept["block"] == row.block).sum() for row in made.rows]
    assert [row.parts for row in made.rows] == [
        Grid(read_configuration({**GRID, "blocks": [row.block]})).part_count(ROWS) for row in made.rows
    ]
    assert (made.total("size") is None) == (kind != "parts")
    assert made.total("seconds") > 0


def test_a_plan_of_the_largest_grid_takes_no_longer() -> None:
    far = {"from": 1, "to": 10**6, "step": 1}
    made = plan(read_configuration({"axes": {"c": far, "o": far, "k": 3}, "blocks": ["standard"]}), SweepOptions())
    assert made.total("combinations") == 10**12
    assert made.to_dict()["totals"]["combinations"] == 10**12
    assert "1,000,000,000,000 combinations" in str(made)


def test_a_mapping_and_a_file_are_the_same_sweep(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text("blocks = ['standard']\n[axes]\nc = [8]\no = [8]\nk = [3]\n", encoding="utf-8")
    mapping = {"blocks": ["standard"], "axes": {"c": [8], "o": [8], "k": [3]}}
    assert configuration_of(path) == configuration_of(str(path)) == configuration_of(mapping)


def test_the_progress_has_its_rate_and_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    lines: list[str] = []
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(workflow, "show_progress", lines.append)
    progress = workflow.Progress(10_000)
    progress(4_000, is_new=False)  # of an earlier run
    clock[0] = 2.0
    progress(1_000)
    clock[0] = 300.0
    progress(500)
    assert lines == [
        "4,000 of 10,000 rows",
        "5,000 of 10,000 rows, 500 rows/s, 10 s left",
        "5,500 of 10,000 rows, 5 rows/s, 15 min left",
    ]

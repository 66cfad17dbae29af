"""The result of a sweep is the same in memory and in a folder, and shows a bounded number of rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from convcost.grids import figures, result
from convcost.grids.columns import COLUMNS
from convcost.text.errors import ConvcostError
from convcost.text.export import write
from convcost.workflows.sweep import SweepOptions, configuration_of, sweep

if TYPE_CHECKING:
    from convcost.grids.result import GridResult

GRID: dict[str, Any] = {
    "blocks": ["standard", "ghost"],
    "axes": {"c": {"from": 8, "to": 64, "step": 8}, "o": [8, 9, 16], "k": [1, "3x5"], "h": [14]},
}
COMMON = "h = w = 14, batch = 1, float32; ratios relative to standard"
ROWS = 8 * 2 * (3 + 2)  # ghost refuses 9 output channels


def swept(*, given: dict[str, Any] | None = None, **options: Any) -> GridResult:
    return sweep(configuration_of(given or GRID), SweepOptions(**options))


def test_rows_in_memory_and_in_a_folder_are_the_same(tmp_path: Path) -> None:
    memory, folder = swept(), swept(out=tmp_path / "costs", part_rows=7)
    assert len(list((tmp_path / "costs").glob("part-*.parquet"))) > 2
    assert memory.row_count == folder.row_count == ROWS
    pd.testing.assert_frame_equal(memory.to_frame(), folder.to_frame())
    assert memory.scan().to_table().equals(folder.scan().to_table())
    ours, theirs = ({**one.to_dict(), "path": None} for one in (memory, folder))
    assert ours == theirs
    assert json.loads(json.dumps(ours, allow_nan=False))["schema"] == "convcost.grid/1"


def test_the_head_and_the_notes_say_what_became_of_every_combination() -> None:
    some = swept(given={**GRID, "where": ["c < 64"]})
    assert some.head == f"grid of 2 blocks, 70 rows; {COMMON}; 1 MAC = 2 FLOPs"
    assert some.notes == (
        f"{8 * 2 * 3 * 2 // 8} combinations do not meet the conditions.",
        f"{7 * 2} combinations are refused: out_channels must be divisible by ghost_ratio.",
    )
    best = swept(top=1, sort="macs_ratio", group_by=("block",))
    kept = "the 1 row with the largest macs_ratio of each block"
    assert best.head == f"grid of 2 blocks, 80 rows: {kept}; {COMMON}; 1 MAC = 2 FLOPs"
    assert str(best).startswith(best.head)


def test_a_column_is_shown_if_it_is_named_varies_or_is_a_cost() -> None:
    titles = {column.name for column in swept().columns if column.title}
    assert {"block", "in_channels", "out_channels", "kernel_size", "macs", "params"} <= titles
    assert not {"in_height", "batch", "dtype", "stride"} & titles
    assert "in_height" in {column.name for column in swept(top=1, sort="macs", group_by=("h",)).columns if column.title}
    named = swept(given={**GRID, "columns": ["block", "stride"]})
    assert [column.title for column in named.columns] == ["block", "stride"]
    summary = {column.name: column.title for column in swept(group_by=("block",)).columns if column.title}
    assert summary["rows"] == "rows"
    assert summary["macs_mean"] == "mean MACs"
    assert summary["in_channels_max"] == "max in"
    assert "in_height_max" not in summary


@pytest.mark.parametrize("kind", ["csv", "markdown", "parquet", "xlsx", "json"])
def test_a_column_without_some_values_is_exact_in_every_file(kind: str, tmp_path: Path) -> None:
    given = {"blocks": ["standard", "ghost"], "illegal": "rows", "axes": {"c": [8], "o": [8, 9], "k": [3], "h": [4]}}
    kept = swept(given=given)
    frame = kept.to_frame()
    assert frame["refused"].notna().sum() == 1
    assert list(frame["macs"])[:2] == [16 * 9 * 8 * 8, 16 * 9 * 8 * 9]
    assert [str(frame[name].dtype) for name in ("batch", "macs", "groups", "flop_per_byte")] == [
        *("int64", "Int64", "Int64", "float64"),
    ]
    assert list(frame.nlargest(2, "macs").index) == [1, 0]
    assert frame["dtype"].unique().tolist() == ["float32"]
    path = tmp_path / f"rows.{kind}"
    write(kind, frame, kept.to_dict(), path)
    if kind in {"csv", "markdown"}:
        text = path.read_text(encoding="utf-8")
        assert "nan" not in text
        assert {"9216", "10368", "5184"} <= set(re.findall(r"\w+", text))
    if kind == "parquet":
        assert str(pd.read_parquet(path)["macs"].dtype) == "Int64"


def test_tables_pages_and_notebooks_show_the_first_rows_and_the_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "MAX_FIRST_ROWS", 5)
    monkeypatch.setattr(result, "MAX_NOTEBOOK_ROWS", 3)
    folder = swept(out=tmp_path)
    assert len(folder.rows) == 5
    assert folder.notes[0] == f"5 of 80 rows are shown; all are in {tmp_path}."
    assert len(str(folder).splitlines()) == 1 + 1 + 5 + len(folder.notes)
    assert folder._repr_html_().count("<tr") == 1 + 3
    assert "3 of 80 rows are shown" in folder._repr_html_()
    assert len(folder.to_frame()) == ROWS


def test_more_rows_than_a_frame_or_json_should_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "MAX_FRAME_ROWS", 79)
    monkeypatch.setattr(result, "MAX_JSON_ROWS", 79)
    for view in (swept().to_frame, swept().to_dict):
        with pytest.raises(ConvcostError, match=r"rows \(=80\) must be at most 79 for .*; read them with .scan\(\)"):
            view()


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120, 200])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"group_by": ("block", "k")},
        {"group_by": ("k",)},
        {"pareto": ("macs", "traffic_bytes"), "group_by": ("c",)},
        {"top": 5, "sort": "macs_ratio"},
    ],
    ids=str,
)
def test_every_line_fits_the_terminal_and_goals_stay(width: int, options: dict[str, Any]) -> None:
    many = {**GRID["axes"], "h": [14, 28], "stride": [1, 2], "dilation": [1, 2], "batch": [1, 16]}
    every = {"columns": list(COLUMNS)[:24]}
    for given in ({**GRID, "axes": many}, {**GRID, "axes": many, **every}):
        lines = swept(given=given, **options).text(width).splitlines()
        assert max(map(len, lines)) <= width
        table = next(line for line in lines if "MACs" in line.split())
        assert "traffic" in table or "pareto" not in options


def test_the_head_has_what_the_rows_have_in_common() -> None:
    one: dict[str, Any] = {
        "blocks": ["ghost"],
        "axes": {"c": [8], "o": [16], "k": ["3x5"], "h": [8, 9], "bias": True, "ghost_ratio": 2},
    }
    assert swept(given=one).head == (
        "grid of 1 block, 2 rows; c = 8, o = 16, k = 3x5, bias = true, ghost_ratio = 2, batch = 1, float32, w = h; "
        "ratios relative to standard; 1 MAC = 2 FLOPs"
    )
    other = {**one, "baseline": "pointwise", "axes": {**one["axes"], "h": 7, "w": 8, "dtype": ["float32", "float64"]}}
    head = swept(given=other, group_by=("dtype",)).head
    assert "; block = ghost, c = 8, o = 16, k = 3x5, h = 7, bias = true, ghost_ratio = 2, w = 8, batch = 1; " in head
    assert "ratios relative to pointwise" in head
    assert "float" not in head
    assert "relative" not in swept(given={**one, "columns": ["c", "ghost_ratio", "macs"]}).head


def test_one_row_and_the_current_folder_are_written_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(result, "MAX_FIRST_ROWS", 0)
    axes = {"c": [8], "o": [8, 9], "k": [1], "h": [1]}
    one = swept(given={"blocks": ["standard"], "axes": axes, "where": ["o < 9"]}, out=Path())
    assert one.head.startswith(f"grid of 1 block, 1 row, in {tmp_path};")
    assert one.notes == (
        f"0 of 1 rows are shown; all are in {tmp_path}.",
        "1 combination does not meet the conditions.",
    )


def test_a_folder_that_lacks_rows_is_an_error_and_no_empty_frame(tmp_path: Path) -> None:
    kept = swept(out=tmp_path / "costs", part_rows=7)
    assert kept.scan().count_rows() == ROWS
    parts = sorted((tmp_path / "costs").glob("part-*.parquet"))
    for gone in (parts[:1], parts[1:]):
        for path in gone:
            path.unlink()
        for view in (kept.scan, kept.to_frame, kept.to_dict):
            with pytest.raises(ConvcostError, match=r"^out \(=.*costs\) must have the 80 rows of the sweep, and has "):
                view()


def drawn(kept: GridResult) -> list[dict[str, Any]]:
    return next(iter(kept.figure().to_dict()["datasets"].values()))


def test_the_figure_has_the_front_and_some_of_the_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("altair")
    monkeypatch.setattr(figures, "MAX_POINTS", 10)
    given = {**GRID, "where": ["o == 16"]}
    for kept in (swept(given=given), swept(given=given, out=tmp_path, part_rows=7)):
        points = drawn(kept)
        assert len(points) <= 10 + 2
        best = [(one["x"], one["y"]) for one in points if one["best"]]
        assert best == [(14 * 14 * (8 * 8 + 8), 8 * 8 + 8)]  # ghost, 8 to 16 channels, 1×1: half of them and a copy
        assert "Those on the line." in kept.figures[0].sentence


def test_the_figure_of_a_front_has_its_columns_each_with_its_better_end() -> None:
    pytest.importorskip("altair")
    kept = swept(pareto=("params", "macs_ratio"))
    points = drawn(kept)
    assert all(one["best"] for one in points)
    assert {(one["x"], round(one["y"], 9)) for one in points} == {
        (row["params"], round(row["macs_ratio"], 9)) for row in kept.rows
    }
    assert kept.figures[0].sentence.startswith("Which rows does no other beat in both params and macs_ratio?")


def test_the_rows_on_the_line_have_the_colours_of_their_blocks_where_there_are_several() -> None:
    pytest.importorskip("altair")
    several = {**GRID, "blocks": ["standard", "depthwise-separable"]}
    for given, kinds in ((several, several["blocks"]), ({**GRID, "blocks": ["ghost"]}, None)):
        chart = swept(given=given, pareto=("flop_per_byte", "macs_ratio")).figure().to_dict()
        colour = chart["layer"][-1]["encoding"].get("color")
        assert (colour and sorted(colour["scale"]["domain"])) == (kinds and sorted(kinds))


def test_without_two_costs_a_sentence_takes_the_place_of_the_figure() -> None:
    named = swept(given={**GRID, "columns": ["block", "c", "macs"]})
    assert named.figures[0].chart is None
    assert "macs and params" in named.figures[0].sentence
    assert swept(group_by=("block",)).figures[0].chart is None


def test_rows_that_equal_those_of_a_front_are_counted_in_a_note() -> None:
    given = {"blocks": ["standard"], "axes": {"c": [8], "o": [8], "k": [1], "h": range(1, 251)}}
    kept = swept(given=given, pareto=("params",))
    assert len(kept.rows) == 100
    assert kept.notes[0] == "150 further rows equal one of these in all of the columns; the first 100 of each are kept."


def test_the_first_rows_are_read_from_the_first_part_alone(tmp_path: Path) -> None:
    kept = swept(
        given={"axes": {"c": list(range(8, 136)), "o": [8], "k": [3]}, "blocks": ["standard"]},
        out=tmp_path,
        part_rows=32,
    )
    _, *others = sorted(tmp_path.glob("*.parquet"))
    for path in others:  # the number of their rows can be read, their columns cannot
        content = path.read_bytes()
        path.write_bytes(content[:4] + bytes(len(content) // 4) + content[4 + len(content) // 4 :])
    assert [row["in_channels"] for row in kept.rows] == list(range(8, 28))

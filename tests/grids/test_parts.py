"""The folder of a sweep: parts that are whole or not there, and what is refused."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convcost.grids.configuration_file import read_configuration
from convcost.grids.grid import Grid
from convcost.grids.parts import HEAD, Counts, FolderNames, contents, opened, part_path, read_counts, write_part
from convcost.system.ownership import locked
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from pathlib import Path

AXES = {"c": [8, 12], "o": [8, 9], "k": [3], "groups": [2, 3]}
GRID = {"axes": AXES, "blocks": ["standard", "grouped"]}
ROWS = 4
"""Rows of a part: one part for standard, with c x o, and two for grouped, with c x o x groups."""


def parts(configuration):
    return list(Grid(configuration).parts(ROWS))


def test_a_part_has_its_rows_in_its_name_and_its_counts_in_its_file(tmp_path: Path) -> None:
    configuration = read_configuration(GRID)
    counts = [write_part(configuration, part, tmp_path) for part in parts(configuration)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("part-00-03.parquet", "part-04-07.parquet", "part-08-11.parquet"),
    ]
    assert counts == [read_counts(part_path(tmp_path, part, 12)) for part in parts(configuration)]
    # grouped: groups 2 divide c of 8 and 12 and o of 8; groups 3 divide c of 12 and o of 9
    rules = ("in_channels must be divisible by groups", "out_channels must be divisible by groups")
    assert sum(counts, Counts()) == Counts(4 + 2 + 1, {rules[0]: 2, rules[1]: 3}, 0)
    assert pq.read_table(tmp_path / "part-00-03.parquet")["macs"].to_pylist() == [
        224 * 224 * 9 * c * o for c in (8, 12) for o in (8, 9)
    ]


def test_a_part_without_rows_is_a_file_too(tmp_path: Path) -> None:
    configuration = read_configuration({**GRID, "where": ["c > 100"]})
    assert write_part(configuration, parts(configuration)[0], tmp_path) == Counts(0, {}, 4)
    table = pq.read_table(tmp_path / "part-00-03.parquet")
    assert (table.num_rows, table["macs"].type) == (0, pa.int64())


def test_a_part_has_the_same_bytes_whoever_writes_it(tmp_path: Path) -> None:
    configuration = read_configuration(GRID)
    for part in parts(configuration):
        path = part_path(tmp_path, part, 12)
        write_part(configuration, part, tmp_path)
        first = path.read_bytes()
        path.unlink()
        write_part(read_configuration(configuration.to_dict()), part, tmp_path)
        assert path.read_bytes() == first


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_damaged_part_is_still_to_be_written(keep: int, tmp_path: Path) -> None:
    configuration = read_configuration(GRID)
    part = parts(configuration)[0]
    write_part(configuration, part, tmp_path)
    path = part_path(tmp_path, part, 12)
    path.write_bytes(path.read_bytes()[:keep])
    assert read_counts(path) is None


def test_a_part_of_which_any_byte_has_changed_is_still_to_be_written(tmp_path: Path) -> None:
    configuration = read_configuration(GRID)
    part = parts(configuration)[0]
    write_part(configuration, part, tmp_path)
    path = part_path(tmp_path, part, 12)
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert read_counts(path) is None
    path.write_bytes(content)
    assert read_counts(path) == Counts(4)


def test_a_file_of_another_program_is_no_part(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "part-00-03.parquet")
    assert read_counts(tmp_path / "part-00-03.parquet") is None
    assert read_counts(tmp_path / "part-04-07.parquet") is None


def test_a_disk_that_fills_up_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    configuration = read_configuration(GRID)
    first, second, _ = parts(configuration)
    write_part(configuration, first, tmp_path)
    monkeypatch.setattr("pathlib.Path.write_bytes", fill)
    with pytest.raises(
        ConvcostError, match=r"could not be written \(No space left on device\); make room or .* goes on"
    ):
        write_part(configuration, second, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["part-00-03.parquet"]


def changed(folder: Path, grid: dict, kept: dict | None = None, rows: int = ROWS) -> str:
    """The message when a folder of `GRID` is opened for another sweep."""
    with opened(folder, contents(read_configuration(GRID), None, ROWS)):
        pass
    with pytest.raises(ConvcostError) as caught, opened(folder, contents(read_configuration(grid), kept, rows)):
        pass
    return str(caught.value).removeprefix(f"out (={folder}) must hold the same sweep, and ")


STEP = "; give another folder, or remove this one."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": {**AXES, "c": [8, 16]}}, "axes.in_channels is [8, 12] there, [8, 16] here"),
        ({"axes": {**AXES, "h": [7]}}, "axes.height is missing there, [7] here"),
        ({"axes": dict(reversed(AXES.items()))}, "the order of axes is in_channels, out_channels, kernel_size, groups there, groups, kernel_size, out_channels, in_channels here"),
        ({"blocks": ["grouped", "standard"]}, "blocks is ['standard', 'grouped'] there, ['grouped', 'standard'] here"),
        ({"where": ["c > 8"]}, "where is [] there, ['c > 8'] here"),
        ({"illegal": "rows"}, "illegal is count there, rows here"),
        ({"columns": ["c"]}, "columns is missing there, ['in_channels'] here"),
    ],
)  # fmt: skip
def test_another_sweep_is_refused_with_the_key_that_differs(change: dict, message: str, tmp_path: Path) -> None:
    assert changed(tmp_path, {**GRID, **change}) == f"{message}{STEP}"


def test_what_is_kept_and_the_size_of_parts_belong_to_the_sweep(tmp_path: Path) -> None:
    assert changed(tmp_path, GRID, {"top": 3}) == f"kept is missing there, {{'top': 3}} here{STEP}"
    assert changed(tmp_path, GRID, rows=5) == f"part_rows is 4 there, 5 here{STEP}"


def test_another_version_of_convcost_is_refused_and_another_pyarrow_is_not(tmp_path: Path) -> None:
    mine = contents(read_configuration(GRID), None, ROWS)
    with opened(tmp_path, {**mine, "versions": {"convcost": "0.0.1", "pyarrow": "1"}}):
        pass
    with pytest.raises(ConvcostError, match=r"versions\.convcost is 0\.0\.1 there"), opened(tmp_path, mine):
        pass
    head = json.loads((tmp_path / HEAD).read_text(encoding="utf-8"))
    head["versions"]["convcost"] = mine["versions"]["convcost"]
    (tmp_path / HEAD).write_text(json.dumps(head), encoding="utf-8")
    with opened(tmp_path, mine):
        pass


def test_a_file_that_is_written_in_other_words_is_the_same_sweep(tmp_path: Path) -> None:
    with opened(tmp_path, contents(read_configuration({**GRID, "where": ["c>1"]}), None, ROWS)):
        pass
    axes = {"in_channels": (8, 12), "out_channels": [8, 9], "kernel_size": "3x3", "groups": [2, 3]}
    with opened(tmp_path, contents(read_configuration({**GRID, "axes": axes, "where": [" c>1 "]}), None, ROWS)):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"versions": 3}', "\0"])
def test_a_head_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / HEAD).write_text(text, encoding="utf-8")
    with (
        pytest.raises(
            ConvcostError, match=r"sweep\.json\) must be the file of a sweep, and is not \(.*\); give another folder"
        ),
        opened(tmp_path, contents(read_configuration(GRID), None, ROWS)),
    ):
        pass


@pytest.mark.parametrize("name", ["part-0-1.parquet", "pareto.parquet", "mine.parquet"])
def test_files_of_an_unknown_sweep_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with (
        pytest.raises(ConvcostError, match=r"has Parquet files without sweep\.json"),
        opened(tmp_path, contents(read_configuration(GRID), None, ROWS)),
    ):
        pass


@pytest.mark.parametrize("name", ["part-00-04.parquet", "part-4-7.parquet", "part-12-15.parquet", "zzz.parquet"])
def test_a_file_that_is_none_of_the_sweep_is_refused_since_readers_would_take_it(name: str, tmp_path: Path) -> None:
    configuration = read_configuration(GRID)
    names = FolderNames(Grid(configuration), ROWS)
    with opened(tmp_path, contents(configuration, None, ROWS), names):
        for part in parts(configuration):
            write_part(configuration, part, tmp_path)
    (tmp_path / ".convcost-abcdefgh.parquet").touch()  # what a killed process leaves
    with opened(tmp_path, contents(configuration, None, ROWS), names):
        pass
    (tmp_path / name).touch()
    with (
        pytest.raises(ConvcostError, match=rf"must have no Parquet files but those of the sweep, and {name} is"),
        opened(tmp_path, contents(configuration, None, ROWS), names),
    ):
        pass


def test_a_folder_in_which_another_sweep_writes_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with (
        locked(tmp_path),
        pytest.raises(ConvcostError, match="must not be in use, and another sweep writes to it; wait for its end"),
        opened(tmp_path, contents(read_configuration(GRID), None, ROWS)),
    ):
        pass
    with opened(tmp_path, contents(read_configuration(GRID), None, ROWS)):  # the lock is gone with its owner
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConvcostError, match="must be in a folder that can be written"),
        opened(tmp_path / "file" / "deeper", contents(read_configuration(GRID), None, ROWS)),
    ):
        pass


def test_a_folder_whose_name_no_library_reads_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConvcostError, match="must be in UTF-8"),
        opened(tmp_path / "\udcff", contents(read_configuration(GRID), None, ROWS)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []

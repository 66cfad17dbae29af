"""The history's database: what goes in comes out, equal runs are found, what refuses says so and is left alone."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import history_writer as made
import pytest

from convcost.archive import database as database_file
from convcost.archive import rows as database_schema
from convcost.archive.database import DatabaseError, add, matching_session, stored_rows
from convcost.archive.filters import Filters
from convcost.timing.conditions import Conditions, Setup

if TYPE_CHECKING:
    from convcost.archive.rows import Session

TWO = [made.entry("standard", '{"block": "standard"}'), made.entry("depthwise", '{"block": "depthwise"}')]
LAYERS = [entry.layer for entry in TWO]


def names(path: Path) -> list[str]:
    return [row.entry.name for row in stored_rows(path, "1", {}, None)[0]]


def test_what_is_stored_comes_back_equal(database: Path) -> None:
    run = made.session()
    number = add(database, run, TWO)
    rows, total = stored_rows(database, "1", {}, None)
    assert total == 2
    assert [row.entry for row in rows] == TWO
    assert {row.session for row in rows} == {run}
    assert {row.session_id for row in rows} == {number}


def test_what_was_not_obtained_comes_back_as_none(database: Path) -> None:
    conv: dict[str, Any] = {
        "in_channels": None,
        "out_channels": None,
        "kernel_size": None,
        "stride": None,
        "groups": None,
    }
    timing = replace(made.timing(), speedup=None, speedup_low=None, speedup_high=None, warnings=("it's “busy”", "b"))
    forward = replace(made.entry("(forward)"), **conv, input_shape=(), timing=timing)
    add(database, replace(made.session(), command="model", target="a.py:net", baseline=None), [forward])
    assert [row.entry for row in stored_rows(database, "1", {}, None)[0]] == [forward]


def test_the_newest_comes_first_and_a_limit_tells_how_many_there_are(database: Path) -> None:
    for day in ("02", "03", "01"):
        add(database, made.session(f"2026-07-{day}T12:00:00Z"), [made.entry(day)])
    assert names(database) == ["03", "02", "01"]
    rows, total = stored_rows(database, "1", {}, 2)
    assert ([row.entry.name for row in rows], total) == (["03", "02"], 3)


def test_reading_makes_no_file(database: Path) -> None:
    assert stored_rows(database, "1", {}, None) == ([], 0)
    assert matching_session(database, made.session(), LAYERS) == []
    assert not database.exists()


def test_a_missing_folder_is_made_to_write(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "history.sqlite3"
    add(path, made.session(), TWO)
    assert names(path) == ["standard", "depthwise"]


def test_an_equal_run_is_found_and_the_newest_wins(database: Path) -> None:
    for day, time_s in (("01", 1e-3), ("03", 3e-3), ("02", 2e-3)):
        add(database, made.session(f"2026-07-{day}T12:00:00Z"), [replace(e, timing=made.timing(time_s)) for e in TWO])
    found = matching_session(database, made.session("2027-01-01T00:00:00Z"), LAYERS)
    assert {row.session.measured_at for row in found} == {"2026-07-03T12:00:00Z"}
    assert {row.entry.timing.time_s for row in found} == {3e-3}
    assert sorted(row.entry.layer for row in found) == sorted(LAYERS)


def test_a_run_with_more_layers_holds_the_asked_ones(database: Path) -> None:
    add(database, made.session(), [*TWO, made.entry("pointwise", '{"block": "pointwise"}')])
    assert [row.entry.name for row in matching_session(database, made.session(), LAYERS)] == ["standard", "depthwise"]


def test_layers_of_two_runs_are_never_put_together(database: Path) -> None:
    for one in TWO:
        add(database, made.session(), [one])
    assert matching_session(database, made.session(), LAYERS) == []
    assert len(matching_session(database, made.session(), LAYERS[:1])) == 1


def other_value(value: object) -> object:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value or ''}+"


def changed(run: Session, name: str) -> Session:
    for part in ("conditions", "setup"):
        inner = getattr(run, part)
        if hasattr(inner, name):
            return replace(run, **{part: replace(inner, **{name: other_value(getattr(inner, name))})})
    other: dict[str, Any] = {name: other_value(getattr(run, name))}
    return replace(run, **other)


@pytest.mark.parametrize(
    "name", [field.name for kind in (Conditions, Setup) for field in fields(kind)] + ["command", "target", "baseline"]
)
def test_a_run_that_differs_in_anything_that_decides_a_time_is_not_found(database: Path, name: str) -> None:
    add(database, made.session(), TWO)
    assert len(matching_session(database, made.session(), LAYERS)) == 2
    assert matching_session(database, changed(made.session(), name), LAYERS) == []


def test_a_run_stands_only_for_one_of_its_time_budget_or_less(database: Path) -> None:
    add(database, made.session(budget=8.0), TWO)
    assert len(matching_session(database, made.session(budget=8.0), LAYERS)) == 2
    assert len(matching_session(database, made.session(budget=2.0), LAYERS)) == 2
    assert matching_session(database, made.session(budget=8.5), LAYERS) == []


# what refuses


def test_the_header_names_the_schema_and_its_owner(database: Path) -> None:
    add(database, made.session(), TWO)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("PRAGMA application_id").fetchone() == (0x436F6E76,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


SECOND = ("ALTER TABLE entry ADD COLUMN bound_s REAL", "UPDATE entry SET bound_s = time_s / 2")


def test_a_journal_of_an_earlier_version_is_read_and_replaced_by_the_next_run(database: Path) -> None:
    add(database, made.session(), TWO)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    assert stored_rows(database, "1", {}, None)[1] == 2
    add(database, made.session(), TWO)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert stored_rows(database, "1", {}, None)[1] == 4


@pytest.mark.parametrize("first", ["read", "write"])
def test_an_older_schema_is_brought_to_todays_and_keeps_its_rows(
    database: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    add(database, made.session(), TWO)
    monkeypatch.setattr(database_schema, "MIGRATIONS", (*database_schema.MIGRATIONS, SECOND))
    if first == "write":
        add(database, made.session("2026-01-01T00:00:00Z"), TWO)
    assert names(database)[:2] == ["standard", "depthwise"]
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("SELECT bound_s FROM entry LIMIT 2").fetchall() == [(1e-3,), (1e-3,)]


def test_a_migration_that_fails_changes_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(database, made.session(), TWO)
    broken = (SECOND[0], "UPDATE absent SET x = 1")
    with monkeypatch.context() as patch:
        patch.setattr(database_schema, "MIGRATIONS", (*database_schema.MIGRATIONS, broken))
        with pytest.raises(DatabaseError, match="no such table: absent"):
            names(database)
    assert names(database) == ["standard", "depthwise"]


def written_by_a_newer_convcost(path: Path) -> None:
    add(path, made.session(), TWO)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def no_database(path: Path) -> None:
    path.write_bytes(b"these are the only notes of my thesis\n" * 200)


def cut_short(path: Path) -> None:
    for _ in range(40):
        add(path, made.session(), TWO)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def a_folder(path: Path) -> None:
    path.mkdir()


def with_a_schema_that_never_was(path: Path) -> None:
    add(path, made.session(), TWO)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = -3")


def without_its_schema(path: Path) -> None:
    add(path, made.session(), TWO)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


REFUSED = [
    (written_by_a_newer_convcost, r"has schema 7 of a newer convcost, and this one knows 2; update convcost, or let"),
    (of_another_program, r"belongs to another program; take another file, or let"),
    (no_database, r"is no SQLite database \(.*\); move it away, or let"),
    (cut_short, r"is damaged \(.*\); move it away or repair it with"),
    (with_a_schema_that_never_was, r"is damaged: it has schema -3; move it away, or let"),
    (without_its_schema, r"is damaged: it has schema 0; move it away, or let"),
    (a_pipe, r"is a device or a pipe; name a file, or let"),
    (a_folder, r"is a folder \(.*\); name a file in it, or let"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_a_database_that_is_not_ours_to_use_is_refused_and_left_as_it_is(database: Path, make, message: str) -> None:
    make(database)
    before = database.read_bytes() if database.is_file() else None
    for use in (lambda: names(database), lambda: add(database, made.session(), TWO)):
        with pytest.raises(DatabaseError, match=message) as caught:
            use()
        assert str(caught.value).startswith(f"database (={database}) ")
        assert str(caught.value).endswith(" CONVCOST_DB name another.")
    assert (database.read_bytes() if database.is_file() else None) == before


def test_a_row_that_someone_else_changed_is_named(database: Path) -> None:
    add(database, made.session(), TWO)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE entry SET input_shape = 'large' WHERE id = 2")
    with pytest.raises(DatabaseError, match=r"holds a row that is no timing \(entry 2: .*large"):
        names(database)


@pytest.mark.parametrize(("field", "value"), [("speedup", "abc"), ("time_runs", "many"), ("macs", "1e9 or so")])
def test_a_text_where_a_number_belongs_is_named(database: Path, field: str, value: str) -> None:
    add(database, made.session(), TWO)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"UPDATE entry SET {field} = ? WHERE id = 2", [value])  # noqa: S608 - a row of the table above
    with pytest.raises(
        DatabaseError, match=rf"holds a row that is no timing \(entry 2: {field} \(='{value}'\) is no num"
    ):
        names(database)


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own on Windows")
def test_a_link_to_itself_cannot_be_opened(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(DatabaseError, match=r"cannot be opened"):
        stored_rows(loop, "1", {}, None)


def test_a_file_where_a_folder_is_wanted_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DatabaseError, match=r"cannot be opened \(.*\); .*/file is a file, or let"):
        add(tmp_path / "file" / "history.sqlite3", made.session(), TWO)


def test_a_locked_database_is_waited_for_and_then_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(database, made.session(), TWO)
    monkeypatch.setattr(database_file, "busy_s", 0.05)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert names(database) == ["standard", "depthwise"]  # reading goes on beside a writer
        with pytest.raises(DatabaseError, match=r"is locked by another program \(.*\); end that program"):
            add(database, made.session(), TWO)
        other.execute("ROLLBACK")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseError, match="is locked by another program"):
            names(database)
    add(database, made.session("2027-01-01T00:00:00Z"), [made.entry("after")])
    assert names(database) == ["after", "standard", "depthwise"]


def test_a_full_disk_loses_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(database, made.session(), TWO)
    connect = sqlite3.connect

    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        return connection

    long = [made.entry(f"{number}" * 50) for number in range(500)]
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(DatabaseError, match=r"has no room: the disk is full \(.*\); make room, or let"):
            add(database, made.session(), long)
    assert names(database) == ["standard", "depthwise"]
    add(database, made.session(), [made.entry("after")])
    assert len(names(database)) == 3


def test_no_room_for_the_first_row_leaves_a_database_that_can_be_used_later(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def tiny(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 2")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", tiny)
        with pytest.raises(DatabaseError, match="the disk is full"):
            add(database, made.session(), TWO)
    assert names(database) == []
    add(database, made.session(), TWO)
    assert names(database) == ["standard", "depthwise"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
@pytest.mark.parametrize("older", [False, True], ids=["current", "older"])
def test_a_database_that_cannot_be_written_is_listed_also_from_the_journal_of_an_earlier_version(
    older: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        path = Path(folder, "history.sqlite3")
        add(path, made.session(), TWO)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            if older:
                monkeypatch.setattr(database_schema, "MIGRATIONS", (*database_schema.MIGRATIONS, SECOND))
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        user = os.geteuid()
        try:
            os.seteuid(user or 65534)  # root may write anything
            assert names(path) == ["standard", "depthwise"]
        finally:
            os.seteuid(user)
        assert [file.name for file in Path(folder).iterdir()] == ["history.sqlite3"]
        Path(folder).chmod(0o755)


def test_a_target_that_is_not_utf_8_is_stored_and_selected(database: Path) -> None:
    run = replace(made.session(), command="model", target="\udcff.py:net", baseline=None)
    add(database, run, TWO)
    rows, _ = stored_rows(database, *Filters(targets=("\udcff.py:net",)).condition(), None)
    assert [row.session.target for row in rows] == [r"\udcff.py:net"] * 2

"""The history in SQLite: its file, and runs written whole or not at all by any number of processes."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from convcost.archive import rows as schema
from convcost.archive.rows import NoTimingError, as_columns, as_stored, setting_columns
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from convcost.archive.rows import Entry, Session, Stored


__all__ = ["DatabaseError", "add", "database_path", "matching_session", "reading", "stored_rows", "told", "writing"]


def add(path: Path, session: Session, entries: Sequence[Entry]) -> int:
    """Store a run; once this returns, neither a kill nor a loss of power takes it back.

    Args:
        path: of the database; it and its folder are made where they are missing.
        session: the run.
        entries: its layers.

    Returns:
        The run's id.

    Raises:
        DatabaseError: locked, read-only, damaged, of a newer schema or another program, or no room. Nothing of the
            run is stored then, and nothing that was there is changed.
    """
    with told(path), writing(path) as connection:
        row = as_columns(session)
        number = connection.execute(_insert("session", row), row).lastrowid
        if number is None:  # sqlite3 types it so for statements that insert nothing
            msg = "an INSERT gave no row"
            raise sqlite3.InternalError(msg)
        lines = [as_columns(entry) | {"session_id": number} for entry in entries]
        if lines:
            connection.executemany(_insert("entry", lines[0]), lines)
        return number


def matching_session(path: Path, asked: Session, layers: Sequence[str]) -> list[Stored]:
    """The newest run that holds all these layers, under the conditions, machine and versions of the one that is asked.

    Args:
        path: of the database.
        asked: everything but its date must be equal; the time budget must not be larger than that of the run.
        layers: as `Entry.layer`.

    Returns:
        The rows of these layers; empty where there is no such run.

    Raises:
        DatabaseError: the database cannot be read.
    """
    equal = setting_columns(asked)
    conditions = " AND ".join(f"session.{name} IS :{name}" for name in equal)
    wanted = {f"layer{index}": layer for index, layer in enumerate(dict.fromkeys(layers))}
    places = ", ".join(f":{name}" for name in wanted)
    query = f"""
        SELECT session.id FROM session JOIN entry ON entry.session_id = session.id
        WHERE {conditions} AND session.time_budget_s >= :time_budget_s AND entry.layer IN ({places})
        GROUP BY session.id HAVING COUNT(DISTINCT entry.layer) = {len(wanted)}
        ORDER BY session.measured_at DESC, session.id DESC LIMIT 1
    """  # noqa: S608 - names of our own fields; every value is bound
    values = {**equal, **wanted, "time_budget_s": asked.time_budget_s}
    with told(path), reading(path) as connection:
        if connection is None:
            return []
        found = connection.execute(query, values).fetchone()
        if found is None:
            return []
        rows = _select(connection, "session.id = :session_id", {"session_id": found["id"]}, None)
        return [row for row in rows if row.entry.layer in set(layers)]


def stored_rows(path: Path, where: str, values: dict[str, object], limit: int | None) -> tuple[list[Stored], int]:
    """The newest rows, and how many there are in all.

    Args:
        path: of the database; one that is not there is an empty one, and is not made.
        where: an SQL condition on the tables `session` and `entry`, its values named with a colon.
        values: by name.
        limit: the most rows; None for all.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with told(path), reading(path) as connection:
        if connection is None:
            return [], 0
        query = f"SELECT COUNT(*) FROM entry JOIN session ON session.id = entry.session_id WHERE {where}"  # noqa: S608 - our own text; every value is bound
        total = connection.execute(query, values).fetchone()[0]
        return _select(connection, where, values, limit), total


def _select(connection: sqlite3.Connection, where: str, values: dict[str, object], limit: int | None) -> list[Stored]:
    query = f"""
        SELECT session.*, entry.* FROM entry JOIN session ON session.id = entry.session_id
        WHERE {where} ORDER BY session.measured_at DESC, session.id DESC, entry.id LIMIT :limit
    """  # noqa: S608 - our own text; every value is bound
    lines = connection.execute(query, {**values, "limit": -1 if limit is None else limit})
    names = [column[0] for column in lines.description]
    return [as_stored(names, tuple(line)) for line in lines]


def _insert(table: str, row: dict[str, object]) -> str:
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"  # noqa: S608 - names of our own fields


T = TypeVar("T")
VARIABLE: Final = "CONVCOST_DB"
busy_s: float = 5.0
"""How long another program may hold the database before it counts as locked; tests are less patient."""
LOOK_S: Final = 0.002
_REASONS: Final = {
    "SQLITE_BUSY": ("is locked by another program", "end that program"),
    "SQLITE_LOCKED": ("is locked by another program", "end that program"),
    "SQLITE_READONLY": ("is read-only", "make it and the files beside it, -wal and -shm, writable"),
    "SQLITE_CANTOPEN": ("cannot be opened", "make its folder writable"),
    "SQLITE_CORRUPT": ("is damaged", "move it away or mend it with `sqlite3 FILE .recover`"),
    "SQLITE_NOTADB": ("is no SQLite database", "move it away"),
    "SQLITE_FULL": ("has no room: the disk is full", "make room"),
    "SQLITE_IOERR": ("cannot be read or written", "make room on the disk and look after it"),
}


class DatabaseError(ConvcostError):
    """The database refuses. What was committed before is still there."""


def database_path() -> Path:
    """`CONVCOST_DB`, else `history.sqlite3` in the user's data directory."""
    named = os.environ.get(VARIABLE)
    if named:
        try:
            return Path(named).expanduser()
        except RuntimeError as error:  # ~somebody who is not there
            msg = f"{VARIABLE} (={named}) must be a path: {error} Write it out."
            raise DatabaseError(msg) from error
    from platformdirs import user_data_path

    return user_data_path("convcost", appauthor=False) / "history.sqlite3"


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on the database of today's schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(_connect(path, "mode=rwc")) as connection:
        _patiently(lambda: _prepare(connection, path))
        with _transaction(connection, "IMMEDIATE"):
            yield connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The database as it is, brought to today's schema where it is older; None where there is none yet."""
    if not path.exists():
        yield None
        return
    with closing(_connect_to_read(path)) as connection:
        version = _patiently(lambda: _version(connection, path))
        if 0 < version < len(schema.MIGRATIONS):
            _patiently(lambda: _prepare(connection, path))
        with _transaction(connection, "DEFERRED"):
            _patiently(lambda: _is_empty(connection))  # the first look fixes the moment that all others see
            yield connection if version else None


def _connect(path: Path, options: str) -> sqlite3.Connection:
    """A connection without implicit transactions, and without SQLite's own way to wait (see `_patiently`)."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise _refusal(path, "is a device or a pipe", "name a file")
    address = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(address, uri=True, timeout=0, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that may be unable to write: a journal written ahead needs that, a database at rest does not."""
    connection = _connect(path, "mode=rw")
    try:
        _patiently(lambda: _is_empty(connection))
    except sqlite3.Error:
        connection.close()
        if not _rests(path):
            raise
        return _connect(path, "mode=ro&immutable=1")
    return connection


def _rests(path: Path) -> bool:
    """Whether the file is all there is, and nobody can be writing: the folder refuses and no journal waits."""
    journal = path.with_name(f"{path.name}-wal")
    return path.is_file() and not os.access(path.parent, os.W_OK) and not (journal.exists() and journal.stat().st_size)


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of a database that is ours, or of an empty one, read at one moment: another process may be making it.

    Raises:
        DatabaseError: another program's, a newer schema, or one that never was.
    """
    with _transaction(connection, "DEFERRED") if not connection.in_transaction else nullcontext():
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        nobodys = owner == version == 0 and _is_empty(connection)
    if owner == schema.APPLICATION_ID and version < 1:
        raise _refusal(path, f"is damaged: it has schema {version}", "move it away")
    if owner != schema.APPLICATION_ID and not nobodys:
        raise _refusal(path, "belongs to another program", "take another file")
    if version > len(schema.MIGRATIONS):
        rule = f"has schema {version} of a newer convcost, and this one knows {len(schema.MIGRATIONS)}"
        raise _refusal(path, rule, "update convcost")
    return version


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring them to today's schema, in one transaction; whoever comes second finds it done."""
    if _version(connection, path) < len(schema.MIGRATIONS):
        connection.execute("PRAGMA journal_mode = WAL")  # a file system without shared memory keeps its own journal
        with _transaction(connection, "IMMEDIATE"):
            for number in range(_version(connection, path), len(schema.MIGRATIONS)):
                for statement in schema.MIGRATIONS[number]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk, also when the power goes
    connection.execute("PRAGMA foreign_keys = ON")


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[None]:
    """All or nothing. To write is asked for at once, so that nobody has to give up half-way."""
    _patiently(lambda: connection.execute(f"BEGIN {kind}"))
    try:
        yield
        _patiently(lambda: connection.execute("COMMIT"))
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise


def _patiently(step: Callable[[], T]) -> T:
    """Try again while another process has the database.

    SQLite's own waiting backs off to ten looks a second: beside a process that commits all the time it starves. And it
    does not wait at all for the switch to WAL.
    """
    deadline = time.monotonic() + busy_s
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not _name(error).startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """SQLite's and the file system's refusals as one line."""
    try:
        yield
    except sqlite3.Error as error:
        name = _name(error)
        rule, step = next(
            (text for code, text in _REASONS.items() if name.startswith(code)), ("cannot be used", "move it away")
        )
        rule, step = ("is a folder", "name a file in it") if path.is_dir() else (rule, step)
        raise _refusal(path, f"{rule} ({error})", step) from error
    except OSError as error:
        folder = next((one for one in path.parents if one.exists()), path.parent)
        step = "make its folder writable" if folder.is_dir() else f"{folder} is a file"
        raise _refusal(path, f"cannot be opened ({error.strerror})", step) from error
    except NoTimingError as error:
        raise _refusal(path, f"holds a row that is no timing ({error})", "move it away") from error


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def _refusal(path: Path, rule: str, step: str) -> DatabaseError:
    return DatabaseError(f"database (={path}) {rule}; {step}, or let {VARIABLE} name another.")

"""The history in SQLite: runs are written whole or not at all, by any number of processes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Literal

from convcost.archive import rows as schema
from convcost.archive.rows import FORWARD, NoTimingError, as_columns, as_stored, setting_columns
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convcost.archive.rows import Entry, Session, Stored


def add(path: Path, session: Session, entries: Sequence[Entry]) -> int:
    """Store a run; after the return it survives a kill and a power failure.

    Args:
        path: Path of the database; the file and its folder are created if they are missing.
        session: Run to store.
        entries: Layers of the run.

    Returns:
        The id of the run.

    Raises:
        DatabaseError: The database is locked, read-only, damaged, of a newer schema or of another program, or the disk
            is full. Nothing of the run is stored then, and nothing stored before is changed.
    """
    with _named_errors(path), writing(path) as connection:
        row = as_columns(session)
        number = connection.execute(_insert("session", row), row).lastrowid
        if number is None:  # its type for statements that insert nothing
            msg = "an INSERT gave no row"
            raise sqlite3.InternalError(msg)
        lines = [as_columns(entry) | {"session_id": number} for entry in entries]
        if lines:
            connection.executemany(_insert("entry", lines[0]), lines)
        return number


def matching_session(path: Path, wanted: Session, layers: Sequence[str]) -> list[Stored]:
    """The newest run that holds all these layers, under equal conditions, machine and versions.

    Args:
        path: Path of the database.
        wanted: Run that the stored one must equal in all but date and notes, with at least its time budget.
        layers: Identities of the layers, as in `Entry.layer`.

    Returns:
        The rows of these layers; empty where there is no such run.

    Raises:
        DatabaseError: The database cannot be read.
    """
    equal = setting_columns(wanted)
    conditions = " AND ".join(f"session.{name} IS :{name}" for name in equal)
    named = {f"layer{index}": layer for index, layer in enumerate(dict.fromkeys(layers))}
    places = ", ".join(f":{name}" for name in named)
    query = f"""
        SELECT session.id FROM session JOIN entry ON entry.session_id = session.id
        WHERE {conditions} AND session.time_budget_s >= :time_budget_s AND entry.layer IN ({places})
        GROUP BY session.id HAVING COUNT(DISTINCT entry.layer) = {len(named)}
        ORDER BY session.measured_at DESC, session.id DESC LIMIT 1
    """
    values = {**equal, **named, "time_budget_s": wanted.time_budget_s}
    with _named_errors(path), reading(path) as connection:
        if connection is None:
            return []
        run = connection.execute(query, values).fetchone()
        if run is None:
            return []
        rows = _select(connection, "session.id = :session_id", {"session_id": run["id"]}, None)
        return [row for row in rows if row.entry.layer in set(layers)]


def stored_rows(path: Path, where: str, values: dict[str, object], limit: int | None) -> tuple[list[Stored], int]:
    """The newest rows, and how many there are in all.

    Args:
        path: Path of the database; a missing file counts as empty and is not created.
        where: SQL condition on the tables `session` and `entry`; `:name` stands for a value.
        values: Values by name.
        limit: Maximum number of rows; None for all.

    Raises:
        DatabaseError: The database cannot be read.
    """
    with _named_errors(path), reading(path) as connection:
        if connection is None:
            return [], 0
        query = f"SELECT COUNT(*) FROM entry JOIN session ON session.id = entry.session_id WHERE {where}"
        total = connection.execute(query, values).fetchone()[0]
        return _select(connection, where, values, limit), total


def _select(connection: sqlite3.Connection, where: str, values: dict[str, object], limit: int | None) -> list[Stored]:
    query = f"""
        SELECT session.*, entry.*, (
            SELECT layer FROM entry AS forward WHERE forward.session_id = session.id AND forward.name = :forward
        ) AS whole FROM entry JOIN session ON session.id = entry.session_id
        WHERE {where} ORDER BY session.measured_at DESC, session.id DESC, entry.id LIMIT :limit
    """
    lines = connection.execute(query, {**values, "forward": FORWARD, "limit": -1 if limit is None else limit})
    names = [column[0] for column in lines.description]
    return [as_stored(names, tuple(line)) for line in lines]


def _insert(table: str, row: dict[str, object]) -> str:
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"


VARIABLE: Final = "CONVCOST_DB"
busy_s: float = 15.0
"""Seconds to wait for another program before the database counts as locked; tests set less."""
_REASONS: Final = {
    "SQLITE_BUSY": ("is locked by another program", "end that program"),
    "SQLITE_LOCKED": ("is locked by another program", "end that program"),
    "SQLITE_READONLY": ("is read-only", "make it and its folder writable"),
    "SQLITE_CANTOPEN": ("cannot be opened", "make its folder writable"),
    "SQLITE_CORRUPT": ("is damaged", "move it away or repair it with `sqlite3 FILE .recover`"),
    "SQLITE_NOTADB": ("is no SQLite database", "move it away"),
    "SQLITE_FULL": ("has no room: the disk is full", "make room"),
    "SQLITE_IOERR": ("cannot be read or written", "make room on the disk and check it"),
}


class DatabaseError(ConvcostError):
    """The database cannot be used; runs that were stored before are unchanged."""


def database_path() -> Path:
    """The path of the database: CONVCOST_DB, else history.sqlite3 in the user's data folder."""
    named = os.environ.get(VARIABLE)
    if named:
        try:
            return Path(named).expanduser()
        except RuntimeError as error:  # the ~user does not exist
            raise DatabaseError(f"{VARIABLE} (={named}) must be a path: {error} Write it out.") from error
    from platformdirs import user_data_path

    return user_data_path("convcost", appauthor=False) / "history.sqlite3"


def _is_there(path: Path) -> bool:
    """Whether there is a file, readable or not; SQLite says why it is not."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # a loop of links, a name that is too long
        return True
    return True


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A write transaction on the database, which is created or migrated first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(_connect(path, "rwc")) as connection:
        _migrate(connection, path)
        with suppress(sqlite3.OperationalError):  # an earlier version's journal stays while others have it open
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")  # commits survive a power failure
        connection.execute("PRAGMA foreign_keys = ON")
        with _transaction(connection, "IMMEDIATE"):
            yield connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A read transaction on the database, which is migrated first if it is older; None if there is no database."""
    if not _is_there(path):
        yield None
        return
    with ExitStack() as stack:
        try:
            connection, version = _current(path, path)
        except sqlite3.OperationalError as error:
            refused = _name(error).startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN"))
            if not (refused and path.is_file() and os.access(path, os.R_OK)):
                raise
            connection, version = _current(stack.enter_context(_copied(path)), path)
        stack.enter_context(closing(connection))
        with _transaction(connection, "DEFERRED"):
            yield connection if version else None


def _current(file: Path, path: Path) -> tuple[sqlite3.Connection, int]:
    """A connection to a database, which is migrated first if it is older, and its schema before; 0 for an empty one.

    Args:
        file: The database, or a copy of it.
        path: Path of the database, for messages.
    """
    connection = _connect(file, "rw")
    try:
        version = _version(connection, path)
        if version:
            _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection, version


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """A temporary copy of a database that SQLite would have to write to before it can be read."""
    with TemporaryDirectory(prefix="convcost-history-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder, "history.sqlite3")
        for suffix in ("", "-wal", "-journal"):
            with suppress(FileNotFoundError):
                copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        yield copy


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection without implicit transactions; a file that cannot be written is opened for reading."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise _refusal(path, "is a device or a pipe", "name a file")
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=busy_s, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of a database of convcost; 0 for an empty one.

    Raises:
        DatabaseError: A database of another program, or a newer or impossible schema.
    """
    query = """
        SELECT user_version, application_id, (SELECT COUNT(*) FROM sqlite_master)
        FROM pragma_user_version, pragma_application_id
    """  # one statement, since another process may be creating the tables
    version, owner, tables = connection.execute(query).fetchone()
    if owner == schema.APPLICATION_ID and version < 1:
        raise _refusal(path, f"is damaged: it has schema {version}", "move it away")
    if owner != schema.APPLICATION_ID and (owner or version or tables):
        raise _refusal(path, "belongs to another program", "take another file")
    if version > len(schema.MIGRATIONS):
        rule = f"has schema {version} of a newer convcost, and this one knows {len(schema.MIGRATIONS)}"
        raise _refusal(path, rule, "update convcost")
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables, or migrate them to the current schema, in one transaction."""
    if _version(connection, path) == len(schema.MIGRATIONS):
        return
    with _transaction(connection, "IMMEDIATE"):
        for number in range(_version(connection, path), len(schema.MIGRATIONS)):
            for statement in schema.MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[None]:
    """A transaction that is rolled back on an error; IMMEDIATE waits for other writers at its start."""
    connection.execute(f"BEGIN {kind}")
    with connection:
        yield


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into a DatabaseError that names the database."""
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
    except (NoTimingError, UnicodeDecodeError) as error:
        raise _refusal(path, f"holds a row that is no timing ({error})", "move it away") from error


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def _refusal(path: Path, rule: str, step: str) -> DatabaseError:
    return DatabaseError(f"database (={path}) {rule}; {step}, or let {VARIABLE} name another.")

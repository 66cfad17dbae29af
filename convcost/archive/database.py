"""The history in SQLite: runs written whole or not at all, by any number of processes at once, and found again.

Imported by those who need it alone: `import sqlite3` is 5 ms of a start.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from convcost.archive.file import reading, told, writing
from convcost.archive.rows import as_columns, as_stored, setting_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from convcost.archive.session import Entry, Session, Stored

__all__ = ["add", "matching_session", "stored_rows"]


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

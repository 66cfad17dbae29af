"""The tables of the history, and the way from each older form to today's."""

from __future__ import annotations

from typing import Final

__all__ = ["APPLICATION_ID", "MIGRATIONS"]

APPLICATION_ID: Final = 0x436F6E76
"""`Conv`, in SQLite's header: another program's database is never written to."""

_FIRST: Final = (
    """
    CREATE TABLE session (
        id INTEGER PRIMARY KEY,
        measured_at TEXT NOT NULL,
        command TEXT NOT NULL,
        target TEXT,
        baseline TEXT,
        time_budget_s REAL NOT NULL,
        device TEXT NOT NULL,
        dtype TEXT NOT NULL,
        threads INTEGER NOT NULL,
        memory_format TEXT NOT NULL,
        compiled INTEGER NOT NULL,
        allocator TEXT NOT NULL,
        torch_version TEXT NOT NULL,
        cpu TEXT NOT NULL,
        processors INTEGER NOT NULL,
        isa TEXT NOT NULL,
        system TEXT NOT NULL,
        accelerator TEXT,
        runtime TEXT,
        settings TEXT NOT NULL,
        convcost_version TEXT NOT NULL,
        python_version TEXT NOT NULL,
        notes TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        session_id INTEGER NOT NULL REFERENCES session (id),
        name TEXT NOT NULL,
        layer TEXT NOT NULL,
        params INTEGER NOT NULL,
        macs INTEGER NOT NULL,
        input_shape TEXT NOT NULL,
        in_channels INTEGER,
        out_channels INTEGER,
        kernel_size TEXT,
        stride TEXT,
        groups INTEGER,
        time_s REAL NOT NULL,
        time_q25_s REAL NOT NULL,
        time_q75_s REAL NOT NULL,
        time_min_s REAL NOT NULL,
        first_call_s REAL NOT NULL,
        time_runs INTEGER NOT NULL,
        dropped_share REAL NOT NULL,
        faults_per_call REAL,
        speedup REAL,
        speedup_low REAL,
        speedup_high REAL,
        probe_drift REAL NOT NULL,
        warnings TEXT NOT NULL
    )
    """,
    "CREATE INDEX session_by_time ON session (measured_at)",
    "CREATE INDEX entry_by_session ON entry (session_id)",
    "CREATE INDEX entry_by_layer ON entry (layer)",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""Statements that lead from schema n to n + 1, at index n. A released one is never changed: a new one is added.

`PRAGMA user_version` holds the schema of a database, and 0 is an empty one.
"""

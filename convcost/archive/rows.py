"""The rows of the history as values, the tables of the database, and the conversion between them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from convcost.text.errors import as_text, encodable
from convcost.text.sizes import format_sizes
from convcost.timing.conditions import Conditions, Setup
from convcost.timing.statistics import Timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Sizes: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Session:
    """One timing run, whose layers were timed in turn in one process.

    Attributes:
        measured_at: End of the run, UTC, as in 2026-07-01T12:30:00Z.
        command: "check", "compare", "kernel" or "model".
        target: Target of a model; None for a comparison or a kernel.
        baseline: Name of the block, kernel or revision that speed-ups are relative to; None without speed-ups.
        time_budget_s: Time budget of the run on this device, seconds.
        conditions: Conditions of all its timings.
        setup: Machine, versions and switches of the run.
        notes: Remarks about the machine during the run.
    """

    measured_at: str
    command: str
    target: str | None
    baseline: str | None
    time_budget_s: float
    conditions: Conditions
    setup: Setup
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One timed layer of a session.

    Attributes:
        name: Name of the block or the kernel; path of a model's layer; `(forward)` for the whole model.
        layer: Identity of the layer, as a JSON object with sorted keys: equal for equal layers.
        params: Weights and biases.
        macs: Multiply-accumulates of the batch.
        input_shape: Shape of the first input tensor.
        in_channels: Input channels of a convolution.
        out_channels: Output channels of a convolution.
        kernel_size: Kernel size of a convolution.
        stride: Stride of a convolution.
        groups: Groups of a convolution.
        timing: Timing of the layer.
    """

    name: str
    layer: str
    params: int
    macs: int
    input_shape: Sizes
    in_channels: int | None
    out_channels: int | None
    kernel_size: Sizes | None
    stride: Sizes | None
    groups: int | None
    timing: Timing


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the history.

    Attributes:
        session_id: Number of the run; equal for layers that were timed in turn.
        session: Run of the layer.
        entry: Timed layer.
        whole: Identity of the model that was timed in the same run, as a JSON object; None without one.
    """

    session_id: int
    session: Session
    entry: Entry
    whole: str | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments that the model was made with, such as `alpha=0.5`."""
        try:
            arguments = json.loads(self.whole or "{}")["arguments"]
            return tuple(f"{name}={value}" for name, value in arguments.items())
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):  # none, or not written by convcost
            return ()

    @property
    def name(self) -> str:
        """The name of the layer; of a whole model, with the arguments that it was made with."""
        return " ".join((FORWARD, *self.arguments)) if self.entry.name == FORWARD else self.entry.name


FORWARD: Final = "(forward)"
"""Name of the entry for a model's forward pass."""
APPLICATION_ID: Final = 0x436F6E76
"""The application id in SQLite's header ("Conv"), which shows that a database is convcost's."""
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
_DOUBTS: Final = (
    "ALTER TABLE entry ADD COLUMN doubts TEXT NOT NULL DEFAULT '[]'",
    "UPDATE entry SET doubts = warnings WHERE warnings LIKE '%undisturbed block%' OR warnings LIKE '%meanwhile%'",
)
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _DOUBTS)
"""The statements that migrate schema n to n + 1, at index n; released ones are never changed, only new ones are added.

`PRAGMA user_version` holds the schema of a database; 0 is an empty one.
"""
T = TypeVar("T")
NESTED = (Conditions, Setup, Timing)
"""The dataclasses within a run or an entry whose fields become columns."""
SIZES = frozenset({"input_shape", "kernel_size", "stride"})
TEXTS = frozenset({"notes", "warnings", "doubts"})
TYPES: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "int": ((int,), "number"),
    "float": ((int, float), "number"),
    "str": ((str,), "text"),
}
"""The types of a field's value and their name, by the field's type."""
NOT_COMPARED = frozenset({"measured_at", "time_budget_s", "notes"})


class NoTimingError(Exception):
    """A stored row holds a value that convcost does not write."""


def as_columns(value: Session | Entry | Conditions | Setup | Timing) -> dict[str, Any]:
    """The columns of a value by name, nested fields included; sizes as `3x3`, texts as a JSON list."""
    columns: dict[str, Any] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if isinstance(content, NESTED):
            columns |= as_columns(content)
        elif field.name in TEXTS:
            columns[field.name] = json.dumps(content, ensure_ascii=False)
        else:
            columns[field.name] = format_sizes(content) if isinstance(content, tuple) else content
    return {name: encodable(value) if isinstance(value, str) else value for name, value in columns.items()}


def setting_columns(session: Session) -> dict[str, Any]:
    """The columns that must be equal for the timings of one run to replace those of another."""
    return {name: value for name, value in as_columns(session).items() if name not in NOT_COMPARED}


def as_stored(names: Sequence[str], values: Sequence[Any]) -> Stored:
    """A stored row from the columns of both tables, those of the session first, and `whole`; each table has an `id`.

    Raises:
        NoTimingError: A value that convcost does not write.
    """
    second = names.index("id", 1)
    of_session = dict(zip(names[:second], values[:second], strict=True))
    of_entry = dict(zip(names[second:], values[second:], strict=True))
    try:
        session, entry = _session(of_session), _entry(of_entry)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise NoTimingError(f"entry {of_entry['id']}: {error}") from error
    return Stored(of_session["id"], session, entry, of_entry["whole"])


def _session(columns: dict[str, Any]) -> Session:
    columns["compiled"] = bool(columns["compiled"])
    columns["notes"] = _texts(columns["notes"])
    nested = {"conditions": _made(Conditions, columns), "setup": _made(Setup, columns)}
    return _made(Session, columns | nested)


def _entry(columns: dict[str, Any]) -> Entry:
    for name in SIZES:
        columns[name] = _sizes(columns[name])
    for name in ("warnings", "doubts"):
        columns[name] = _texts(columns[name])
    return _made(Entry, columns | {"timing": _made(Timing, columns)})


def _require(name: str, hint: str, value: object) -> None:
    """Refuse a value of another type than the field's, which SQLite stores where it is told to."""
    base = hint.removesuffix(" | None")
    if base not in TYPES or (value is None and base != hint):
        return
    kinds, noun = TYPES[base]
    if not isinstance(value, kinds) or (isinstance(value, float) and not isfinite(value)):
        raise TypeError(f"{name} (={as_text(repr(value))}) is no {noun}")


def _made(kind: type[T], columns: Mapping[str, Any]) -> T:
    types = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]  # `kind` is always a dataclass
    for name, hint in types.items():
        _require(name, hint, columns[name])
    return kind(**{name: columns[name] for name in types})


def _texts(text: str) -> tuple[str, ...]:
    return tuple(map(str, json.loads(text)))


def _sizes(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(map(int, filter(None, text.split("x"))))

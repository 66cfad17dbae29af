"""A stored value as columns of the database, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from convcost.archive.session import Entry, Session, Setup, Stored
from convcost.text.sizes import format_sizes
from convcost.timing.statistics import Conditions, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NoTimingError", "as_columns", "as_stored", "setting_columns"]

T = TypeVar("T")
NESTED = (Conditions, Setup, Timing)
"""Their fields are columns of their own."""
SIZES = frozenset({"input_shape", "kernel_size", "stride"})
TEXTS = frozenset({"notes", "warnings"})
NUMBERS = {
    field.name: str(field.type)
    for kind in (Timing, Entry)
    for field in fields(kind)
    if str(field.type).removesuffix(" | None") in {"int", "float"}
}
"""The fields of a stored layer that are numbers, with their types."""
NOT_A_SETTING = frozenset({"measured_at", "time_budget_s", "notes"})


class NoTimingError(Exception):
    """A row that convcost cannot have written."""


def as_columns(value: Session | Entry | Conditions | Setup | Timing) -> dict[str, Any]:
    """Fields by name, nested ones beside the others; sizes as `3x3`, texts as a JSON list."""
    columns: dict[str, Any] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if isinstance(content, NESTED):
            columns |= as_columns(content)
        elif field.name in TEXTS:
            columns[field.name] = json.dumps(content, ensure_ascii=False)
        else:
            columns[field.name] = format_sizes(content) if isinstance(content, tuple) else content
    return columns


def setting_columns(session: Session) -> dict[str, Any]:
    """What must be equal for one run's timings to stand for another's."""
    return {name: value for name, value in as_columns(session).items() if name not in NOT_A_SETTING}


def as_stored(names: Sequence[str], values: Sequence[Any]) -> Stored:
    """A row of the two tables, the session's columns first and each with an `id`.

    Raises:
        NoTimingError: a value that nothing here could have written.
    """
    second = names.index("id", 1)
    of_session = dict(zip(names[:second], values[:second], strict=True))
    of_entry = dict(zip(names[second:], values[second:], strict=True))
    try:
        session, entry = _session(of_session), _entry(of_entry)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"entry {of_entry['id']}: {error}"
        raise NoTimingError(msg) from error
    return Stored(of_session["id"], session, entry)


def _session(columns: dict[str, Any]) -> Session:
    columns["compiled"] = bool(columns["compiled"])
    columns["notes"] = _texts(columns["notes"])
    nested = {"conditions": _made(Conditions, columns), "setup": _made(Setup, columns)}
    return _made(Session, columns | nested)


def _entry(columns: dict[str, Any]) -> Entry:
    for name in SIZES:
        columns[name] = _sizes(columns[name])
    columns["warnings"] = _texts(columns["warnings"])
    for name, hint in NUMBERS.items():
        _require_number(name, hint, columns[name])
    return _made(Entry, columns | {"timing": _made(Timing, columns)})


def _require_number(name: str, hint: str, value: object) -> None:
    """Refuse a text where the table has a number."""
    if not isinstance(value, int if hint.startswith("int") else (int, float)) and not (
        value is None and "None" in hint
    ):
        msg = f"{name} (={value!r}) is no number"
        raise TypeError(msg)


def _made(kind: type[T], columns: Mapping[str, Any]) -> T:
    return kind(**{field.name: columns[field.name] for field in fields(kind)})  # type: ignore[arg-type]  # of a dataclass


def _texts(text: str) -> tuple[str, ...]:
    return tuple(map(str, json.loads(text)))


def _sizes(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(map(int, filter(None, text.split("x"))))

"""The lock: what each budgeted model cost when that was last accepted. Text ↔ entries, one layer a line."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from convcost.budgets.layer_cost import Entry, LayerCost
from convcost.text.errors import ConvcostError, as_text
from convcost.text.toml import key_text, parse_toml, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from convcost.text.toml import TomlFile


__all__ = ["Lock", "lock_text", "read_lock"]

FORMAT: Final = 2
HEAD: Final = f"""\
# What each model cost when that was last accepted: one layer a line, in the order of the forward pass.
# Written by `convcost check --update`; after a merge conflict keep either side and run it again.
lock_version = {FORMAT}
"""
TOTALS: Final = ("params", "macs", "weight_bytes", "peak_activation_bytes", "uncounted")


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that was read.

    Attributes:
        entries: of the budgets that are checked.
        kept: the text of each entry as it stands, which it keeps where nobody writes it anew.
        notes: on entries that nobody needs and that are damaged.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def lock_text(entries: Mapping[str, Entry], kept: Mapping[str, str] | None = None) -> str:
    """The lock's text; budgets in the order of their names, so that two branches that add one rarely meet.

    Args:
        entries: by budget.
        kept: texts of entries by budget; those of `entries` win.
    """
    texts = {**(kept or {}), **{name: _entry_text(name, entry) for name, entry in entries.items()}}
    return HEAD + "".join(f"\n{texts[name]}" for name in sorted(texts))


def _entry_text(name: str, entry: Entry) -> str:
    key = key_text(name)
    lines = [
        f"[budget.{key}]",
        f"counter = {entry.counter}",
        f"torch = {quoted(entry.torch)}",
        f"input = [{', '.join(map(quoted, entry.input))}]",
        *(f"{total} = {getattr(entry, total)}" for total in TOTALS),
        "",
        f"[budget.{key}.layers]",
        *(f"{quoted(layer.name)} = {{ {_layer_text(layer)} }}" for layer in entry.layers.values()),
    ]
    return "\n".join(lines) + "\n"


def _layer_text(layer: LayerCost) -> str:
    """Its fields, without those that say nothing."""
    said = ((one.name, getattr(layer, one.name)) for one in fields(layer) if one.name != "name")
    kept = ((name, value) for name, value in said if value or name in {"params", "macs"})
    return ", ".join(f"{name} = {quoted(value) if isinstance(value, str) else value}" for name, value in kept)


def read_lock(data: bytes, source: str, wanted: Collection[str], *, rewritten: bool = False) -> Lock:
    """A lock's text, read.

    Args:
        data: the file.
        source: its name, for messages.
        wanted: budgets whose entries are needed; damage of others is a note.
        rewritten: the entries that are wanted are about to be written anew, so that they may be damaged.

    Raises:
        ConvcostError: no TOML, another format, a missing or wrong value, totals that are not those of the layers; with
            the line, and what to do.
    """
    _refuse_conflict(data, source)
    file = parse_toml(data, source)
    if (version := file.values.get("lock_version")) != FORMAT:
        where, given = file.at(("lock_version",), of_key=True), as_text(version)
        msg = f"{where}: lock_version (={given}) must be {FORMAT}; delete the lock and run convcost check --update."
        raise ConvcostError(msg)
    tables = file.values.get("budget", {})
    if not isinstance(tables, dict):
        msg = f"{file.at(('budget',))}: budget must be tables, one a budget; delete the lock, and write it anew."
        raise ConvcostError(msg)
    entries, notes = {}, []
    for name, table in tables.items():
        try:
            entry = _entry(_of(dict, "the entry", table))
        except _DamageError as error:
            told = f"{file.at(('budget', name), of_key=True)}: the lock of {name} is damaged: {error}"
            step = f"write it anew with convcost check --update, or {_deletion(name)}"
            if name not in wanted:
                notes.append(f"{told}; it was not needed; {step} where no budget has this name any more.")
            elif not rewritten:
                msg = f"{told}; {step}, or the lock."
                raise ConvcostError(msg) from error
        else:
            if name in wanted:
                entries[name] = entry
    return Lock(entries, _texts(data, file, wanted) if rewritten else {}, tuple(notes))


def _texts(data: bytes, file: TomlFile, wanted: Collection[str]) -> dict[str, str]:
    """The text of each entry, from its header to the next one's.

    Raises:
        ConvcostError: an entry that is not wanted and whose parts do not stand together: it could not be kept.
    """
    tables = file.values.get("budget", {})
    starts = {name: file.place(("budget", name), of_key=True).line - 1 for name in tables}
    lines = [line.removesuffix("\r") for line in data.decode("utf-8").split("\n")]
    texts = {}
    for name, start in starts.items():
        end = min((other for other in starts.values() if other > start), default=len(lines))
        text = "\n".join(lines[start:end]).strip("\n") + "\n"
        with suppress(ValueError):
            if text.startswith("[") and tomllib.loads(text) == {"budget": {name: tables[name]}}:
                texts[name] = text
        if name not in texts and name not in wanted:
            where = file.at(("budget", name), of_key=True)
            msg = f"{where}: the tables of {name} must stand together to be kept; {_deletion(name)}, or the lock."
            raise ConvcostError(msg)
    return texts


def _deletion(name: str) -> str:
    return f"delete the entry [budget.{key_text(name)}]"


class _DamageError(Exception):
    """What is wrong with an entry."""


def _refuse_conflict(data: bytes, source: str) -> None:
    """A merge that git left to the user is no text to read."""
    if found := re.search(rb"^(<{7}|={7}|>{7}|\|{7})(\s|$)", data, re.MULTILINE):
        line = data.count(b"\n", 0, found.start()) + 1
        step = "keep either side, or delete the lock, and run convcost check --update."
        msg = f"{source}:{line}:1: the lock holds the marker of a merge conflict ({found[1].decode()}); {step}"
        raise ConvcostError(msg)


def _entry(table: Mapping[str, Any]) -> Entry:
    given = {name: _value(table, name) for name in ("counter", "torch", "input", "layers", *TOTALS)}
    layers = {
        name: _layer(name, _of(dict, name, values)) for name, values in _of(dict, "layers", given["layers"]).items()
    }
    entry = Entry(
        counter=_of(int, "counter", given["counter"]),
        torch=_of(str, "torch", given["torch"]),
        input=tuple(_of(str, "input", one) for one in _of(list, "input", given["input"])),
        layers=layers,
        **{total: _of(int, total, given[total]) for total in TOTALS},
    )
    for total in ("params", "macs"):
        summed = sum(getattr(layer, total) for layer in layers.values())
        if summed != getattr(entry, total):
            msg = f"{total} (={getattr(entry, total)}) is not the sum of its layers ({summed}), as after a merge"
            raise _DamageError(msg)
    return entry


_SIZES: Final = r"\d+(x\d+)*"
_TENSOR: Final = rf"({_SIZES}|scalar|nested)(:\w+)?"
_FORMS: Final = {
    "channels": (r"\d+>\d+", "3>8"),
    **dict.fromkeys(("kernel_size", "stride", "padding", "dilation", "output"), (_SIZES, "3x3")),
    "input": (rf"{_TENSOR}(, {_TENSOR})*", "1x3x8x8, 1x16:int64"),
}
"""What the texts of a layer look like, and an example of each."""


def _layer(name: str, values: Mapping[str, Any]) -> LayerCost:
    known = {one.name: int if one.type == "int" else str for one in fields(LayerCost) if one.name != "name"}
    if unknown := set(values) - set(known):
        msg = f"{name}: {min(unknown)} is no field of a layer"
        raise _DamageError(msg)
    for key in ("op", "params", "macs"):
        _value(values, key, f"{name}.{key}")
    given = {key: _of(kind, f"{name}.{key}", values.get(key, kind())) for key, kind in known.items()}
    for key, (form, example) in _FORMS.items():
        if given[key] and not re.fullmatch(form, given[key], re.ASCII):
            msg = f"{name}.{key} (={as_text(given[key])}) must be of the form {example}"
            raise _DamageError(msg)
    return LayerCost(name, **given)


def _value(table: Mapping[str, Any], key: str, name: str | None = None) -> object:
    if key not in table:
        msg = f"{name or key} is missing"
        raise _DamageError(msg)
    return table[key]


_MOST: Final = 10**40
_KINDS: Final = {int: "a whole number of at least 0", str: "a text", list: "a list of texts", dict: "a table"}


def _of(kind: type[Any], name: str, value: object) -> Any:  # noqa: ANN401 - of that kind
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and not 0 <= value < _MOST):
        msg = f"{name} (={as_text(value)}) must be {_KINDS[kind]}"
        raise _DamageError(msg)
    return value

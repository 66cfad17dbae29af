"""The lock: the accepted cost of each budgeted model, as TOML with one layer on each line."""

from __future__ import annotations

import hashlib
import re
import tomllib
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from convcost.changes.layer_cost import Entry
from convcost.text.errors import ConvcostError, as_text
from convcost.text.toml import Mistake, TomlError, key_text, parse_toml, quoted, table_text
from convcost.text.toml_tables import read_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from convcost.text.toml import Key, TomlFile


FORMAT: Final = 3
HEAD: Final = f"""\
# The accepted cost of each model: one layer on each line, in the order of the forward pass.
# Written by `convcost check --update`; after a merge conflict keep either side and run it again.
lock_version = {FORMAT}
"""
ALWAYS_WRITTEN: Final = {"params", "macs"}
"""Fields of a layer that are written even if they are 0."""


@dataclass(frozen=True, slots=True)
class Lock:
    """The content of a lock.

    Attributes:
        entries: Entries of the budgets that are checked.
        kept: Texts of the entries, by budget, for a new lock that keeps them.
        notes: One line for each damaged entry of a budget that is not checked.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def lock_text(entries: Mapping[str, Entry], kept: Mapping[str, str] | None = None) -> str:
    """The text of a lock. Budgets are sorted by name, so that two branches that add one rarely conflict.

    Args:
        entries: Entries by budget.
        kept: Texts of further entries by budget; `entries` replaces those of the same name.
    """
    texts = {**(kept or {}), **{name: _entry_text(name, entry) for name, entry in entries.items()}}
    return HEAD + "".join(f"\n{texts[name]}" for name in sorted(texts))


def checksum(totals: Mapping[str, object], lines: Mapping[str, object]) -> str:
    """The checksum of an entry's values, whatever its name: a peak, unlike params, is no sum that could be verified."""
    text = table_text((), totals) + table_text((), lines, key=quoted)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _entry_text(name: str, entry: Entry) -> str:
    totals = asdict(entry)
    layers = totals.pop("layers")
    del totals["checksum"]
    lines = {
        layer.pop("name"): {key: value for key, value in layer.items() if value or key in ALWAYS_WRITTEN}
        for layer in layers.values()
    }
    head = table_text(("budget", name), {**totals, "checksum": checksum(totals, lines)})
    return f"{head}\n{table_text(('budget', name, 'layers'), lines, key=quoted)}"


def read_lock(data: bytes, source: str, wanted: Collection[str], *, rewritten: bool = False) -> Lock:
    """Read the text of a lock.

    Args:
        data: Content of the file.
        source: Name of the file, for messages.
        wanted: Budgets whose entries are needed. Damage of any other entry is only a note.
        rewritten: Whether the wanted entries will be replaced, so that they may be damaged.

    Raises:
        ConvcostError: The file is not TOML or has another format, a value is missing or wrong, a total is not the sum
            over the layers, or a value was edited; the message has the line and the next step.
    """
    _refuse_conflict(data, source)
    file = parse_toml(data, source)
    if file.values.get("lock_version") != FORMAT:
        file.refuse(
            ("lock_version",), f"must be {FORMAT}; delete the lock and run convcost check --update.", of_key=True
        )
    tables = file.values.get("budget", {})
    if not isinstance(tables, dict):
        file.refuse(("budget",), "must be a table; delete the lock and run convcost check --update.")
    entries: dict[str, Entry] = {}
    notes: list[str] = []
    for name in tables:
        path = ("budget", name)
        try:
            entry = read_table(file, Entry, path)
            entry = replace(entry, layers={key: replace(layer, name=key) for key, layer in entry.layers.items()})
            _refuse_edits(entry, file, path)
        except TomlError as error:
            what, step = error.first, f"write it anew with convcost check --update, or {_deletion(name)}"
            damage = f"the lock of {name} is damaged: {what.rule}"
            if name not in wanted:
                text = f"{damage}; it was not needed; {step} where no budget has this name any more."
                notes += TomlError(source, (Mistake(what.place, text),)).lines
            elif not rewritten:
                raise TomlError(source, (Mistake(what.place, f"{damage}; {step}, or the lock."),)) from None
        else:
            if name in wanted:
                entries[name] = entry
    return Lock(entries, _texts(data, file, wanted) if rewritten else {}, tuple(notes))


def _texts(data: bytes, file: TomlFile, wanted: Collection[str]) -> dict[str, str]:
    """The text of each entry, from its header to that of the next entry.

    Raises:
        ConvcostError: The tables of an entry to keep do not stand together.
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
            raise ConvcostError(
                f"{where}: the tables of {name} must stand together to be kept; {_deletion(name)}, or the lock."
            )
    return texts


def _deletion(name: str) -> str:
    return f"delete the entry [budget.{key_text(name)}]"


def _refuse_conflict(data: bytes, source: str) -> None:
    """Refuse a file with the markers of a merge conflict."""
    if match := re.search(rb"^(<{7}|={7}|>{7}|\|{7})(\s|$)", data, re.MULTILINE):
        line = data.count(b"\n", 0, match.start()) + 1
        step = "keep either side, or delete the lock, and run convcost check --update."
        raise ConvcostError(
            f"{source}:{line}:1: the lock holds the marker of a merge conflict ({match[1].decode()}); {step}"
        )


def _refuse_edits(entry: Entry, file: TomlFile, path: Key) -> None:
    """Refuse totals that are not the sums over the layers, and values that are not those of the checksum.

    Raises:
        TomlError: An edit by hand, or a merge.
    """
    for total in ("params", "macs"):
        summed = sum(getattr(layer, total) for layer in entry.layers.values())
        if (value := getattr(entry, total)) not in {summed, None}:
            text = f"{total} (={value}) is not the sum of its layers ({summed}), as after a merge; correct it."
            raise TomlError(file.source, (Mistake(file.place(path, of_key=True), text),))
    values: Any = file.value(path)
    totals = {key: value for key, value in values.items() if key not in {"layers", "checksum"}}
    if entry.checksum != checksum(totals, values["layers"]):
        text = f"checksum (={as_text(entry.checksum)}) is not that of its lines, as after an edit; correct them."
        raise TomlError(file.source, (Mistake(file.place((*path, "checksum")), text),))

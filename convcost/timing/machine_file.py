"""Machine files: TOML ↔ a calibrated machine, and where they lie."""

from __future__ import annotations

import math
import os
from dataclasses import fields
from datetime import date as Date  # noqa: N812 - a date is a local name here
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convcost.system.whole_files import write_whole
from convcost.text.errors import ConvcostError
from convcost.text.toml import parse_toml
from convcost.timing.machine import Identity, Level, Machine, Noise, Overhead, Peak

if TYPE_CHECKING:
    from convcost.text.toml import Key, TomlFile

__all__ = ["MACHINE_VARIABLE", "default_path", "machine_text", "parse_machine", "read_machine", "save_machine"]

FORMAT: Final = 1
MACHINE_VARIABLE: Final = "CONVCOST_MACHINE"
MOST: Final[dict[str, float]] = {
    "flop_per_s": 1e18,
    "gemm_flop_per_s": 1e18,
    "byte_per_s": 1e16,
    "empty_call_s": 1.0,
    "convolution_call_s": 1.0,
    "run_to_run": 1.0,
    "spread": 1e6,
    "capacity_bytes": 2**40,
    "threads": 2**16,
    "processes": 2**16,
    "cores": 2**16,
}
"""What no machine reaches: a larger value is a slip of the pen."""
LEAST: Final[dict[str, float]] = {
    "flop_per_s": 1e6,
    "gemm_flop_per_s": 1e6,
    "byte_per_s": 1e6,
    "empty_call_s": 1e-10,
    "convolution_call_s": 1e-10,
    "run_to_run": 0,
    "spread": 0,
    "capacity_bytes": 1 << 10,
    "threads": 1,
    "processes": 2,
    "cores": 0,
}
"""What every machine reaches that runs torch."""
HEAD: Final = """\
# The speeds of one machine, written by `convcost calibrate`. Base units: FLOP/s, byte/s, bytes, seconds; spread is a
# share. `how` says how each figure was obtained. Delete the file, or run the command again, after a change.
"""


def default_path(device: str) -> Path:
    """Where the calibration of this machine's device lies: CONVCOST_MACHINE, else the user's cache folder."""
    if named := os.environ.get(MACHINE_VARIABLE):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("convcost") / f"machine-{device}.toml"


def read_machine(path: Path) -> Machine:
    """Read a machine file.

    Raises:
        ConvcostError: it cannot be read, is no TOML, of another format, or a value is missing or absurd; with its line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = (
            f"machine (={path}) must be a file that can be read ({error.strerror}); write one with convcost calibrate."
        )
        raise ConvcostError(msg) from error
    return parse_machine(data, str(path))


def save_machine(path: Path, machine: Machine) -> None:
    """Write a machine file whole or not at all.

    Raises:
        ConvcostError: the folder cannot be written.
    """
    text = machine_text(machine)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"), "machine")


def machine_text(machine: Machine) -> str:
    """The TOML of a machine."""
    tables: list[tuple[str, object]] = [
        ("[machine]", machine.identity),
        *(("[[peak]]", peak) for peak in machine.peaks),
        *(("[[level]]", level) for level in machine.levels),
        ("[overhead]", machine.overhead),
        *([("[noise]", machine.noise)] if machine.noise is not None else []),
    ]
    lines = [f'machine_version = {FORMAT}\ndate = "{machine.date}"\n']
    for head, table in tables:
        said = ((one.name, getattr(table, one.name)) for one in fields(table))  # type: ignore[arg-type]  # dataclasses all
        rows = [f"{name} = {_literal(value)}" for name, value in said if value is not None]
        lines.append("\n".join([head, *rows]) + "\n")
    return HEAD + "\n".join(lines)


def _literal(value: float | str) -> str:
    """A TOML value; floats with six digits, which is more than any of them is worth."""
    if isinstance(value, str):
        from convcost.text.toml import quoted

        return quoted(value)
    return str(value) if isinstance(value, int) else repr(float(f"{value:.6g}"))


def parse_machine(data: bytes, source: str) -> Machine:
    """A machine of the text of its file.

    Raises:
        ConvcostError: as `read_machine`.
    """
    file = parse_toml(data, source)
    version = file.values.get("machine_version")
    if version != FORMAT:
        where = file.at(("machine_version",), of_key=True)
        msg = f"{where}: machine_version (={version}) must be {FORMAT}; measure the machine again: convcost calibrate."
        raise ConvcostError(msg)
    unknown = set(file.values) - {"machine_version", "date", "machine", "peak", "level", "overhead", "noise"}
    if unknown:
        key = min(unknown)
        msg = f"{file.at((key,), of_key=True)}: {key} is no table of a machine file; delete it."
        raise ConvcostError(msg)
    machine = Machine(
        _one(Identity, file, ("machine",)),
        _date(file),
        tuple(_one(Peak, file, way) for way in _many(file, "peak")),
        tuple(_one(Level, file, way) for way in _many(file, "level")),
        _one(Overhead, file, ("overhead",)),
        _one(Noise, file, ("noise",)) if "noise" in file.values else None,
        source,
    )
    _refuse_gaps(machine, file)
    return machine


def _date(file: TomlFile) -> str:
    date = file.values.get("date")
    try:
        return Date.fromisoformat(date).isoformat()  # type: ignore[arg-type]  # what is no text is refused below
    except (TypeError, ValueError):
        msg = f'{file.at(("date",))}: date (={date}) must be a text as "2026-11-24"; measure the machine again.'
        raise ConvcostError(msg) from None


def _many(file: TomlFile, key: str) -> list[Key]:
    entries = file.values.get(key)
    if not isinstance(entries, list) or not entries:
        msg = f"{file.at((key,))}: there must be [[{key}]] tables; measure the machine again: convcost calibrate."
        raise ConvcostError(msg)
    return [(key, index) for index in range(len(entries))]


def _one(kind: type[Any], file: TomlFile, way: Key) -> Any:  # noqa: ANN401 - of that kind
    """A table as a dataclass, every value of its type and possible."""
    table: Any = file.values
    for word in way:
        table = table.get(word, {}) if isinstance(table, dict) else table[word]
    known = {one.name: str(one.type) for one in fields(kind)}
    if not isinstance(table, dict):
        table = {}
    for name in table:
        if name not in known:
            msg = f"{file.at((*way, name), of_key=True)}: {name} is no key of [{way[0]}]; delete it."
            raise ConvcostError(msg)
    return kind(**{name: _checked(file, (*way, name), table.get(name), hint) for name, hint in known.items()})


def _checked(file: TomlFile, way: Key, value: object, hint: str) -> object:
    """A value of the type that its field has, within what a machine can be."""
    name = str(way[-1])
    if value is None and hint.endswith("None"):
        return None
    if "str" in hint:
        if isinstance(value, str):
            return value
        rule = "must be a text"
    else:
        number: float | None = value if isinstance(value, int) and not isinstance(value, bool) else None
        number = value if "float" in hint and isinstance(value, float) else number
        if number is not None and (isinstance(number, int) or math.isfinite(number)):
            if LEAST[name] <= number <= MOST[name]:
                return float(number) if "float" in hint else number
            rule = f"must be from {LEAST[name]:g} to {MOST[name]:g}"
        else:
            rule = "must be a number" if "float" in hint else "must be a whole number"
    shown = "missing" if value is None else value
    msg = f"{file.at(way)}: {'.'.join(map(str, way))} (={shown}) {rule}; measure the machine again: convcost calibrate."
    raise ConvcostError(msg)


def _refuse_gaps(machine: Machine, file: TomlFile) -> None:
    """Refuse a hierarchy that has no last level, or whose levels do not get larger and slower."""
    for threads in dict.fromkeys(level.threads for level in machine.levels):
        levels = machine.hierarchy(threads)
        rooms = [math.inf if level.capacity_bytes is None else level.capacity_bytes for level in levels]
        speeds = [-level.byte_per_s for level in levels]
        if rooms != sorted(set(rooms)) or rooms[-1] != math.inf or speeds != sorted(speeds):
            msg = (
                f"{file.at(('level',))}: the levels of {threads} threads must get larger and slower, and the last must "
                "have no capacity_bytes; measure the machine again: convcost calibrate."
            )
            raise ConvcostError(msg)

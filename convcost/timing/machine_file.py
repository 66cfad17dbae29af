"""Machine files: the figures of a calibrated machine as TOML, and the default path of the file."""

import datetime as dt
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from convcost.system.whole_files import write_text
from convcost.text.errors import ConvcostError, as_text
from convcost.text.input_file import read_file
from convcost.text.toml import Mistake, TomlError, TomlFile, file_text, parse_toml
from convcost.text.toml_tables import Read, read_table
from convcost.timing.machine import Identity, Level, Machine, Noise, Overhead, Peak

FORMAT: Final = 1
MACHINE_VARIABLE: Final = "CONVCOST_MACHINE"
AGAIN: Final = "measure the machine again: convcost calibrate."
HEAD: Final = """\
# The speeds of one machine, written by `convcost calibrate`. Units: FLOP/s, byte/s, bytes and seconds; spread is a
# share. `how` describes the measurement of each figure. Run the command again after a change of the machine.
"""


def default_path(device: str) -> Path:
    """The path of the machine file of a device: CONVCOST_MACHINE, else a file in the user's cache folder."""
    if named := os.environ.get(MACHINE_VARIABLE):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("convcost") / f"machine-{device}.toml"


def read_machine(path: Path) -> Machine:
    """Read a machine file.

    Raises:
        ConvcostError: The file cannot be read, is not TOML or has another format, or a value is missing or impossible;
            the message has the line.
    """
    return parse_machine(read_file(path, "machine", "write one with convcost calibrate"), str(path))


def save_machine(path: Path, machine: Machine) -> None:
    """Write a machine file whole or not at all.

    Raises:
        ConvcostError: The folder cannot be written.
    """
    write_text(path, machine_text(machine), "machine")


def machine_text(machine: Machine) -> str:
    """The TOML of a machine; floats have six digits, more than any figure is accurate to."""
    figures = (machine.identity, machine.peaks, machine.levels, machine.overhead, machine.noise)
    held = _MachineFile(FORMAT, machine.date, *figures)
    return HEAD + file_text(asdict(held, dict_factory=_rounded))


def _rounded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in pairs}


def _date(value: object) -> str:
    try:
        return dt.date.fromisoformat(value).isoformat()  # type: ignore[arg-type]  # a value that is not a text raises the TypeError below
    except (TypeError, ValueError):
        raise ConvcostError(f'(={as_text(value)}) must be a text such as "2026-11-24"; {AGAIN}') from None


@dataclass(frozen=True, slots=True)
class _MachineFile:
    """The keys and tables of a machine file."""

    machine_version: int
    date: Annotated[str, Read(_date)]
    machine: Identity
    peak: tuple[Peak, ...]
    level: tuple[Level, ...]
    overhead: Overhead
    noise: Noise | None = None


def parse_machine(data: bytes, source: str) -> Machine:
    """The machine of a file's text.

    Raises:
        ConvcostError: As for `read_machine`.
    """
    file = parse_toml(data, source)
    if file.values.get("machine_version") != FORMAT:
        file.refuse(("machine_version",), f"must be {FORMAT}; {AGAIN}", of_key=True)
    try:
        held = read_table(file, _MachineFile)
    except TomlError as error:
        raise TomlError(source, (Mistake(error.first.place, f"{error.first.rule}; {AGAIN}"),)) from None
    for key in ("peak", "level"):
        if not file.values[key]:
            file.refuse((key,), f"must not be empty; {AGAIN}")
    machine = Machine(held.machine, held.date, held.peak, held.level, held.overhead, held.noise, source)
    _refuse_gaps(machine, file)
    return machine


def _refuse_gaps(machine: Machine, file: TomlFile) -> None:
    """Refuse memory levels that do not get larger and slower, or whose last one has a capacity."""
    for threads in dict.fromkeys(level.threads for level in machine.levels):
        levels = machine.hierarchy(threads)
        capacities = [math.inf if level.capacity_bytes is None else level.capacity_bytes for level in levels]
        speeds = [-level.byte_per_s for level in levels]
        if capacities != sorted(set(capacities)) or capacities[-1] != math.inf or speeds != sorted(speeds):
            rule = f"the levels of {threads} threads must get larger and slower, and the last have no capacity_bytes"
            raise TomlError(file.source, (Mistake(file.place(("level",)), f"{rule}; {AGAIN}"),))

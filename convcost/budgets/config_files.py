"""The files of `convcost check`: paths, reading and writing of the configuration and the lock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.budgets.configuration import read_budgets
from convcost.budgets.limits import METRICS
from convcost.budgets.lock import Lock, lock_text, read_lock
from convcost.system.whole_files import require_writable, write_text
from convcost.text.errors import ConvcostError
from convcost.text.input_file import is_file, read_file, resolved
from convcost.text.quantities import generous
from convcost.text.toml import parse_toml, table_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from convcost.budgets.configuration import Configuration
    from convcost.budgets.limits import Budget
    from convcost.changes.layer_cost import Entry
    from convcost.models.report import Totals

CONFIG_NAME: Final = "convcost.toml"
LOCK_NAME: Final = "convcost.lock"
PYPROJECT: Final = "pyproject.toml"
ROOT: Final = ("tool", "convcost")
"""Keys that lead to the configuration in a pyproject.toml."""
HINT: Final = """\
# max: the current figures + 10 %; grow: over convcost.lock (convcost check --update writes it) or a base revision
"""
FIRST_GROW: Final = "1 %"
"""Allowed growth in a first configuration."""


def load_configuration(path: Path | None = None) -> Configuration:
    """The configuration in this file, by default the nearest one of this folder and those above.

    A folder's configuration is its convcost.toml, else [tool.convcost] in its pyproject.toml.

    Raises:
        ConvcostError: There is no configuration, it cannot be read, or it has mistakes, each with line and column.
    """
    path = path or _nearest()
    file = parse_toml(_read(path, "config"), _shown(path))
    root = ROOT if path.name == PYPROJECT else ()
    return read_budgets(file, resolved(path).parent, root)


def lock_path(configuration: Configuration) -> Path:
    """The path of the lock, beside the configuration."""
    return configuration.folder / LOCK_NAME


def load_lock(path: Path, wanted: Collection[str], *, rewritten: bool = False) -> Lock:
    """The lock in a file; an empty one without the file.

    Args:
        path: Path of the lock.
        wanted: Budgets whose entries are needed.
        rewritten: Whether these entries will be replaced, so that they may be damaged.

    Raises:
        ConvcostError: The lock cannot be read, or is damaged.
    """
    return read_lock(_read(path, "lock"), _shown(path), wanted, rewritten=rewritten) if path.exists() else Lock()


def save_lock(path: Path, entries: Mapping[str, Entry], kept: Mapping[str, str] | None = None) -> None:
    """Write a lock whole or not at all.

    Args:
        path: Path of the lock.
        entries: Entries by budget.
        kept: Texts of further entries, which are written unchanged.

    Raises:
        ConvcostError: The folder cannot be written.
    """
    write_text(path, lock_text(entries, kept), "the lock")


def first_path(path: Path | None) -> Path:
    """The path for a first configuration.

    Raises:
        ConvcostError: The file exists, or its folder cannot be written.
    """
    wanted = path or Path(CONFIG_NAME)
    if wanted.exists():
        other = "convcost check --init TARGET --config FILE"
        raise ConvcostError(f"config (={wanted}) must not be there yet, and it is; edit it, or write {other}.")
    require_writable(wanted, what="config")
    return wanted


def relative_target(target: str, folder: Path) -> str:
    """A target whose file, if any, is relative to the folder of the configuration instead of the current folder."""
    where, colon, name = target.rpartition(":")
    file, rest = (target, "") if is_file(Path(target)) else (where, f"{colon}{name}")
    return f"{Path(os.path.relpath(file, folder)).as_posix()}{rest}" if is_file(Path(file)) else target


def write_first(path: Path, budget: Budget, totals: Totals) -> None:
    """Write a configuration with limits 10 % above these figures, and on growth.

    Raises:
        ConvcostError: TOML cannot express an argument, or the folder cannot be written.
    """
    limits = {
        name: {"max": generous(getattr(totals, name), metric.kind), "grow": FIRST_GROW}
        for name, metric in METRICS.items()
        if name not in {"flops", "latency"} and getattr(totals, name) is not None
    }
    model = {
        "target": budget.target,
        "args": budget.args or None,
        "input": [str(one) for one in budget.inputs] or None,
        "device": None if budget.device == "auto" else budget.device,
    }
    root = ROOT if path.name == PYPROJECT else ()
    try:
        text = table_text((*root, "budget", budget.name), model) + HINT + table_text((), limits)
    except ConvcostError as error:
        raise ConvcostError(f"arg {error}") from error
    write_text(path, text, "config")


def _nearest() -> Path:
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
        if (folder / PYPROJECT).is_file() and has_table(folder / PYPROJECT):
            return folder / PYPROJECT
    raise ConvcostError(
        f"no {CONFIG_NAME} and no [tool.convcost] in a {PYPROJECT} here or above; write one with "
        "convcost check --init TARGET, or give the limits: convcost check TARGET --max-macs 580M."
    )


def has_table(path: Path) -> bool:
    """Whether a pyproject.toml has [tool.convcost]; if it cannot be parsed, whether it has the word convcost."""
    try:
        data = _read(path, "config")
    except ConvcostError:
        return False
    try:
        tool = parse_toml(data, str(path)).values.get("tool")
    except ConvcostError:
        return b"convcost" in data
    return isinstance(tool, dict) and "convcost" in tool


def _read(path: Path, what: str) -> bytes:
    return read_file(path, what, "give the path of one")


def _shown(path: Path) -> str:
    """A path relative to this folder, if it lies below it."""
    whole, here = resolved(path), Path.cwd().resolve()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(path)

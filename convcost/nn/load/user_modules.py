"""Which modules of the user's are loaded: those of one target at a time, and of one revision at a time."""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import ModuleType

__all__ = ["FOREIGN", "RENAMED", "kept_apart", "other_checkout"]

FOREIGN: Final = tuple(
    {*(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")), str(Path(__file__).resolve().parents[2])}
)
"""Folders whose code is not the user's: Python's library, installed packages, convcost."""
RENAMED: Final = "convcost_target_"
"""Begins the name of a target's module whose own name is taken: no import gives it."""


_BROUGHT: Final[dict[str, str]] = {}
"""Modules that targets imported in this process, by name, each with its file."""


@contextmanager
def kept_apart(folders: Collection[Path]) -> Iterator[Callable[[], None]]:
    """Targets that are loaded one after the other do not get each other's modules; afterwards the caller's are back.

    Args:
        folders: in which the targets' modules lie.

    Yields:
        What to call before each target, once its folders are on the import path. When a module is not what an import
        gives there, all are forgotten, since they hold on to each other; else they stay, for not every module can be
        imported twice.
    """
    before = _lying_in(folders)

    def note_brought() -> None:
        _BROUGHT.update((name, _file(module)) for name, module in _lying_in(folders).items() if name not in before)

    def forget_strangers() -> None:
        note_brought()
        brought = {name: sys.modules[name] for name, file in _BROUGHT.items() if _is_loaded(name, file)}
        loaded = {**_lying_in(folders), **brought}
        if any(_is_strange(name, module, name in brought) for name, module in loaded.items()):
            for name in loaded:
                del sys.modules[name]
            importlib.invalidate_caches()

    try:
        yield forget_strangers
    finally:
        note_brought()
        sys.modules.update(before)


def _is_loaded(name: str, file: str) -> bool:
    module = sys.modules.get(name)
    return module is not None and _file(module) == file


@contextmanager
def other_checkout(here: Path, there: Path) -> Iterator[None]:
    """Inside, what would be imported from `here` comes from another checkout of the same project.

    Args:
        here: the project, its absolute path.
        there: the other checkout, its absolute path.

    Raises:
        ConvcostError: at the end, a module came from `here` all the same, so that nothing would be compared.
    """
    ours = _lying_in([here])
    for name in ours:
        del sys.modules[name]
    before = sys.path[:]
    sys.path[:] = [str(there / "src"), *(_moved(entry, here, there) for entry in before)]
    importlib.invalidate_caches()
    leaked: list[str] = []
    try:
        yield
        leaked = sorted(_lying_in([here]))
    finally:
        for name in _lying_in([here, there]):
            del sys.modules[name]
        sys.modules.update(ours)
        sys.path[:] = before
        importlib.invalidate_caches()
    if leaked:
        msg = f"{leaked[0]} is imported from {here} whatever the revision; name the target as file.py:callable."
        raise ConvcostError(msg)


def _lying_in(folders: Collection[Path]) -> dict[str, ModuleType]:
    """The user's own modules that come from these folders, by name."""
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name != "__main__" and (file := _file(module)) and not file.startswith(FOREIGN) and _is_below(file, folders)
    }


def _file(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else ""


def _is_below(file: str, folders: Collection[Path]) -> bool:
    return any(file.startswith(f"{folder}{os.sep}") for folder in folders)


def _is_strange(name: str, module: ModuleType, brought: bool) -> bool:  # noqa: FBT001 - a fact, not a switch
    """Whether an import gives another file; or none, of a module that a target brought from where it alone looked."""
    top, nested, _ = name.partition(".")
    if top.startswith(RENAMED):
        return False
    found = (finder.find_spec(top, None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    spec = next((one for one in found if one is not None), None)
    if spec is None:
        return brought
    file = os.path.realpath(_file(module))
    if nested:
        return not _is_below(file, [Path(place).resolve() for place in spec.submodule_search_locations or ()])
    return spec.origin is None or os.path.realpath(spec.origin) != file


def _moved(entry: str, here: Path, there: Path) -> str:
    """An entry of the import path, in the other checkout where it lies in this one; installed packages stay."""
    inside = Path(entry).is_absolute() and Path(entry).is_relative_to(here) and not entry.startswith(FOREIGN)
    return str(there / Path(entry).relative_to(here)) if inside else entry

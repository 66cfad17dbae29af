"""The user's own Python: where it is imported from, how it is run, and what to say when it raises."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from convcost.system.streams import quiet_stdout
from convcost.text.errors import ConvcostError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import ModuleType


__all__ = [
    "LIBRARY_FOLDERS",
    "MODULE_PREFIX",
    "PASSED_THROUGH",
    "attribute",
    "error_summary",
    "import_folders",
    "import_path",
    "import_user_module",
    "isolated_imports",
    "next_step",
    "other_checkout",
    "refuse_raised",
    "running_user_code",
    "user_code_context",
    "user_line",
]

MAX_LENGTH: Final = 400
"""Characters of what was raised: torch quotes whole graphs."""
PASSED_THROUGH: Final = (ConvcostError, KeyboardInterrupt, GeneratorExit)
"""What passes through the user's code: a finding of ours, Ctrl-C, and Python's way to close a generator."""


def import_folders(target: str) -> tuple[Path, ...]:
    """Where a target's modules are looked for first: beside its file, and in the current folder."""
    where = target.rpartition(":")[0]
    return (Path(where).resolve().parent, Path.cwd()) if where.endswith(".py") else (Path.cwd(),)


@contextmanager
def import_path(*folders: Path) -> Iterator[None]:
    """These folders come first on the import path inside; afterwards it is what it was."""
    before = sys.path[:]
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def user_code_context(target: str) -> Iterator[None]:
    """Inside, the code of a target may run: to be loaded, counted and timed, for all of these can import and print.

    The folder of its file and the current one come first on the import path, and what it writes to stdout goes to
    stderr, for stdout holds the data.

    Args:
        target: as the user typed it.
    """
    with import_path(*import_folders(target)), quiet_stdout():
        yield


@contextmanager
def running_user_code(told: Callable[[BaseException], ConvcostError]) -> Iterator[None]:
    """Inside, what the user's code prints goes to stderr, and whatever it raises becomes an error; sys.exit too.

    Args:
        told: what to say of it.

    Raises:
        ConvcostError: what was told of what it raised.
    """
    try:
        with quiet_stdout():
            yield
    except PASSED_THROUGH:
        raise
    except BaseException as error:
        raise told(error) from error


def import_user_module(target: str, where: str) -> ModuleType:
    """Import `package.module`, or the file whose path `where` is.

    Args:
        target: as the user typed it, for messages.
        where: the part before the colon.

    Raises:
        ConvcostError: there is no such module or file, or importing it raises.
    """
    is_file = where.endswith(".py")
    if is_file and not Path(where).is_file():
        msg = f"target (={target}) must name a file that is there: {where} is not; give the path of one."
        raise ConvcostError(msg)
    try:
        return _import_file(Path(where).resolve()) if is_file else importlib.import_module(where)
    except ModuleNotFoundError as error:
        if not is_file and error.name and (where == error.name or where.startswith(f"{error.name}.")):
            msg = (
                f"target (={target}) must name a module that can be imported: there is no {error.name}; "
                "give another name, or the path of a file as file.py:callable."
            )
            raise ConvcostError(msg) from error
        refuse_raised(target, "being imported", error)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever the user's module raises is told, not swallowed
        refuse_raised(target, "being imported", error)


def _import_file(path: Path) -> ModuleType:
    """Run a file as a module of its own name, or of a longer one when that name is taken."""
    for name in (path.stem, f"{MODULE_PREFIX}{path.stem}"):
        present = sys.modules.get(name)
        if present is not None and getattr(present, "__file__", None) == str(path):
            return present
    name = path.stem
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"{MODULE_PREFIX}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"target (={path}) must be a Python file; give one that ends in .py."
        raise ConvcostError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def attribute(target: str, module: ModuleType, dotted: str) -> object:
    """The object of this dotted name in a module.

    Raises:
        ConvcostError: there is none, with the nearest name that is there.
    """
    value: object = module
    for name in dotted.split("."):
        if not hasattr(value, name):
            known = [key for key in vars(value) if not key.startswith("_")] if hasattr(value, "__dict__") else []
            msg = f"target (={target}) must name something that is there: no {name}; {did_you_mean(name, known)}"
            raise ConvcostError(msg)
        value = getattr(value, name)
    return value


def refuse_raised(target: str, doing: str, error: BaseException) -> NoReturn:
    """Say on one line what the user's code raised and where, with the original chained.

    Raises:
        ConvcostError: always.
    """
    step = (
        'put what runs a script under if __name__ == "__main__"' if isinstance(error, SystemExit) else "mend it there"
    )
    msg = f"target (={target}) must not raise while {doing}: {error_summary(error)}; {step}, or see the whole with --debug."
    raise ConvcostError(msg) from error


def error_summary(error: BaseException) -> str:
    """What was raised, and where in the user's code: `ValueError: too wide at /home/me/net.py:12`."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    text = text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."
    place = f"{error.filename}:{error.lineno}" if isinstance(error, SyntaxError) else user_line(error)
    return (f"{kind}: {text}" if text else kind) + (f" at {place}" if place else "")


def user_line(error: BaseException) -> str | None:
    """The innermost frame in a file of the user's, as FILE:LINE."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen", *LIBRARY_FOLDERS))
    ]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None


def next_step(error: BaseException) -> str:
    """The next step for a forward pass that raised, in words that fit a configuration and a command line."""
    return "mend it there, or change the input" if user_line(error) else "change the input"


LIBRARY_FOLDERS: Final = tuple(
    {*(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")), str(Path(__file__).resolve().parents[2])}
)
"""Folders whose code is not the user's: Python's library, installed packages, convcost."""
MODULE_PREFIX: Final = "convcost_target_"
"""Begins the name of a target's module whose own name is taken: no import gives it."""
_IMPORTED: Final[dict[str, str]] = {}
"""Modules that targets imported in this process, by name, each with its file."""


@contextmanager
def isolated_imports(folders: Collection[Path]) -> Iterator[Callable[[], None]]:
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
        _IMPORTED.update((name, _file(module)) for name, module in _lying_in(folders).items() if name not in before)

    def drop_stale_modules() -> None:
        note_brought()
        brought = {name: sys.modules[name] for name, file in _IMPORTED.items() if _is_loaded(name, file)}
        loaded = {**_lying_in(folders), **brought}
        if any(_is_strange(name, module, name in brought) for name, module in loaded.items()):
            for name in loaded:
                del sys.modules[name]
            importlib.invalidate_caches()

    try:
        yield drop_stale_modules
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
        if name != "__main__"
        and (file := _file(module))
        and not file.startswith(LIBRARY_FOLDERS)
        and _is_below(file, folders)
    }


def _file(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else ""


def _is_below(file: str, folders: Collection[Path]) -> bool:
    return any(file.startswith(f"{folder}{os.sep}") for folder in folders)


def _is_strange(name: str, module: ModuleType, brought: bool) -> bool:  # noqa: FBT001 - a fact, not a switch
    """Whether an import gives another file; or none, of a module that a target brought from where it alone looked."""
    top, nested, _ = name.partition(".")
    if top.startswith(MODULE_PREFIX):
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
    inside = Path(entry).is_absolute() and Path(entry).is_relative_to(here) and not entry.startswith(LIBRARY_FOLDERS)
    return str(there / Path(entry).relative_to(here)) if inside else entry

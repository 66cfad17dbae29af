"""The user's own Python: import it, run it, and report what it raises."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import logging
import os
import sys
import traceback
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.system.signals import is_ctrl_c
from convcost.system.streams import quiet_stdout
from convcost.system.threads import quiet
from convcost.text.errors import ConvcostError, did_you_mean, first_line, text_of
from convcost.text.input_file import is_file, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

MAX_LENGTH: Final = 400
"""Characters of an exception's text in a message: torch quotes whole graphs."""
PACKAGE_FOLDER: Final = f"{Path(__file__).resolve().parents[2]}{os.sep}"
"""Folder of convcost's own code, with the separator that the paths of its files have next."""
CALLS: Final = ("func(", "function(", "self.function(", "model(")
"""Calls in convcost's code of an operator or a model, which raise what torch or the user's code raises."""
ZOOS: Final = ("torchvision:", "timm:")
"""Beginnings of targets that are models of an installed package by definition."""
MODULE_PREFIX: Final = "convcost_target_"
"""Prefix for the module of a target's file whose own name is taken; no import statement uses it."""


def is_own_python(target: str, folder: Path) -> bool:
    """Whether a target of a folder names Python of the user's: no file of data, packaged network or model of a zoo."""
    path = folder / target
    is_file_of_data = path.suffix == ".toml" or (path.suffix != ".py" and is_file(path))
    return ":" in target and not target.startswith(("network:", *ZOOS)) and not is_file_of_data


def import_folders(target: str, folder: Path) -> tuple[Path, ...]:
    """The folders that come first on the import path of a target of a folder: that of its file, and the folder.

    There are none for one that is not the user's Python, or convcost and torch would import what lies there.
    """
    if not is_own_python(target, folder):
        return ()
    where, folder = target.rpartition(":")[0], folder.resolve()
    return (resolved(folder / where).parent, folder) if where.endswith(".py") else (folder,)


@contextmanager
def import_path(*folders: Path) -> Iterator[None]:
    """Put folders first on the import path; restore the path afterwards."""
    before = sys.path[:]
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def user_code_context(target: str) -> Iterator[None]:
    """The import path for a target, and its output to stdout sent to stderr, since stdout holds the data.

    A target may import and print while it is loaded, counted and timed; all of that belongs inside.
    """
    with import_path(*import_folders(target, Path.cwd())), quiet_stdout(), _quiet_torch():
        yield


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Without torch's log lines, which are for its own developers; TORCH_LOGS in the environment keeps them."""
    logger = logging.getLogger("torch")
    level = logger.level
    if "TORCH_LOGS" not in os.environ:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@cache
def library_folders() -> tuple[str, ...]:
    """Folders, each with a separator, whose code is not the user's: Python's library, installed packages, convcost."""
    import sysconfig

    folders = {f"{sysconfig.get_path(kind)}{os.sep}" for kind in ("stdlib", "purelib", "platlib")}
    return (*folders, PACKAGE_FOLDER)


@contextmanager
def running_user_code(describe: Callable[[BaseException], ConvcostError]) -> Iterator[None]:
    """Turn whatever the user's code raises into an error of convcost, SystemExit included; stdout goes to stderr.

    Args:
        describe: Makes the error for an exception. ConvcostError and Ctrl-C pass unchanged.
    """
    try:
        with quiet():
            yield
    except ConvcostError:
        raise
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        raise describe(error) from error


def import_object(target: str, where: str, dotted: str) -> object:
    """Import `where`, a module's dotted name or the path of a file, and return the object `dotted` in it.

    Args:
        target: The whole target, for messages.
        where: The part before the colon.
        dotted: The part after it.

    Raises:
        ConvcostError: No such module, file or object, or the import raises.
    """
    value: object = _import(target, where)
    for name in dotted.split("."):
        if not hasattr(value, name):
            known = [key for key in vars(value) if not key.startswith("_")] if hasattr(value, "__dict__") else []
            msg = f"target (={target}) must name something that is there: no {name}; {did_you_mean(name, known)}"
            raise ConvcostError(msg)
        value = getattr(value, name)
    return value


def _import(target: str, where: str) -> ModuleType:
    is_python = where.endswith(".py")
    if is_python and not is_file(Path(where)):
        raise ConvcostError(f"target (={target}) must name a file that is there: {where} is not; give the path of one.")
    try:
        return _import_file(Path(where).resolve()) if is_python else importlib.import_module(where)
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        missing = error.name if isinstance(error, ModuleNotFoundError) and not is_python else None
        if missing and f"{where}.".startswith(f"{missing}."):
            step = did_you_mean(missing, ["network"], "give another name, or the path of a file as file.py:callable.")
            raise ConvcostError(
                f"target (={target}) must name a module that can be imported: there is no {missing}; {step}"
            ) from error
        raise user_error(target, "being imported", error) from error


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, or with `MODULE_PREFIX` when that name is taken."""
    prefixed = f"{MODULE_PREFIX}{path.stem}"
    for name in (path.stem, prefixed):
        if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
            return sys.modules[name]
    name = prefixed if path.stem in sys.modules or path.stem in sys.stdlib_module_names else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConvcostError(f"target (={path}) must be a Python file; give one that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def user_error(target: str, action: str, error: BaseException) -> ConvcostError:
    """The error that reports, on one line, what the user's code raised during an action, and where."""
    step = "mend it there"
    if isinstance(error, SystemExit):
        step = 'put what runs a script under if __name__ == "__main__"'
    return ConvcostError(
        f"target (={target}) must not raise while {action}: {error_summary(error)}; {step}, "
        "or see the traceback with convcost model TARGET --debug."
    )


def error_summary(error: BaseException) -> str:
    """An exception and its place in the user's code: `ValueError: too wide at /home/me/net.py:12`."""
    kind, text = type(error).__name__, " ".join(text_of(error).split())
    text = text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."
    place = f"{error.filename}:{error.lineno}" if isinstance(error, SyntaxError) else user_line(error)
    return (f"{kind}: {text}" if text else kind) + (f" at {place}" if place else "")


def user_line(error: BaseException) -> str | None:
    """The innermost frame of the traceback in a file of the user's, as FILE:LINE."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(("<frozen", "<eval_with_key", *library_folders())):  # the code of torch.fx
            return f"{frame.filename}:{frame.lineno}"
    return None


def is_own_fault(error: BaseException) -> bool:
    """Whether convcost's own code raised: the innermost frame is convcost's, and does not just call torch or the user.

    An error in torch's C++ has no frame, so that the innermost one is the call of an operator: `func(...)`.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or isinstance(error, (RecursionError, MemoryError, Warning, SystemExit)):
        return False
    last = frames[-1]
    line = linecache.getline(last.filename, last.lineno or 0)[last.colno or 0 :]
    return last.filename.startswith(PACKAGE_FOLDER) and not line.startswith(CALLS)


def own_fault(error: BaseException) -> ConvcostError:
    """The error that reports a fault of convcost, so that nobody looks for it in a model."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return ConvcostError(
        f"a fault of convcost, not of the model: {type(error).__name__}: {first_line(error)} at {place}; "
        "report it with its traceback, which convcost model TARGET --debug prints."
    )


def forward_failure(error: BaseException, step: str | None = None) -> str:
    """What a forward pass raised, and the next step, by default to change the code or the input."""
    usual = "mend it there, or change the input" if user_line(error) else "change the input"
    return f"{error_summary(error)}; {step or usual}."

"""Files that are written whole or not at all, and paths that are checked before any work is done."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.system.ownership import owned, remove_abandoned
from convcost.text.errors import ConvcostError, as_text, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

PREFIX: Final = ".convcost-"
_TEMPORARY: Final = re.compile(rf"{re.escape(PREFIX)}[a-z0-9_]{{8}}(\.\w+)?")
"""The names of temporary files, as `tempfile` makes them."""
_UMASK: Final = threading.Lock()
"""Held while the process's umask is another one, since it can be read only by changing it."""


def require_writable(
    path: Path, suffixes: Collection[str] = (), what: str = "export", *, make_folder: bool = False
) -> None:
    """Refuse a file that could not be written, before anything is computed; remove what killed runs left beside it.

    Args:
        path: File to write.
        suffixes: Suffixes that are allowed; empty for any.
        what: Name of the file in error messages.
        make_folder: Whether to create a missing folder.

    Raises:
        ConvcostError: The suffix is unknown, the folder is missing or cannot be written, or the path is too long, a
            folder, a device or a pipe.
    """
    if path == Path():  # an empty text, too
        raise ConvcostError(f"{what} must name a file, not the current folder; give it a name.")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ConvcostError(f"{what} (={path}) must end in {', '.join(suffixes)}; the suffix chooses the kind of file.")
    try:
        is_folder, is_special = path.is_dir(), path.exists() and not path.is_file()
        folder = path.resolve().parent
    except (OSError, RuntimeError, ValueError) as error:  # it is too long, or a loop of links
        reason = _reason(error)
        raise ConvcostError(f"{what} (={as_text(path)}) must be a path ({reason}); give it another name.") from error
    if is_folder:
        raise ConvcostError(f"{what} (={path}) must be a file and is a folder; give it another name.")
    if is_special:
        raise ConvcostError(f"{what} (={path}) must be a file, and is a device or a pipe; give it another name.")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        with _temporary(path):
            pass
    except OSError as error:
        msg = f"{what} (={path}) must be in a folder that can be written ({error.strerror}); choose another folder."
        raise ConvcostError(msg) from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder."""
    for entry in os.scandir(folder):
        if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            remove_abandoned(Path(entry.path), Path.unlink)


def require_own(path: Path, first: str, what: str) -> None:
    """Refuse to write over a file that somebody else wrote.

    Args:
        path: File to write; a missing one is fine.
        first: First line of the files that may be overwritten.
        what: Name of the file in error messages.

    Raises:
        ConvcostError: The file has another first line.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            is_own = file.readline(len(first) + 1).rstrip("\n") == first
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConvcostError(f"{what} (={path}) must be readable ({error.strerror}); give it another name.") from error
    if not is_own:
        raise ConvcostError(f"{what} (={path}) must not be a file that convcost did not write; give it another name.")


def write_whole(
    path: Path, write: Callable[[Path], object], what: str = "export", step: str = "choose another folder"
) -> None:
    """Write a temporary file in the same folder, then rename it: the old file or the new one stays, never a part.

    Args:
        path: File to write, or a link to it.
        write: Function that writes to the path of the temporary file.
        what: Name of the file in error messages.
        step: The next step if the folder is at fault.

    Raises:
        ConvcostError: The file could not be written; the old file is unchanged.
    """
    try:
        with _temporary(path) as temporary:
            write(temporary)
            target = path.resolve()
            temporary.chmod(_mode(target))
            temporary.replace(target)
    except OSError as error:
        msg = f"{what} (={path}) could not be written ({_reason(error)}); {step}."
        raise ConvcostError(msg) from error
    except Exception as error:  # libraries have exceptions of their own for a full disk and for values they cannot hold
        msg = f"{what} (={path}) could not be written ({_reason(error)}); choose another kind of file or folder."
        raise ConvcostError(msg) from error


def write_text(path: Path, text: str, what: str) -> None:
    """Write a text with `write_whole`, as UTF-8 and with line feeds on every platform."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"), what)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of a path, removed at the end unless it was renamed."""

    def make() -> Path:
        descriptor, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=PREFIX, suffix=path.suffix)
        os.close(descriptor)
        return Path(name)

    with owned(make) as temporary:
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


def _mode(path: Path) -> int:
    """The permissions of the old file, or those of a new one under the user's umask."""
    if path.exists():
        return path.stat().st_mode & 0o777
    with _UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return 0o666 & ~mask

"""Files that are written whole or not at all, and paths that are checked before any work is done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def require_writable(
    path: Path, suffixes: Collection[str] = (), what: str = "export", *, make_folder: bool = False
) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Args:
        path: File to write.
        suffixes: Suffixes that are allowed; empty for any.
        what: Name of the file in error messages.
        make_folder: Whether to create a missing folder.

    Raises:
        ConvcostError: The suffix is unknown, the folder is missing or cannot be written, or the path is a folder, a
            device or a pipe.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise ConvcostError(f"{what} (={path}) must end in {', '.join(suffixes)}; the suffix chooses the kind of file.")
    if path.is_dir():
        raise ConvcostError(f"{what} (={path}) must be a file and is a folder; give it another name.")
    if path.exists() and not path.is_file():
        raise ConvcostError(f"{what} (={path}) must be a file, and is a device or a pipe; give it another name.")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, probe = tempfile.mkstemp(dir=path.resolve().parent, prefix=".convcost-")
    except OSError as error:
        msg = f"{what} (={path}) must be in a folder that can be written ({error.strerror}); choose another folder."
        raise ConvcostError(msg) from error
    os.close(descriptor)
    Path(probe).unlink()


def write_whole(path: Path, write: Callable[[Path], object], what: str = "export") -> None:
    """Write a temporary file in the same folder, then rename it: the old file or the new one stays, never a part.

    Args:
        path: File to write, or a link to it.
        write: Function that writes to the path of the temporary file.
        what: Name of the file in error messages.

    Raises:
        ConvcostError: The file system refused; the old file is unchanged.
    """
    target = path.resolve()
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".convcost-", suffix=path.suffix)
        os.close(descriptor)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.chmod(_mode(target))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{what} (={path}) could not be written ({error.strerror}); choose another folder."
        raise ConvcostError(msg) from error


def write_text(path: Path, text: str, what: str) -> None:
    """Write a text with `write_whole`, as UTF-8 and with line feeds on every platform."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"), what)


def _mode(path: Path) -> int:
    """The permissions of the old file, or those of a new one under the user's umask."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask

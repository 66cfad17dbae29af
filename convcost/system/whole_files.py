"""Files that are written whole or not at all, and that are refused before any work is done."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["require_writable", "write_whole"]


def require_writable(
    path: Path, suffixes: Collection[str] = (), what: str = "--export", *, make_folder: bool = False
) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Args:
        path: of the file.
        suffixes: of which it must have one; empty for any.
        what: it is, for the message.
        make_folder: whether its folder is made where it is missing.

    Raises:
        ConvcostError: an unknown suffix, a folder that does not exist or cannot be written, a path that is a folder, a
            device or a pipe.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        msg = f"{what} (={path}) must end in {', '.join(suffixes)}; the suffix chooses the kind of file."
        raise ConvcostError(msg)
    if path.is_dir():
        msg = f"{what} (={path}) must be a file and is a folder; give it another name."
        raise ConvcostError(msg)
    if path.exists() and not path.is_file():
        msg = f"{what} (={path}) must be a file, and is a device or a pipe; give it another name."
        raise ConvcostError(msg)
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, probe = tempfile.mkstemp(dir=path.resolve().parent, prefix=".convcost-")
    except OSError as error:
        msg = f"{what} (={path}) must be in a folder that can be written ({error.strerror}); choose another folder."
        raise ConvcostError(msg) from error
    os.close(descriptor)
    Path(probe).unlink()


def write_whole(path: Path, write: Callable[[Path], object], what: str = "--export") -> None:
    """Call `write` on a temporary file in the same folder, then rename it: the old file or the new one, never a part.

    Args:
        path: of the file; of a link, what it points to is written.
        write: the temporary file.
        what: it is, for the message.

    Raises:
        ConvcostError: the file system refused; what was there before is still there.
    """
    target = path.resolve()
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".convcost-", suffix=path.suffix)
    except OSError as error:
        raise _refused(path, error, what) from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(_mode(target))
        temporary.replace(target)
    except OSError as error:
        raise _refused(path, error, what) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, or those of a new one under the user's umask."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _refused(path: Path, error: OSError, what: str) -> ConvcostError:
    return ConvcostError(f"{what} (={path}) could not be written ({error.strerror}); choose another folder.")

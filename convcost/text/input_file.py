"""Files of the user, read: regular ones, up to a size."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from pathlib import Path

MAX_TEXT_BYTES: Final = 2**23
"""Size of the largest file of text that is read: configuration, network, lock, machine file, matrix."""


def require_regular(path: Path, name: str, step: str = "check the path") -> None:
    """Refuse a directory, a device, a pipe or a socket, which would block or never end; a shell's pipe is no danger.

    Args:
        path: The path, which may be a link.
        name: What the message calls the file.
        step: The next step.

    Raises:
        ConvcostError: It is one of these, or is not there.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise _unreadable(path, name, error, step) from error
    is_of_shell = stat.S_ISFIFO(mode) and path.is_relative_to("/dev")  # /dev/stdin, and /dev/fd/63 of <(command)
    if not stat.S_ISREG(mode) and not is_of_shell:
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
        raise ConvcostError(f"{name} (={path}) must be a regular file, not {kind}; {step}.")


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False for what cannot be a path and for what may not be looked up."""
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder without permission
        return False


def resolved(path: Path) -> Path:
    """The absolute path without links; with them where they go in a circle, or where it cannot be a path."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path.absolute()


def read_file(path: Path, name: str, step: str, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The bytes of a file.

    Args:
        path: The path, which may be a link.
        name: What the message calls the file.
        step: The next step for a file that cannot be read.
        limit: Size of the largest file that is read.

    Raises:
        ConvcostError: It is no regular file, cannot be read, or is larger.
    """
    require_regular(path, name, step)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise _unreadable(path, name, error, step) from error
    if len(data) > limit:
        raise ConvcostError(f"{name} (={path}) must be at most {limit} bytes; {step}.")
    return data


def _unreadable(path: Path, name: str, error: Exception, step: str) -> ConvcostError:
    why = (error.strerror if isinstance(error, OSError) else None) or error
    return ConvcostError(f"{name} (={path}) must be a file that can be read ({why}); {step}.")

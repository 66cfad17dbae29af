"""What is written to a file descriptor during a call, by C and C++ libraries too: taken, or sent elsewhere."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["STDERR", "STDOUT", "quiet_stdout", "taken_from"]

STDOUT: Final = 1
STDERR: Final = 2


def taken_from(descriptor: int, action: Callable[[], object], separate: Callable[[str], tuple[str, str]]) -> str:
    """Run an action while a descriptor is a temporary file.

    Args:
        descriptor: STDOUT or STDERR; it may be closed.
        action: to run.
        separate: cuts what was written into the wanted text and the rest; the rest is written where it was meant to go.

    Returns:
        The wanted text.
    """
    wanted, rest = "", ""
    try:
        with tempfile.TemporaryFile() as file:
            try:
                with _redirected(descriptor, file.fileno()):
                    action()
            finally:
                file.seek(0)
                wanted, rest = separate(file.read().decode(errors="surrogateescape"))
    finally:
        _pass_on(descriptor, rest.encode(errors="surrogateescape"))
    return wanted


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """What is printed or written to stdout's descriptor goes to stderr; nowhere when that is closed."""
    with Path(os.devnull).open("wb") as nowhere:
        target = STDERR if _is_open(STDERR) else nowhere.fileno()
        with _redirected(STDOUT, target), redirect_stdout(sys.stderr):
            yield


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@contextmanager
def _redirected(descriptor: int, target: int) -> Iterator[None]:
    """The descriptor is the target meanwhile; what is in the buffers before and after goes where it belongs."""
    _flush()
    try:
        real = os.dup(descriptor)
    except OSError:  # it is closed
        real = None
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        try:
            _flush()
        finally:
            if real is not None:
                os.dup2(real, descriptor)
                os.close(real)
            elif target != descriptor:
                os.close(descriptor)


def _flush() -> None:
    """Write out what Python's and C's streams hold; a stream that is closed holds nothing."""
    for stream in (sys.stdout, sys.stderr):
        flush = getattr(stream, "flush", None)  # a notebook's or a user's own stream may lack anything
        if flush is not None and not getattr(stream, "closed", False):
            with suppress(OSError):  # whoever read it has gone
                flush()
    _libc().fflush(None)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


def _pass_on(descriptor: int, data: bytes) -> None:
    with suppress(OSError):  # it is closed, or whoever read it has gone
        while data:
            data = data[os.write(descriptor, data) :]

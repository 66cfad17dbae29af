"""What C and C++ libraries write to a file descriptor during a call: taken, while what others write goes on its way."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

__all__ = ["STDERR", "STDOUT", "taken_from"]

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
                with _redirected(descriptor, file):
                    action()
            finally:
                file.seek(0)
                wanted, rest = separate(file.read().decode(errors="surrogateescape"))
    finally:
        _pass_on(descriptor, rest.encode(errors="surrogateescape"))
    return wanted


@contextmanager
def _redirected(descriptor: int, file: BinaryIO) -> Iterator[None]:
    """The descriptor is this file meanwhile; what is in the buffers before and after goes where it belongs."""
    _flush()
    try:
        real = os.dup(descriptor)
    except OSError:  # it is closed
        real = None
    os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        try:
            _flush()
        finally:
            if real is not None:
                os.dup2(real, descriptor)
                os.close(real)
            elif file.fileno() != descriptor:
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

"""Output to a file descriptor, including that of C libraries, captured or redirected during a call."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDOUT: Final = 1
STDERR: Final = 2


def taken_from(descriptor: int, action: Callable[[], object], separate: Callable[[str], tuple[str, str]]) -> str:
    """The wanted part of what an action writes to a descriptor.

    Args:
        descriptor: STDOUT or STDERR; it may be closed.
        action: Function to run.
        separate: Function that splits the output into the wanted text and the rest, which is written to the descriptor.
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
    """Send all output to stdout to stderr instead, or nowhere if that is closed."""
    with Path(os.devnull).open("wb") as nowhere:
        target = STDERR if _is_open(STDERR) else nowhere.fileno()
        with _redirected(STDOUT, target), redirect_stdout(sys.stderr):
            yield


def drop_output(*, stderr: bool = False) -> None:
    """Send all further output of this process to stdout to stderr, as far as that is open, or both nowhere.

    Args:
        stderr: Whether output to stderr goes nowhere too.
    """
    flush_output()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if stderr or not _is_open(STDERR):
        os.dup2(nowhere, STDERR)
        sys.stderr = StringIO()
    os.dup2(STDERR, STDOUT)
    sys.stdout = sys.stderr
    if nowhere > STDERR:
        os.close(nowhere)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@contextmanager
def _redirected(descriptor: int, target: int) -> Iterator[None]:
    """Redirect a descriptor to a target; buffers are flushed before and after."""
    flush_output()
    try:
        real = os.dup(descriptor)
    except OSError:  # it is closed
        real = None
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        try:
            flush_output()
        finally:
            if real is not None:
                os.dup2(real, descriptor)
                os.close(real)
            elif target != descriptor:
                os.close(descriptor)


def flush_output() -> None:
    """Flush the buffers of Python's and C's streams."""
    for stream in (sys.stdout, sys.stderr):
        flush = getattr(stream, "flush", None)  # a user's own stream may lack it
        if flush is not None and not getattr(stream, "closed", False):
            with suppress(OSError):  # its reader is gone
                flush()
    _c_library().fflush(None)


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


def _pass_on(descriptor: int, data: bytes) -> None:
    with suppress(OSError):  # it is closed, or its reader is gone
        while data:
            data = data[os.write(descriptor, data) :]

"""A function in a forked child process, whose crash or endless run does not end this process."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import time
import warnings
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from convcost.system.streams import STDERR, STDOUT
from convcost.text.errors import ConvcostError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

CAN_FORK: Final = sys.platform == "linux"
"""Whether a process that has started threads may be forked; system libraries of macOS crash after it."""
_CHUNK: Final = 1 << 16


class ChildError(ConvcostError):
    """A function raised in a child process."""


class ProcessEndedError(ChildError):
    """A child process crashed, or took too long. The message begins with a verb: "ended the process (exit code 3)"."""


def in_child(action: Callable[[], T], limit_s: float, *, quiet: bool = False) -> T:
    """The result of a function that runs in a forked child of this process, with a copy of all its memory.

    Args:
        action: The function. Its result is pickled; what it changes is lost.
        limit_s: Seconds after which the child is killed.
        quiet: Whether its output to stdout and stderr is dropped.

    Raises:
        ProcessEndedError: The child was killed by a signal, ended itself, or took too long.
        ChildError: The function raised; the message is the first line of its exception.
    """
    _flush()  # or the child would write it again
    reader, writer = os.pipe()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork with other threads
            child = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        raise ChildError(f"could not start a process: {error.strerror}") from error
    if child == 0:
        os.close(reader)
        _run_and_exit(action, writer, quiet=quiet)
    os.close(writer)
    ended = False
    try:
        answer = _read_until(reader, time.monotonic() + limit_s)
        ended = answer is not None
    finally:
        os.close(reader)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    if answer is None:
        raise ProcessEndedError(f"took longer than {limit_s:g} s")
    if os.WIFSIGNALED(status):
        raise ProcessEndedError(f"ended the process (signal {signal.Signals(os.WTERMSIG(status)).name})")
    if not answer:
        raise ProcessEndedError(f"ended the process (exit code {os.waitstatus_to_exitcode(status)})")
    succeeded, value = pickle.loads(answer)  # noqa: S301 - our own child wrote it
    if not succeeded:
        raise ChildError(value)
    result: T = value
    return result


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or a user's own stream
            stream.flush()


def _read_until(reader: int, deadline: float) -> bytes | None:
    """All that a pipe holds until its writer closes it; None if that takes too long."""
    parts: list[bytes] = []
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(reader, _CHUNK)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return None


def _run_and_exit(action: Callable[[], Any], writer: int, *, quiet: bool) -> NoReturn:
    """Run the function in the child, write its result or its error, and exit without any of Python's clean-up."""
    try:
        import faulthandler
        import resource

        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if quiet:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, STDOUT)
            os.dup2(nowhere, STDERR)
            sys.stdout = sys.stderr = StringIO()
        try:
            answer = pickle.dumps((True, action()))
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            answer = pickle.dumps((False, first_line(error)))
        _flush()
        while answer:
            answer = answer[os.write(writer, answer) :]
    finally:
        os._exit(0)

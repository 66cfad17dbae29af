"""A function in a child process, whose state, crash or endless run does not reach this process."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import time
import warnings
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from convcost.system.streams import drop_output, flush_output
from convcost.text.errors import ConvcostError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

T = TypeVar("T")

CAN_FORK: Final = sys.platform == "linux"
"""Whether a process that has started threads may be forked; system libraries of macOS crash after it."""
LOOK_S: Final = 0.2
"""Seconds between two looks whether a child has died whose own children hold its pipe open."""
PR_SET_PDEATHSIG: Final = 1


class ChildError(ConvcostError):
    """A function raised in a child process."""


class ProcessEndedError(ChildError):
    """A child process crashed, or took too long. The message begins with a verb: "ended the process (exit code 3)"."""


class Child(Protocol):
    """A child process: what `multiprocessing` has of it, and `_Fork` too."""

    @property
    def exitcode(self) -> int | None:
        """Exit code, or minus the signal that killed it; None while it runs."""

    def kill(self) -> None:
        """End it at once."""

    def join(self) -> None:
        """Wait until it has ended."""


def in_child(action: Callable[[], T], limit_s: float | None = None, *, quiet: bool = False, fork: bool = CAN_FORK) -> T:
    """The result of a function that runs in a child process.

    What the function changes is lost, and what it prints to stdout goes to stderr.

    Args:
        action: The function; its result is pickled, and so is the function itself where the child is not forked.
        limit_s: Seconds after which the child is killed; None for any time.
        quiet: Whether what it prints is dropped.
        fork: Whether the child starts with a copy of this process's memory, rather than as a new interpreter.

    Raises:
        ProcessEndedError: The child was killed by a signal, ended itself, or took too long.
        ChildError: The function raised; the message is that of a ConvcostError, else the first line.
        KeyboardInterrupt: This process was interrupted.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader:
        with writer:  # this end is the child's alone
            child = _fork(action, writer, quiet) if fork else _spawn(action, writer, quiet)
        try:
            succeeded, value = _received(child, reader, limit_s)
        finally:
            child.kill()
            child.join()
    if not succeeded:
        raise ChildError(value)
    result: T = value
    return result


def _fork(*args: object) -> Child:
    try:
        return _Fork(_answer, *args, os.getpid())
    except OSError as error:
        raise ChildError(f"could not start a process: {error.strerror}") from error


def _spawn(*args: object) -> Child:
    child = multiprocessing.get_context("spawn").Process(target=_answer, args=(*args, os.getpid()))
    child.start()
    return child


class _Fork:
    """A forked child; `multiprocessing` forks none from the worker of a pool.

    Args:
        action: Function that runs in the child, which ends after it without any of Python's clean-up.
        args: Its arguments.
    """

    def __init__(self, action: Callable[..., object], *args: object) -> None:
        flush_output()  # or the child would write it again
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork with other threads
            self._pid = os.fork()
        self._code: int | None = None
        if self._pid == 0:
            try:
                action(*args)
            finally:
                os._exit(0)

    @property
    def exitcode(self) -> int | None:
        return self._look(os.WNOHANG)

    def _look(self, options: int) -> int | None:
        if self._code is None:
            try:
                ended, status = os.waitpid(self._pid, options)
            except ChildProcessError:  # this process ignores the ends of its children
                ended, status = self._pid, 0
            self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code

    def kill(self) -> None:
        if self.exitcode is None:
            os.kill(self._pid, signal.SIGKILL)

    def join(self) -> None:
        self._look(0)


def _received(child: Child, reader: Connection, limit_s: float | None) -> tuple[bool, Any]:
    """The child's answer: whether the function returned, and its result or its error's message."""
    deadline = None if limit_s is None else time.monotonic() + limit_s
    while True:
        ended = child.exitcode is not None
        if reader.poll():
            with contextlib.suppress(EOFError, ConnectionError):  # it died before, or while it answered
                answer: tuple[bool, Any] = pickle.loads(reader.recv_bytes())  # noqa: S301 - our own child wrote it
                return answer
            child.join()
            ended = True
        if ended:
            raise ProcessEndedError(f"ended the process ({_ending(child.exitcode or 0)})")
        left = LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic())
        if left <= 0:
            raise ProcessEndedError(f"took longer than {limit_s:g} s")
        wait([reader], left)


def _ending(code: int) -> str:
    if code == -signal.SIGINT:
        time.sleep(LOOK_S)  # Ctrl-C interrupts this process too, maybe a moment later; else the child did it itself
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"signal {name}, as the system sends where memory runs out" if name == "SIGKILL" else f"signal {name}"


def _answer(action: Callable[[], Any], writer: Connection, quiet: bool, parent: int) -> None:  # noqa: FBT001 - Process passes arguments by position
    """Run the function in the child, and send its result or its error."""
    _die_as_a_child(parent)
    drop_output(stderr=quiet)
    gc.freeze()  # collections would copy the memory that it shares with the parent
    gc.enable()
    inherited = multiprocessing.active_children()
    try:
        answer = pickle.dumps((True, action()))
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        answer = pickle.dumps((False, str(error) if isinstance(error, ConvcostError) else first_line(error)))
    for own in set(multiprocessing.active_children()).difference(inherited):
        own.kill()  # workers would wait for their work for ever
    with contextlib.suppress(BrokenPipeError):  # the parent waits no more
        writer.send_bytes(answer)
    flush_output()


def _die_as_a_child(parent: int) -> None:
    """Leave no dump or traceback when killed, and die with the parent, or before it where memory is short."""
    import faulthandler

    faulthandler.disable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")

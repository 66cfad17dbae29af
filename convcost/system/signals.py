"""Signals: temporary handlers, and Ctrl-C that is raised until it is taken, or delayed until work is done."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

T = TypeVar("T")

IMPORTED_ONCE: Final = frozenset({"numpy", "pandas", "pyarrow", "scipy", "torch", "torchvision"})
"""Packages that cannot be imported again in a process in which their import was interrupted."""
LOOK_AGAIN_S: Final = 0.05
"""Seconds between two looks whether the import of such a package has ended, or an interrupt is to be raised again."""
RAISE_AGAIN_S: Final = 5.0
"""Seconds after which an interrupt that nothing has taken is raised again."""

SAME_S: Final = 0.5
"""Seconds in which a second SIGINT is the first again, which a program between may pass on beside the terminal."""


@contextmanager
def handled(number: signal.Signals, handler: signal._HANDLER) -> Iterator[None]:
    """Set the handler of a signal temporarily; only the main thread can, others change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


class Interrupts:
    """The handler of Ctrl-C while a command runs: it raises KeyboardInterrupt, again and again until one is taken.

    Again, because a callback, a destructor or the code of a library may swallow it. The first one is raised only after
    the import of a package that can be imported once.

    Attributes:
        count: Number of times that Ctrl-C was pressed.
        is_due: Whether the last one has not been taken yet.
    """

    def __init__(self) -> None:
        self.count = 0
        self.is_due = False
        self._is_again = False
        self._pressed_at = 0.0
        self._raised_at: float | None = None

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Handle Ctrl-C with this object; a process that was started to ignore it goes on ignoring it."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            yield
            return
        hook = sys.unraisablehook
        sys.unraisablehook = lambda error: None if isinstance(error.exc_value, KeyboardInterrupt) else hook(error)
        try:
            with handled(signal.SIGINT, self):
                try:
                    yield
                finally:
                    self.is_due = False
        finally:
            sys.unraisablehook = hook

    def __call__(self, _: int, frame: FrameType | None) -> None:
        """Take the signal."""
        is_again, self._is_again = self._is_again, False
        now = time.monotonic()
        is_same = self.is_due and now - self._pressed_at < SAME_S
        is_ignored = not self._may_repeat() if is_again else is_same
        if is_ignored:
            return
        if not is_again:
            self.count, self._pressed_at = self.count + 1, now
        if not self.is_due:
            self.is_due = True
            _thread.start_new_thread(self._repeat, ())  # threading.Thread takes locks, which this thread may hold
        if self.count > 1 or not _is_importing(frame):
            self._raised_at = now
            raise KeyboardInterrupt

    def _repeat(self) -> None:
        while self.is_due:
            time.sleep(LOOK_AGAIN_S)
            if self._may_repeat():
                self._is_again = True
                _thread.interrupt_main()

    def _may_repeat(self) -> bool:
        """Whether an interrupt waits for the end of an import, or was raised long ago and never taken."""
        was_raised = self._raised_at is not None and time.monotonic() - self._raised_at < RAISE_AGAIN_S
        return self.is_due and not was_raised


def is_ctrl_c(error: BaseException) -> bool:
    """Whether an exception is Ctrl-C, rather than a KeyboardInterrupt that the user's code raises itself."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    handler = signal.getsignal(signal.SIGINT)
    while isinstance(handler, InterruptsPostponed):
        handler = handler.before
    return handler.count > 0 if isinstance(handler, Interrupts) else callable(handler)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether the code of a module of `IMPORTED_ONCE` runs in this frame or in one that called it."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if frame.f_code.co_name == "<module>" and name.partition(".")[0] in IMPORTED_ONCE:
            return True
        frame = frame.f_back
    return False


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Raise the first Ctrl-C only after the work, and take one from before; a second one interrupts the work."""
    before = signal.getsignal(signal.SIGINT)
    if isinstance(before, Interrupts):
        before.is_due = False
    held: list[int] = []

    def hold(number: int, _: object) -> None:
        if held:
            raise KeyboardInterrupt
        held.append(number)

    with handled(signal.SIGINT, hold):
        yield
    if held:
        raise KeyboardInterrupt


class InterruptsPostponed:
    """A context in which Ctrl-C waits until the end, or until the next call of `interruptible`.

    It is for work that must not stop in the middle, such as the restoration of a model, around code that may. Whatever
    is entered inside it is left, too. A handler that raises nothing, as that of a training script may, stays in use.
    """

    def __init__(self) -> None:
        self.before: signal._HANDLER = None
        self.is_held = True
        self.is_due = False
        self.was_raised = False

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if isinstance(handler, InterruptsPostponed) and handler.is_held:
            return self
        if is_main and callable(handler):
            self.before = handler
            signal.signal(signal.SIGINT, self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        is_in_use = signal.getsignal(signal.SIGINT) is self  # or the work has set another handler
        if self.before is not None and is_in_use:
            signal.signal(signal.SIGINT, self.before)
        if self.is_due and (kind is None or issubclass(kind, Exception)):
            signal.raise_signal(signal.SIGINT)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take the signal."""
        if self.is_held:
            self.is_due = True
        elif callable(self.before):
            try:
                self.before(number, frame)
            except KeyboardInterrupt:
                self.was_raised = True
                raise

    def call(self, function: Callable[[], T]) -> T:
        """What `interruptible` does."""
        was_held = self.is_held
        try:  # no signal comes between the end of the call and the line after `finally`
            self.is_held = False
            if self.is_due:
                self.is_due = False
                signal.raise_signal(signal.SIGINT)
            return function()
        finally:
            self.is_held = was_held
            was_raised, self.was_raised = self.was_raised, False
            if was_raised and sys.exc_info()[0] is not KeyboardInterrupt:
                raise KeyboardInterrupt  # the function, or a destructor, has taken it


def interruptible(function: Callable[[], T]) -> T:
    """Call a function, which Ctrl-C may interrupt, also inside `InterruptsPostponed`."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, InterruptsPostponed) and threading.current_thread() is threading.main_thread():
        return handler.call(function)
    return function()

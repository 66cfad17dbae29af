"""What all threads of this process share: the contexts that several of them are in at once."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

from convcost.system.streams import quiet_stdout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


def others_are_alive() -> bool:
    """Whether this process has other threads of Python than this one."""
    return len(sys._current_frames()) > 1  # noqa: SLF001 - `threading` does not know the threads of `_thread`


class _Shared:
    """A context that the first thread enters and the last one leaves, since each restores what it met."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._lock = RLock()
        self._users = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The context, entered already or not."""
        with self._lock:
            if not self._users:
                self._context = self._make()
                self._context.__enter__()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._context.__exit__(None, None, None)


@contextmanager
def _ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


quiet = _Shared(quiet_stdout).entered
"""All output to stdout sent to stderr, until no thread needs that any more."""
without_warnings = _Shared(_ignored).entered
"""No warnings, and their filters restored afterwards."""

"""The threads of this process, whose streams and filters of warnings are those of all."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convcost.system.streams import quiet_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator


def others_are_alive() -> bool:
    """Whether this process has other threads of Python than this one."""
    return len(sys._current_frames()) > 1  # noqa: SLF001 - `threading` does not know the threads of `_thread`


@contextmanager
def quiet_unless_shared() -> Iterator[None]:
    """Output to stdout sent to stderr, unless other threads write to it too."""
    if others_are_alive():
        yield
        return
    with quiet_stdout():
        yield


@contextmanager
def without_warnings() -> Iterator[None]:
    """No warnings, and their filters restored afterwards, unless other threads have the same filters."""
    if others_are_alive():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

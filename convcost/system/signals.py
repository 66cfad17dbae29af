"""Signals while something runs that must be ended well: their handlers for a while, and a Ctrl-C that waits."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["handled", "interrupts_held"]


@contextmanager
def handled(number: signal.Signals, handler: signal._HANDLER) -> Iterator[None]:
    """A signal's handler for a while; other threads than the main one keep what there is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def interrupts_held() -> Iterator[list[int]]:
    """The first Ctrl-C waits until what is done within is done, and is noted; a second one does not wait."""
    interrupts: list[int] = []

    def hold(number: int, _: object) -> None:
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)

    with handled(signal.SIGINT, hold):
        yield interrupts

"""Signals during work that must end well: temporary handlers, and a Ctrl-C that waits."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def handled(number: signal.Signals, handler: signal._HANDLER) -> Iterator[None]:
    """Set the handler of a signal for a while; other threads than the main one cannot, and change nothing."""
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
    """Delay the first Ctrl-C, which is recorded in the list, until the work is done; a second one interrupts."""
    interrupts: list[int] = []

    def hold(number: int, _: object) -> None:
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)

    with handled(signal.SIGINT, hold):
        yield interrupts

"""Signals: temporary handlers, and work that delays Ctrl-C."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@contextmanager
def interrupts_held() -> Iterator[list[int]]:
    """Delay the first Ctrl-C until the work is done and record it in the list; a second one interrupts."""
    interrupts: list[int] = []

    def hold(number: int, _: object) -> None:
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)

    with handled(signal.SIGINT, hold):
        yield interrupts

"""Ctrl-C while something is written that must be written whole."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["interrupts_held"]


@contextmanager
def interrupts_held() -> Iterator[list[int]]:
    """The first Ctrl-C waits until what is done within is done, and is noted; a second one does not wait."""
    from convcost.budgets.revision import handled  # noqa: PLC0415 - help does without

    interrupts: list[int] = []

    def hold(number: int, _: object) -> None:
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)

    with handled(signal.SIGINT, hold):
        yield interrupts

"""The trace of one forward pass: a row for each call of a module or function, with the operators it ran.

Modules and functions name a row, operators give its cost. Every operator belongs to one row, so the rows add up to the
total. A call that raises leaves a row of what it has computed, if anything, and the recording as it was before.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from convcost.nn.count import call_watch
from convcost.nn.count.lane import Lane
from convcost.nn.count.recording import Recording
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from convcost.nn.count.row import Row


class Recorder(Recording):
    """Records the rows of one forward pass, in all its threads; enter it around the call of the module.

    Takes the arguments of `Recording`.
    """

    @cached_property
    def _main(self) -> Lane:
        """What the thread of the forward pass records."""
        return Lane(self)

    @property
    def rows(self) -> list[Row]:
        """The rows in the order of their calls; those of a thread stand where it was started."""
        return self._main.all_rows()

    def __enter__(self) -> Self:
        call_watch.watch(self)
        self._main.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._main.__exit__(kind, *error)
        call_watch.unwatch(self)
        self.is_over = True
        if self.fault is not None:  # the model may have caught it
            raise self.fault
        running = next((lane.path for lane in self._main.branches() if lane.is_running), None)
        if self.unseen is not None:
            raise ConvcostError(
                f"{self.unseen} runs in a thread that was started before the forward pass, where operators are not "
                "seen; start the thread in forward, or call the module without one."
            )
        if running is not None and kind is None:
            raise ConvcostError(
                f"{running or 'the model'} still runs in a thread after the forward pass has ended; "
                "wait for the thread in forward."
            )

"""The trace of one forward pass: a row for each call of a module or function, with the operators it ran.

Modules and functions name a row, operators give its cost. Every operator belongs to one row, so the rows add up to the
total. A call that raises leaves a row of what it has computed, if anything, and the recording as it was before.
"""

from __future__ import annotations

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

    Attributes:
        rows: The rows in the order of their calls, after the pass; those of a thread stand where it was started.
    """

    rows: list[Row]
    _lanes: list[Lane]

    def __enter__(self) -> Self:
        call_watch.watch(self)
        if self.has_complex:
            call_watch.watch_convolutions()
        self._lanes = [Lane(self)]
        self._lanes[0].__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        lane = self._lanes.pop()  # without this cycle of references, the rows die when they are not needed any more
        lane.__exit__(kind, *error)
        call_watch.unwatch(self)
        self.is_over = True
        self.rows = lane.all_rows()
        if kind is KeyboardInterrupt:
            return
        if self.fault is not None:  # the model may have caught it
            raise self.fault
        running = next((branch.path for branch in lane.branches() if branch.is_running), None)
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

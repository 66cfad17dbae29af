"""Timings that the history holds already, and whether they stand for a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.archive.rows import Session
from convcost.archive.storing import layer_identity
from convcost.text.errors import ConvcostError
from convcost.text.quantities import now, show_date

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.comparison.rows import Placed
    from convcost.timing.conditions import TimingOptions
    from convcost.timing.measured import Measured


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the history holds of the rows of one device.

    Attributes:
        measured: the timings of one run; None where no run holds them all.
        measured_at: when that was.
        notes: for the user.
    """

    measured: Measured | None
    measured_at: str | None
    notes: tuple[str, ...]


NOTHING: Final = Recalled(None, None, ())
"""Nobody asked for the history."""


def recall(blocks: Sequence[Placed], baseline: str, options: TimingOptions) -> Recalled:
    """The newest stored run of one device that holds every block and the baseline, equal in all that decides a time.

    Rows of different runs are never put side by side: speed-ups need pairs that ran next to each other.

    Args:
        blocks: Blocks to be timed, the baseline too.
        baseline: Name of the block that speed-ups are relative to.
        options: Conditions on the first device, and the time budget that the run must have had at least.

    Raises:
        ConvcostError: a device or a number of threads that this machine does not have.
    """
    from convcost.nn.measure.session import conditions_for
    from convcost.nn.measure.this_machine import fingerprint
    from convcost.timing.measured import Measured

    conditions = conditions_for(options)
    names = {layer_identity(one): one.block.name for one in blocks}
    try:
        from convcost.archive.database import database_path, matching_session

        setup = fingerprint(conditions.device)
        wanted = Session(now(), "compare", None, baseline, options.time_budget, conditions, setup)
        rows = matching_session(database_path(), wanted, list(names))
    except (ConvcostError, ImportError) as error:
        return Recalled(None, None, (f"nothing reused, so all is measured: {error}",))
    if not rows:
        why = "no stored run of this time budget or more holds all rows, equal in conditions, machine and versions"
        return Recalled(None, None, (f"nothing reused, so all is measured: {why}.",))
    measured_at = rows[0].session.measured_at
    note = f"timings on {conditions.device} are reused, measured {show_date(measured_at)}; turn reuse off to measure."
    timings = {names[row.entry.layer]: row.entry.timing for row in rows}
    then = tuple(f"when it was measured: {said}" for said in rows[0].session.notes)
    return Recalled(Measured(conditions, timings, {}, then), measured_at, (note,))

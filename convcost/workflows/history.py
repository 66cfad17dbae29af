"""Stored timings that can replace a new measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.archive.rows import Session
from convcost.archive.storing import layer_identity
from convcost.text.errors import ConvcostError
from convcost.text.units import now, show_date

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.comparison.rows import Placed
    from convcost.timing.conditions import TimingOptions
    from convcost.timing.measured import Measured


@dataclass(frozen=True, slots=True)
class Recalled:
    """Timings of one device from the history.

    Attributes:
        measured: Timings of one stored run; None if no run has all of them.
        measured_at: Date of the run; None without one.
        notes: Remarks for the user.
    """

    measured: Measured | None
    measured_at: str | None
    notes: tuple[str, ...]


NOTHING: Final = Recalled(None, None, ())
"""The result without a request to reuse stored timings."""


def recall(blocks: Sequence[Placed], baseline: str, options: TimingOptions) -> Recalled:
    """The newest stored run of one device with all blocks and the baseline, and equal conditions, machine and versions.

    Rows of different runs are not combined, since speed-ups need pairs that ran next to each other.

    Args:
        blocks: Blocks to be timed, including the baseline.
        baseline: Name of the block that speed-ups are relative to.
        options: Conditions on the first device, and the minimum time budget of the run.

    Raises:
        ConvcostError: A device or a number of threads that this machine does not have.
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
    then = tuple(f"when it was measured: {note}" for note in rows[0].session.notes)
    return Recalled(Measured(conditions, timings, {}, then), measured_at, (note,))

"""The blocks of one input shape of a sweep, timed next to each other, here or on a worker of a cluster."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from convcost.comparison.rows import Row, place_block
from convcost.grids.grid import Grid
from convcost.grids.measured import measured_values
from convcost.grids.parts import Counts, difference
from convcost.grids.prediction import plain_table, predict
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError, ShapeError
from convcost.timing.measured import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.comparison.rows import Placed
    from convcost.grids.configuration import Configuration
    from convcost.nn.measure.session import TimingSession
    from convcost.timing.conditions import Conditions, Setup, TimingOptions

SESSION_S: Final = 30.0
"""Seconds after which the load of the machine is checked again."""


@dataclass(frozen=True, slots=True)
class Where:
    """The conditions of timings, and the machine that they are made on.

    Attributes:
        conditions: Conditions; the dtype is that of each row.
        setup: Machine, versions and switches.
    """

    conditions: Conditions
    setup: Setup

    def to_dict(self) -> dict[str, Any]:
        """What must be equal for timings to stand in one table."""
        conditions = {name: value for name, value in asdict(self.conditions).items() if name != "dtype"}
        return conditions | asdict(self.setup)


def where_of(timing: TimingOptions, _: object = None) -> Where:
    """The conditions and the machine of this process.

    Raises:
        ConvcostError: A device or a number of threads that this machine does not have.
    """
    from convcost.nn.measure.session import conditions_for
    from convcost.nn.measure.this_machine import fingerprint

    conditions = conditions_for(timing)
    return Where(conditions, fingerprint(conditions.device))


@dataclass(slots=True)
class ShapeRows:
    """Rows of one input, with their predictions.

    Attributes:
        baseline: Baseline of all rows; None if it does not allow the shape, or if no block does.
        dtype: Dtype of all rows.
        placed: Block of each row that is to be timed, by the index of the row.
        values: Values of each row, by its index.
        counts: What became of the combinations.
    """

    baseline: Placed | None = None
    dtype: str = "float32"
    placed: dict[int, Placed] = field(default_factory=dict)
    values: dict[int, dict[str, Any]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    @classmethod
    def of(cls, configuration: Configuration, rows: Sequence[int]) -> ShapeRows:
        """The rows of these indices."""
        grid, made = Grid(configuration), cls()
        for index in rows:
            prediction = predict(configuration, grid.row(index))
            made.counts += Counts.of(prediction)
            if not prediction.table.num_rows:
                continue
            made.values[index] = plain_table(prediction.table).to_pylist()[0]
            for rule in prediction.refused:
                made.values[index] |= measured_values(index, Outcome("refused", rule), None)
            if not prediction.refused:
                block, spec, parameters, made.dtype = grid.layer(index)
                made.placed[index] = place_block(block, spec, parameters, made.dtype)
                try:
                    made.baseline = place_block(configuration.baseline, spec, parameters, made.dtype)
                except ShapeError:
                    made.baseline = None
        return made

    @property
    def blocks(self) -> tuple[Placed, ...]:
        """The blocks to time, the baseline first."""
        every = (self.baseline, *self.placed.values())
        return tuple({one.block.name: one for one in every if one is not None}.values())

    def timed(self, outcomes: Mapping[str, Outcome], conditions: Conditions) -> list[dict[str, Any]]:
        """The values of all rows, with what became of each block."""
        for index, placed in self.placed.items():
            outcome = outcomes[placed.block.name]
            row = Row(placed, self.dtype, self.baseline, conditions=conditions, timing=outcome.timing)
            self.values[index] |= measured_values(index, outcome, row)
        return list(self.values.values())


@dataclass(frozen=True, slots=True)
class Job:
    """Rows of one input that are to be timed.

    Attributes:
        rows: Indices of the rows.
        seconds: Seconds for each block.
        max_call_s: Seconds of a call beyond which a block is too slow.
        until: Seconds since the epoch after which nothing is timed any more.
    """

    rows: tuple[int, ...]
    seconds: float
    max_call_s: float
    until: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the blocks of a job.

    Attributes:
        outcomes: Outcomes by block, that of the baseline too.
        notes: Remarks about the machine.
    """

    outcomes: Mapping[str, Outcome]
    notes: tuple[str, ...] = ()


class ShapeTimer:
    """Times jobs, one after the other, in sessions of some time.

    Args:
        configuration: Configuration of the sweep.
        timing: Conditions of the timings.
    """

    def __init__(self, configuration: Configuration, timing: TimingOptions) -> None:
        self._configuration, self._timing = configuration, timing
        self._session: TimingSession | None = None
        self._until = 0.0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open a session when it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session."""
        self._stack.close()

    def __call__(self, job: Job) -> Answer | None:
        """Time the blocks of a job; None if it is too late for it."""
        from convcost.nn.measure.blocks import measure_in
        from convcost.nn.measure.this_machine import calibration_for
        from convcost.timing.machine import run_to_run_of

        if time.time() >= job.until:
            return None
        shape = ShapeRows.of(self._configuration, job.rows)
        if not shape.placed:
            return Answer({})
        session = self._open()
        conditions = replace(session.conditions, dtype=shape.dtype)
        machine, _ = calibration_for(session.device, shape.dtype, conditions.threads)
        session = replace(session, conditions=conditions)
        baseline, times = self._configuration.baseline, (job.seconds, job.max_call_s)
        outcomes = measure_in(session, shape.blocks, baseline, *times, run_to_run_of(machine))
        return Answer(outcomes, session.notes)

    def _open(self) -> TimingSession:
        """The session; another one after some time, which looks at the load of the machine again."""
        from convcost.nn.measure.session import timing_session

        now = time.monotonic()
        if self._session is None or now >= self._until:
            self._stack.close()
            self._session = self._stack.enter_context(timing_session(self._timing, show_progress))
            self._until = now + SESSION_S
        return self._session


def time_on_worker(
    configuration: Configuration, timing: TimingOptions, where: Mapping[str, Any], job: Job
) -> Answer | None:
    """What a worker of a cluster does for a job.

    Raises:
        ConvcostError: This worker's machine or conditions are not those of the first one.
    """
    if other := difference(where, where_of(timing).to_dict(), ""):
        raise ConvcostError(f"the workers with a device must be alike, and {other}; leave the different ones out.")
    with ShapeTimer(configuration, timing) as timer:
        return timer(job)

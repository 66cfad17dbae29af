"""`convcost sweep --time`: rows of a grid timed as real layers, each next to its baseline, in a space-filling order."""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from convcost.comparison.rows import Row, place_block
from convcost.grids.grid import Grid
from convcost.grids.groups import Groups
from convcost.grids.measured import INDEX, MEASURED, Timed, measured_columns, measured_schema, measured_values
from convcost.grids.parts import Counts, contents, difference, opened, read_about, write_table
from convcost.grids.prediction import plain_table, predict
from convcost.grids.result import GridResult
from convcost.grids.sample import sample, sample_of
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine, show_progress
from convcost.text.errors import ConvcostError, ShapeError
from convcost.text.units import human_duration, thousands
from convcost.timing.measured import Measured, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from convcost.comparison.rows import Placed
    from convcost.grids.configuration import Configuration
    from convcost.grids.reduction import Reduction
    from convcost.nn.measure.session import TimingSession
    from convcost.timing.conditions import TimingOptions
    from convcost.workflows.sweep import SweepOptions

FILE: Final = "measured.parquet"
"""The file with the measured rows, in the folder of the sweep."""
DEFAULT_BUDGET_S: Final = 60.0
"""Default time budget of a sweep, seconds."""
MIN_ROW_S: Final = 0.5
"""Least seconds of a row and of its baseline, in which a layer has some ten rounds."""
MAX_ROW_S: Final = 1.0
"""Greatest seconds of a row, where the time budget allows more than all rows take."""
SESSION_S: Final = 30.0
"""Seconds after which the load of the machine is checked again."""
MAX_PREDICTED: Final = 2**20
"""Largest number of combinations that are all predicted first, in a second, to draw from those that are allowed."""
SAVE_S: Final = 5.0
"""Seconds after which the measured rows are written anew."""


def time_sweep(configuration: Configuration, options: SweepOptions, timing: TimingOptions) -> Iterator[GridResult]:
    """Time rows of a sweep until the time budget is spent or all are timed.

    With a folder, the rows are in its file, and a later run goes on after them; the time budget is that of all runs.
    The baseline of a row has its input and its parameters, and the two take turns. The best rows of predicted columns
    are chosen from the whole grid, and only they are timed; those of measured columns are chosen from the timed rows.

    Args:
        configuration: Configuration of the sweep.
        options: What is kept of it, and where.
        timing: Conditions of the timings on the first device, and the time budget.

    Yields:
        The measured rows; after Ctrl-C those that are there, before the interrupt goes on.

    Raises:
        ConvcostError: A missing device, a column that the rows do not have, or a folder that cannot be written, holds
            another sweep, or has times of another machine or of other conditions.
    """
    reduction = options.reduction(configuration, measured_columns(configuration))
    goals = () if reduction is None else tuple(goal.name for goal in reduction.goals)
    is_first = bool(goals) and MEASURED.keys().isdisjoint((*options.group_by, *goals))
    with ExitStack() as stack:
        stack.enter_context(ProgressLine())
        path = None
        if options.out is not None:
            kept = options.kept if is_first else None
            stack.enter_context(opened(options.out, contents(configuration, kept, options.part_rows)))
            path = options.out / FILE
        measurement = _Measurement(configuration, timing, path)
        measurement.prepare(options.part_rows, options.reduction(configuration) if is_first else None)
        try:
            measurement.run()
        except KeyboardInterrupt:
            with interrupts_held():
                measurement.write()
            if not measurement.is_empty:
                yield measurement.result(options)
            raise
        measurement.write()
        yield measurement.result(options)


@dataclass(frozen=True, slots=True)
class _Done:
    """How far a measurement is: a value, so that an interrupt leaves either this one or the next.

    Attributes:
        rows: Measured rows, in the order in which they were drawn.
        counts: What became of the combinations that were drawn.
        groups: Number of groups of the sample.
        drawn: Number of combinations in these.
        is_whole: Whether these are all.
        chosen: Combinations to draw from, in order; None for the whole grid.
    """

    rows: tuple[Mapping[str, Any], ...] = ()
    counts: Counts = field(default_factory=Counts)
    groups: int = 0
    drawn: int = 0
    is_whole: bool = False
    chosen: tuple[int, ...] | None = None


class _Measurement:
    """The measured rows of a sweep.

    Args:
        configuration: Configuration of the sweep.
        timing: Conditions and time budget.
        path: File of the rows, which may have those of an earlier run; None without one.
    """

    def __init__(self, configuration: Configuration, timing: TimingOptions, path: Path | None) -> None:
        from convcost.nn.measure.session import conditions_for
        from convcost.nn.measure.this_machine import fingerprint

        self._configuration, self._timing, self._path = configuration, timing, path
        self._grid = Grid(configuration)
        self._conditions = conditions_for(timing)
        self._setup = fingerprint(self._conditions.device)
        self._run_to_run: dict[str, float] = {}
        self._start = self._saved = time.monotonic()
        self._done, self._spent_s = _Done(), 0.0
        self._allowed: NDArray[np.bool_] | None = None
        self._notes: dict[str, str] = {}
        if path is not None and (about := read_about(path)) is not None:
            self._go_on(path, about)

    @property
    def is_empty(self) -> bool:
        """Whether there are no rows yet."""
        return not self._done.rows

    def _go_on(self, path: Path, about: dict[str, Any]) -> None:
        """Take the rows of an earlier run.

        Raises:
            ConvcostError: They are of another machine, or of other conditions.
        """
        import pyarrow.parquet as pq

        if other := difference(about["conditions"], self._where(), ""):
            raise ConvcostError(
                f"out (={path}) must have times of this machine and under these conditions, and {other}; "
                "give another folder, or remove the file."
            )
        rows, chosen = tuple(pq.read_table(path).to_pylist()), about["chosen"]
        self._done = _Done(
            rows,
            Counts(**about["counts"]),
            about["groups"],
            about["drawn"],
            about["is_whole"],
            None if chosen is None else tuple(chosen),
        )
        self._spent_s = about["spent_s"]
        self._note(about["notes"])

    def prepare(self, part_rows: int, reduction: Reduction | None) -> None:
        """Find the rows to draw from: the best ones of the predicted grid, or those of a small grid that are allowed.

        In a large grid each combination is judged when it is drawn.

        Args:
            part_rows: Most rows that are predicted at a time.
            reduction: What the best rows are; None for all rows.
        """
        import numpy as np

        done = self._done
        if done.chosen is not None or (reduction is None and self._grid.size > MAX_PREDICTED):
            return
        counts, allowed = Counts(), np.zeros(self._grid.size if reduction is None else 0, dtype=bool)
        for part in self._grid.parts(part_rows):
            prediction = predict(self._configuration, part, INDEX)
            counts += Counts.of(prediction)
            if reduction is None:
                allowed[prediction.table[INDEX].to_numpy()] = True
            else:
                reduction.add(prediction.table, part.first)
            show_progress(f"{thousands(part.last + 1)} of {thousands(self._grid.size)} rows predicted")
        if reduction is None:
            self._allowed, self._done = allowed, replace(done, counts=counts)
        else:
            self._done = replace(done, counts=counts, chosen=tuple(reduction.result()[INDEX].to_pylist()))
        self._start = self._saved = time.monotonic()

    def _where(self) -> dict[str, Any]:
        """The conditions and the machine of the timings."""
        own = {name: value for name, value in asdict(self._conditions).items() if name != "dtype"}
        return own | asdict(self._setup)

    def _note(self, notes: Iterable[str]) -> None:
        """Keep the latest of the notes that differ in their numbers alone."""
        self._notes |= {re.sub(r"[\d.]+", "", note): note for note in notes}

    def _table(self) -> pa.Table:
        import pyarrow as pa

        return pa.Table.from_pylist(self._done.rows, measured_schema(self._configuration))

    def write(self) -> None:
        """Write the file of the rows, if there is to be one."""
        if self._path is not None:
            done = self._done
            about = {name: value for name, value in asdict(done).items() if name != "rows"}
            about |= {"spent_s": self._spent_s + time.monotonic() - self._start, "notes": list(self._notes.values())}
            write_table(self._path, self._table(), {"conditions": self._where(), **about})
        self._saved = time.monotonic()

    def result(self, options: SweepOptions) -> GridResult:
        """The rows in the order of the grid, or what is kept of them."""
        table, done = self._table().sort_by(INDEX), self._done
        reduction = options.reduction(self._configuration, measured_columns(self._configuration))
        if done.chosen is not None:
            place = {index: place for place, index in enumerate(done.chosen)}
            table = table.take(sorted(range(len(table)), key=lambda row: place[table[INDEX][row].as_py()]))
        elif reduction is not None:
            reduction.add(table.drop_columns([INDEX]) if isinstance(reduction, Groups) else table, 0)
            table = reduction.result()
        timed = Timed(
            self._conditions,
            Counter(row["status"] for row in done.rows),
            sum(row["warning"] is not None for row in done.rows),
            self._grid.size,
            self._size,
            done.is_whole,
            tuple(self._notes.values()),
        )
        return GridResult(self._configuration, done.counts, table, reduction, self._path, timed=timed)

    @property
    def _size(self) -> int:
        """The number of rows to draw from."""
        if self._done.chosen is not None:
            return len(self._done.chosen)
        return self._grid.size if self._allowed is None else int(self._allowed.sum())

    def run(self) -> None:
        """Time rows until the budget is spent or all are timed."""
        from convcost.nn.measure.session import timing_session

        deadline = self._start + self._timing.time_budget - self._spent_s
        chosen = self._done.chosen
        if chosen is None:
            groups = sample(self._grid, self._configuration, self._allowed)
        else:
            groups = sample_of(chosen, self._grid, self._configuration)
        list(islice(groups, self._done.groups))
        session, until = None, 0.0
        with ExitStack() as stack:
            for rows in groups:
                now = time.monotonic()
                needed = 0.0 if self.is_empty else MIN_ROW_S * len(rows)
                if now + needed >= deadline:
                    return
                if session is None or now >= until:
                    stack.close()
                    session = stack.enter_context(timing_session(self._timing, show_progress))
                    self._note(session.notes)
                    until = now + SESSION_S
                self._take(rows, session, deadline)
                if time.monotonic() - self._saved > SAVE_S:
                    self.write()
        self._done = replace(self._done, is_whole=True)

    def _take(self, rows: Sequence[int], session: TimingSession, deadline: float) -> None:
        """Predict and time rows of one shape, and add them to the others."""
        values, placed, done = {}, {}, self._done
        counts, is_counted = done.counts, done.chosen is not None or self._allowed is not None
        for index in rows:
            prediction = predict(self._configuration, self._grid.row(index))
            counts += Counts() if is_counted else Counts.of(prediction)
            if prediction.table.num_rows:
                values[index] = plain_table(prediction.table).to_pylist()[0]
                if not prediction.refused:
                    block, spec, parameters, dtype = self._grid.layer(index)
                    placed[index] = place_block(block, spec, parameters, dtype)
            for rule in prediction.refused if prediction.table.num_rows else ():
                values[index] |= measured_values(index, Outcome("refused", rule), None)
        if placed:
            baseline = self._baseline(next(iter(placed)))
            blocks = {one.block.name: one for one in (baseline, *placed.values()) if one is not None}
            dtype = self._grid.layer(next(iter(placed)))[3]
            seconds = self._seconds(len(rows), len(blocks), deadline)
            measured = replace(session, conditions=replace(session.conditions, dtype=dtype))
            outcomes = self._time(list(blocks.values()), measured, seconds)
            for index, one in placed.items():
                outcome = outcomes[one.block.name]
                row = Row(one, dtype, baseline, conditions=measured.conditions, timing=outcome.timing)
                values[index] |= measured_values(index, outcome, row)
        self._done = replace(
            done,
            rows=(*done.rows, *values.values()),
            counts=counts,
            groups=done.groups + 1,
            drawn=done.drawn + len(rows),
        )
        left = human_duration(max(0.0, deadline - time.monotonic()))
        show_progress(f"{thousands(len(self._done.rows))} of {thousands(self._size)} rows timed, {left} left")

    def _baseline(self, index: int) -> Placed | None:
        """The baseline of a row; None if the shape does not allow it."""
        _, spec, parameters, dtype = self._grid.layer(index)
        try:
            return place_block(self._configuration.baseline, spec, parameters, dtype)
        except ShapeError:
            return None

    def _seconds(self, rows: int, blocks: int, deadline: float) -> float:
        """The seconds of each block of a shape: its share of the time that is left, within bounds."""
        left = (self._size - self._done.drawn) * blocks / rows
        return min(MAX_ROW_S, max(MIN_ROW_S, (deadline - time.monotonic()) / left))

    def _time(self, blocks: Sequence[Placed], session: TimingSession, seconds: float) -> dict[str, Outcome]:
        """Time blocks next to each other, and keep the run in the history."""
        from convcost.archive.storing import keep
        from convcost.nn.measure.blocks import measure_in
        from convcost.nn.measure.this_machine import calibration_for
        from convcost.timing.machine import run_to_run_of

        conditions = session.conditions
        if conditions.dtype not in self._run_to_run:
            machine, _ = calibration_for(session.device, conditions.dtype, conditions.threads)
            self._run_to_run[conditions.dtype] = run_to_run_of(machine)
        run_to_run = self._run_to_run[conditions.dtype]
        outcomes = measure_in(session, blocks, self._configuration.baseline, seconds, run_to_run)
        timings = {name: one.timing for name, one in outcomes.items() if one.timing is not None}
        if self._timing.store and timings:
            measured = Measured(conditions, timings, {}, session.notes)
            kept = keep(blocks, measured, self._configuration.baseline, seconds * len(blocks), self._setup)
            self._note(kept)
        return outcomes

"""`convcost sweep --time`: rows of a grid timed as real layers, each next to its baseline, in a space-filling order."""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from convcost.grids.grid import Grid
from convcost.grids.groups import Groups
from convcost.grids.measured import INDEX, Timed, is_predicted, measured_columns, measured_schema
from convcost.grids.parts import Counts, contents, difference, opened, read_about, write_table
from convcost.grids.prediction import predict
from convcost.grids.result import GridResult
from convcost.grids.sample import sample, sample_of
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine, show_progress
from convcost.text.errors import ConvcostError
from convcost.text.units import human_duration, thousands
from convcost.timing.measured import Measured
from convcost.workflows.local_cluster import DEVICE
from convcost.workflows.shape_timing import Job, ShapeRows, ShapeTimer, time_on_worker, where_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from convcost.grids.configuration import Configuration
    from convcost.grids.reduction import Reduction
    from convcost.timing.conditions import TimingOptions
    from convcost.workflows.shape_timing import Answer, Where
    from convcost.workflows.sweep import SweepOptions
    from convcost.workflows.sweep_cluster import Cluster

FILE: Final = "measured.parquet"
"""The file with the measured rows, in the folder of the sweep."""
DEFAULT_BUDGET_S: Final = 60.0
"""Default time budget of a sweep, seconds."""
MIN_ROW_S: Final = 0.5
"""Least seconds of a row and of its baseline, in which a layer has some ten rounds."""
MAX_ROW_S: Final = 2.0
"""Greatest seconds of a row, where the time budget allows more than all rows take."""
MAX_PREDICTED: Final = 2**23
"""Largest number of combinations that are all predicted first, in some ten seconds, to draw from the allowed ones."""
SLOW_CALLS: Final = 16
"""Calls that the share of a row in the time budget must have room for, or the row is too slow."""
SAVE_S: Final = 5.0
"""Seconds after which the measured rows are written anew, the first time with the first one."""
SAVE_SHARE: Final = 20
"""Least time between two writes, as a multiple of that of a write."""
_KEPT: Final = ("groups", "drawn", "is_whole", "chosen")
"""What is kept of `_Done` in the file, beside rows and counts."""


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
        ConvcostError: A missing device, a column that the rows do not have, a budget in which nothing was timed, or a
            folder that cannot be written, holds another sweep, or has times of another machine or of other conditions.
    """
    reduction = options.reduction(configuration, measured_columns(configuration))
    is_first = reduction is not None and is_predicted(reduction)
    with ExitStack() as stack:
        stack.enter_context(ProgressLine())
        cluster = stack.enter_context(options.cluster())
        where = where_of(timing) if cluster is None else _where_on(cluster, timing)
        path = None
        if options.out is not None:
            kept = options.kept if is_first else None
            stack.enter_context(
                opened(options.out, contents(configuration, kept, options.part_rows), options.files(configuration))
            )
            path = options.out / FILE
        measurement = _Measurement(configuration, timing, where, path)
        try:
            measurement.prepare(options.part_rows, options.reduction(configuration) if is_first else None)
            try:
                measurement.run(cluster)
            finally:
                with interrupts_held():
                    measurement.write()
        except KeyboardInterrupt:
            yield measurement.result(options, is_interrupted=True)
            raise
        measurement.require_some()
        yield measurement.result(options)


def _where_on(cluster: Cluster, timing: TimingOptions) -> Where:
    """The conditions and the machine of a worker that has a device."""
    ((_, where),) = cluster.each(partial(where_of, timing), [None], {DEVICE: 1})
    return where


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
        where: Conditions of all timings, and their machine.
        path: File of the rows, which may have those of an earlier run; None without one.
    """

    def __init__(self, configuration: Configuration, timing: TimingOptions, where: Where, path: Path | None) -> None:
        self._configuration, self._timing, self._where, self._path = configuration, timing, where, path
        self._grid = Grid(configuration)
        self._begin()
        self._done, self._spent_s = _Done(), 0.0
        self._allowed: NDArray[np.bool_] | None = None
        self._notes: dict[str, str] = {}
        if path is not None and (about := read_about(path)) is not None:
            self._go_on(path, about)

    def require_some(self) -> None:
        """Refuse a budget in which not one shape was timed.

        Raises:
            ConvcostError: There was none.
        """
        if not self._done.groups and not self._done.is_whole:
            raise ConvcostError(
                f"time_budget (={self._timing.time_budget:g}) must have room for a shape, and nothing was timed; raise "
                "time_budget, or see that a worker with a device runs."
            )

    def _go_on(self, path: Path, about: dict[str, Any]) -> None:
        """Take the rows of an earlier run.

        Raises:
            ConvcostError: They are of another machine, or of other conditions.
        """
        import pyarrow.parquet as pq

        if other := difference(about["conditions"], self._where.to_dict(), ""):
            raise ConvcostError(
                f"out (={path}) must have times of this machine and under these conditions, and {other}; "
                "give another folder, or remove the file."
            )
        kept = {name: about[name] for name in _KEPT}
        kept["chosen"] = None if kept["chosen"] is None else tuple(kept["chosen"])
        self._done = _Done(tuple(pq.read_table(path).to_pylist()), Counts(**about["counts"]), **kept)
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
        self._begin()
        if reduction is not None:
            self.write()  # a large grid is not to be predicted again

    def _begin(self) -> None:
        """Let the time budget begin now."""
        self._start = time.monotonic()
        self._save_at = self._start

    def _note(self, notes: Iterable[str]) -> None:
        """Keep the latest of the notes that differ in their numbers alone."""
        self._notes |= {re.sub(r"[\d.]+", "", note): note for note in notes}

    def _table(self) -> pa.Table:
        import pyarrow as pa

        return pa.Table.from_pylist(self._done.rows, measured_schema(self._configuration))

    def write(self) -> None:
        """Write the file of the rows, if there is to be one."""
        start, done = time.monotonic(), self._done
        if self._path is not None:
            about = {
                "conditions": self._where.to_dict(),
                "counts": asdict(done.counts),
                **{name: getattr(done, name) for name in _KEPT},
                "spent_s": self._spent_s + start - self._start if done.groups else 0.0,
                "notes": list(self._notes.values()),
            }
            write_table(self._path, self._table(), about)
        now = time.monotonic()
        if done.groups:  # the first row is written at once
            self._save_at = now + max(SAVE_S, SAVE_SHARE * (now - start))

    def result(self, options: SweepOptions, *, is_interrupted: bool = False) -> GridResult:
        """The rows in the order of the grid, or what is kept of them."""
        import pyarrow as pa

        table, done = self._table().sort_by(INDEX), self._done
        reduction = options.reduction(self._configuration, measured_columns(self._configuration))
        if done.chosen is not None:
            rows = {index: row for row, index in enumerate(table[INDEX].to_pylist())}
            table = table.take(pa.array([rows[index] for index in done.chosen if index in rows], pa.int64()))
        elif reduction is not None:
            reduction.add(table.drop_columns([INDEX]) if isinstance(reduction, Groups) else table, 0)
            table = reduction.result()
        timed = Timed(
            self._where.conditions,
            Counter(row["status"] for row in done.rows),
            sum(row["warning"] is not None for row in done.rows),
            self._grid.size,
            self._size,
            done.is_whole,
            tuple(self._notes.values()),
            is_interrupted,
        )
        return GridResult(self._configuration, done.counts, table, reduction, self._path, timed=timed)

    @property
    def _size(self) -> int:
        """The number of rows to draw from."""
        if self._done.chosen is not None:
            return len(self._done.chosen)
        return self._grid.size if self._allowed is None else int(self._allowed.sum())

    def run(self, cluster: Cluster | None) -> None:
        """Time rows until the budget is spent or all are timed.

        Args:
            cluster: Workers that time them; None for this process.
        """
        is_late = False
        with ExitStack() as stack:
            if cluster is None:
                timer = stack.enter_context(ShapeTimer(self._configuration, self._timing))
                answers = ((job, timer(job)) for job in self._jobs())
            else:
                on_worker = partial(time_on_worker, self._configuration, self._timing, self._where.to_dict())
                answers = cluster.each(on_worker, self._jobs(), {DEVICE: 1})
            for job, answer in answers:
                is_late = is_late or answer is None
                if answer is not None and not is_late:
                    self._take(job, answer)
                    if time.monotonic() > self._save_at:
                        self.write()
        self._done = replace(self._done, is_whole=self._done.drawn == self._size)

    def _jobs(self) -> Iterator[Job]:
        """The groups of rows that are to be timed, until the budget is spent."""
        deadline = self._start + self._timing.time_budget - self._spent_s
        chosen = self._done.chosen
        if chosen is None:
            groups = sample(self._grid, self._configuration, self._allowed)
        else:
            groups = sample_of(chosen, self._grid, self._configuration)
        submitted = sum(map(len, islice(groups, self._done.groups)))
        for rows in groups:
            left = deadline - time.monotonic()
            if left <= (0.0 if not self._done.groups else MIN_ROW_S * len(rows)):
                return
            share = left / (self._size - submitted) * len(rows) / (len(rows) + 1)  # the baseline takes one, too
            submitted += len(rows)
            seconds = min(MAX_ROW_S, max(MIN_ROW_S, share))
            yield Job(rows, seconds, max(seconds, share / SLOW_CALLS), time.time() + left)

    def _take(self, job: Job, answer: Answer) -> None:
        """Add the rows of a job to the others, and keep its run in the history."""
        done, shape = self._done, ShapeRows.of(self._configuration, job.rows)
        conditions = replace(self._where.conditions, dtype=shape.dtype)
        self._note(answer.notes)
        timings = {name: one.timing for name, one in answer.outcomes.items() if one.timing is not None}
        if self._timing.store and timings:
            from convcost.archive.storing import keep

            measured = Measured(conditions, timings, {}, answer.notes)
            budget_s = job.seconds * len(shape.blocks)
            self._note(keep(shape.blocks, measured, self._configuration.baseline, budget_s, self._where.setup))
        is_counted = done.chosen is not None or self._allowed is not None
        self._done = replace(
            done,
            rows=(*done.rows, *shape.timed(answer.outcomes, conditions)),
            counts=done.counts if is_counted else done.counts + shape.counts,
            groups=done.groups + 1,
            drawn=done.drawn + len(job.rows),
        )
        left = self._start + self._timing.time_budget - self._spent_s - time.monotonic()
        shown = f"{thousands(len(self._done.rows))} of {thousands(self._size)} rows timed"
        show_progress(f"{shown}, {human_duration(max(0.0, left))} left")

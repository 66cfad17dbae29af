"""`convcost sweep`: a grid of layer shapes, predicted part by part, written to a folder or reduced to the best rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from convcost.grids.columns import COLUMNS, chosen_columns, column_name, schema
from convcost.grids.configuration_file import load_configuration, read_configuration
from convcost.grids.grid import PART_ROWS, Grid
from convcost.grids.groups import Groups
from convcost.grids.parts import (
    Counts,
    FolderNames,
    contents,
    holds,
    opened,
    parquet,
    part_path,
    read_about,
    read_counts,
    read_table,
    write_part,
    write_shared_part,
    write_table,
)
from convcost.grids.plan import BlockPlan, Plan
from convcost.grids.prediction import plain_table, predict
from convcost.grids.reduction import Pareto, Top
from convcost.grids.result import GridResult
from convcost.system.processor import pin_allocator
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine, show_progress
from convcost.text.errors import ConvcostError, as_text, did_you_mean
from convcost.text.toml_tables import is_number
from convcost.text.units import human_count, human_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from convcost.grids.columns import GridColumn
    from convcost.grids.configuration import Configuration
    from convcost.grids.grid import Part
    from convcost.grids.parts import Write
    from convcost.grids.reduction import Reduction
    from convcost.workflows.sweep_cluster import Cluster

T = TypeVar("T")

MAX_SHOWN: Final = 100_000
"""Largest number of rows of a sweep without a folder of which every row is kept."""
MAX_TOP: Final = 1_000_000
"""Largest number of best rows, which are kept in memory."""
MAX_WORKERS: Final = 1024
"""Largest number of worker processes on this machine."""
SAMPLE_ROWS: Final = 2**17
"""Largest number of rows of a block that are predicted for a plan."""
PLAN_RUNS: Final = 3
"""Times that these rows are predicted; the shortest is without imports, memory that is new, and other programs."""
SAVE_S: Final = 1.0
"""Seconds after which the state of a reduction is written anew."""
SAVE_SHARE: Final = 20
"""Least ratio of the time between two states to the time that one of them took to write."""
STATE: Final = "state.parquet"
"""The file with the state of a reduction that is not at its end."""


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What is kept of a sweep, where it is kept, and where the work is done.

    Attributes:
        out: Folder of the files; None for a small sweep, or one of which little is kept.
        pareto: Columns of which the rows that no other row beats are kept.
        top: Number of the best rows to keep.
        sort: Column that says which rows these are.
        group_by: Columns whose values make a group, each with its own best rows, or with a summary.
        part_rows: Most rows of a part.
        workers: Number of worker processes on this machine; None to work in this one.
        scheduler: Address of the scheduler of a Dask cluster, such as `tcp://10.0.0.1:8786`.
        whole: File or format that is to have every row, for the message if these are too many; None for none.

    Raises:
        ConvcostError: Options that exclude each other, or an unknown column.
    """

    out: Path | None = None
    pareto: tuple[str, ...] = ()
    top: int | None = None
    sort: str | None = None
    group_by: tuple[str, ...] = ()
    part_rows: int = PART_ROWS
    workers: int | None = None
    scheduler: str | None = None
    whole: str | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.pareto and self.top is not None:
            raise ConvcostError("pareto and top exclude each other; leave one of them out.")
        if not isinstance(self.sort, str | None):
            raise ConvcostError(f"sort (={as_text(self.sort)}) must be the name of one column; write macs_ratio.")
        if self.top is not None and not is_number(self.top, 1, MAX_TOP):
            raise ConvcostError(f"top (={as_text(self.top)}) must be a whole number from 1 to {MAX_TOP:,}; write 100.")
        if (self.top is None) != (self.sort is None):
            given, other = ("sort", "top") if self.top is None else ("top", "sort")
            raise ConvcostError(f"{given} must go with {other}; give both, as top 100 and sort macs_ratio.")
        if self.workers is not None and self.scheduler is not None:
            raise ConvcostError("workers and scheduler exclude each other; leave one of them out.")
        if self.workers is not None and not is_number(self.workers, 1, MAX_WORKERS):
            raise ConvcostError(
                f"workers (={as_text(self.workers)}) must be a whole number from 1 to {MAX_WORKERS}; write 2."
            )

    @property
    def kept(self) -> dict[str, Any] | None:
        """What is kept of the rows, by full names; None for all of them."""
        named = {
            "pareto": [column_name(name) for name in self.pareto],
            "top": self.top,
            "sort": self.sort and column_name(self.sort),
            "group_by": [column_name(name) for name in self.group_by],
        }
        return {name: value for name, value in named.items() if value} or None

    def reduction(self, configuration: Configuration, columns: Sequence[GridColumn] | None = None) -> Reduction | None:
        """A new reduction; None where all rows are kept.

        Args:
            configuration: Configuration of the sweep.
            columns: Columns of the rows; None for the predicted ones.

        Raises:
            ConvcostError: A column that the rows do not have, or that is no number.
        """
        columns = chosen_columns(configuration) if columns is None else columns
        groups = [one.name for one in _columns(columns, "group_by", self.group_by)]
        if self.pareto:
            return Pareto(_columns(columns, "pareto", self.pareto), groups)
        if self.top is not None and self.sort is not None:
            return Top(self.top, _columns(columns, "sort", [self.sort])[0], groups)
        return Groups(groups) if groups else None

    def cluster(self) -> AbstractContextManager[Cluster | None]:
        """A connection to the Dask cluster; None where this process does the work."""
        if self.workers is None and self.scheduler is None:
            return nullcontext()
        from convcost.workflows.sweep_cluster import connected

        return connected(self.workers, self.scheduler)

    def files(self, configuration: Configuration) -> FolderNames:
        """The names of the Parquet files in the folder."""
        return FolderNames(Grid(configuration), self.part_rows)

    @property
    def file(self) -> str:
        """The name of the file of what is kept."""
        return f"{'pareto' if self.pareto else 'groups' if self.top is None else 'top'}.parquet"


def column_names(option: str, given: object) -> tuple[str, ...]:
    """The names of columns in a text, separated by commas, or in a list.

    Args:
        option: Name of the option, for messages.
        given: Text or list; () for no names.

    Raises:
        ConvcostError: A text without names, or something else.
    """
    listed: Any = list(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else given
    is_list = isinstance(listed, list | tuple) and all(isinstance(name, str) for name in listed)
    if not is_list or (isinstance(given, str) and not listed):
        raise ConvcostError(
            f"{option} (={as_text(given)}) must be names of columns; write them as block,macs, or leave it out."
        )
    return tuple(listed)


def folder_of(given: object) -> Path | None:
    """The folder of a sweep; None without one.

    Raises:
        ConvcostError: It is empty, or no path.
    """
    if given is None:
        return None
    if not isinstance(given, str | Path) or given == "":
        raise ConvcostError(f"out (={as_text(given)}) must be the path of a folder; write . for the current one.")
    return Path(given)


def _columns(known: Sequence[GridColumn], option: str, names: Sequence[str]) -> list[GridColumn]:
    """The columns of these names.

    Args:
        known: Columns of the sweep.
        option: Name of the option; all but group_by take columns of numbers.
        names: Names, each once.

    Raises:
        ConvcostError: A name that the option cannot take, or that is there twice.
    """
    numbers = {"int", "float", *(("text", "bool") if option == "group_by" else ())}
    columns = {column.name: column for column in known if column.kind in numbers}
    chosen: dict[str, GridColumn] = {}
    for name in names:
        full = column_name(name)
        if full not in columns:
            costs = [column.name for column in known if column.better and option != "group_by"] or list(columns)
            hint = did_you_mean(name, columns, f"known: {', '.join(costs)}.")
            rule = "one of the sweep's columns" if option == "group_by" else "a column of numbers"
            if full in COLUMNS and COLUMNS[full].kind in numbers:
                rule, hint = "one of the sweep's columns", f"add it to columns, or {hint}"
            raise ConvcostError(f"{option} (={as_text(name)}) must be {rule}; {hint}")
        if full in chosen:
            raise ConvcostError(f"{option} (={as_text(name)}) must be there once; leave the second one out.")
        chosen[full] = columns[full]
    return list(chosen.values())


class Progress:
    """The progress of a sweep, as a line with its rate and the time that is left.

    Args:
        total: Number of combinations.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._new = 0
        self._start = time.monotonic()

    def __call__(self, combinations: int, *, is_new: bool = True) -> None:
        """Count the combinations of a part; those of an earlier run have no rate."""
        self._done += combinations
        line = f"{self._done:,} of {self._total:,} rows"
        if is_new:
            self._new += combinations
            rate = self._new / max(time.monotonic() - self._start, 1e-9)
            line += f", {human_count(rate)} rows/s, {human_duration((self._total - self._done) / rate)} left"
        show_progress(line)


def configuration_of(source: Path | str | Mapping[str, object]) -> Configuration:
    """The configuration of a file or a mapping.

    Raises:
        ConvcostError: It has a mistake.
    """
    if not isinstance(source, str | Path | Mapping):
        raise ConvcostError(
            f"source (={as_text(source)}) must be the path of a TOML file, or a mapping with its keys; give one."
        )
    return read_configuration(source) if isinstance(source, Mapping) else load_configuration(Path(source))


def sweep(configuration: Configuration, options: SweepOptions) -> GridResult:
    """Predict the rows of a sweep, part by part.

    With a folder it goes on where an earlier run stopped. After Ctrl-C the folder has all parts but those that were
    being made.

    Raises:
        ConvcostError: Too many rows or groups; a folder that cannot be written, holds another sweep or is in use; a
            column that the sweep does not have; or a cluster that cannot be reached or has ended.
    """
    reduction, folder, rows = options.reduction(configuration), options.out, options.part_rows
    pin_allocator()  # each part takes as much memory as the one before: page faults would double its time
    with ProgressLine(), options.cluster() as cluster:
        reducer = None if reduction is None else _Reducer(configuration, reduction, cluster)
        if folder is None:
            counts, table = _all_rows(configuration, rows, cluster) if reducer is None else reducer.all(rows)
            return GridResult(configuration, counts, table, reduction)
        with opened(folder, contents(configuration, options.kept, rows), options.files(configuration)) as write:
            if reducer is None:
                counts = _write_parts(configuration, options, folder, write, cluster)
                return GridResult(configuration, counts, None, path=folder)
            path = folder / options.file
            counts = read_counts(path) or _reduce_parts(reducer, path, rows, write)
            write({"parts": Grid(configuration).part_count(rows), **asdict(counts)})
            (folder / STATE).unlink(missing_ok=True)
            return GridResult(configuration, counts, read_table(path), reduction, path)


def _all_rows(configuration: Configuration, rows: int, cluster: Cluster | None) -> tuple[Counts, pa.Table]:
    """The counts and the rows of a small sweep.

    Raises:
        ConvcostError: It is too large.
    """
    import pyarrow as pa

    grid = Grid(configuration)
    counts, tables, progress = Counts(), [schema(configuration).empty_table()], Progress(grid.size)
    for part, (new, table) in _each(partial(_rows_of, configuration), grid.parts(rows), cluster):
        counts += new
        if counts.rows > MAX_SHOWN:
            raise ConvcostError(
                f"out (=missing) must name a folder for more than {MAX_SHOWN:,} rows, and there are more; give one, or "
                "keep the best rows with top or pareto."
            )
        tables.append(table)
        progress(part.last - part.first + 1)
    return counts, pa.concat_tables(tables)


def _each(function: Callable[[Part], T], parts: Iterable[Part], cluster: Cluster | None) -> Iterator[tuple[Part, T]]:
    """Each part with the result of a function, in order."""
    return ((part, function(part)) for part in parts) if cluster is None else cluster.each(function, parts)


def _rows_of(configuration: Configuration, part: Part) -> tuple[Counts, pa.Table]:
    prediction = predict(configuration, part)
    return Counts.of(prediction), plain_table(prediction.table)


def _write_parts(
    configuration: Configuration, options: SweepOptions, folder: Path, write: Write, cluster: Cluster | None
) -> Counts:
    """Write the parts of a folder that are not there yet.

    Raises:
        ConvcostError: There are more rows than one file may have, if there is to be one.
    """
    grid = Grid(configuration)
    progress, counts, done = Progress(grid.size), Counts(), 0

    def missing() -> Iterator[Part]:
        nonlocal counts, done
        for part in grid.parts(options.part_rows):
            known = read_counts(part_path(folder, part, grid.size))
            if known is None:
                yield part
            else:
                counts, done = counts + known, done + 1
                _require_few(counts, options.whole)
                progress(part.last - part.first + 1, is_new=False)

    write_one = partial(write_part, configuration, folder=folder)
    if cluster is not None:
        about = contents(configuration, options.kept, options.part_rows)
        write_one = partial(write_shared_part, configuration, folder=folder.absolute(), contents=about)
    try:
        for part, new in _each(write_one, missing(), cluster):
            counts, done = counts + new, done + 1
            _require_few(counts, options.whole)
            progress(part.last - part.first + 1)
    except KeyboardInterrupt:
        with interrupts_held():
            write({"parts": done, **asdict(counts)})
        raise
    write({"parts": done, **asdict(counts)})
    return counts


def _require_few(counts: Counts, whole: str | None) -> None:
    if whole is not None and counts.rows > MAX_SHOWN:
        raise ConvcostError(
            f"{whole} must hold at most {MAX_SHOWN:,} rows, and there are more; read the parts of the folder, or keep "
            "the best rows with top or pareto."
        )


@dataclass(frozen=True, slots=True)
class _Reducer:
    """A reduction, and where its parts are predicted.

    Attributes:
        configuration: Configuration of the sweep.
        reduction: What takes in the parts.
        cluster: Workers that predict and reduce each part; None for this process.
    """

    configuration: Configuration
    reduction: Reduction
    cluster: Cluster | None

    def each(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Counts]]:
        """Each part with its counts, in order, when the reduction has taken it in."""
        if self.cluster is None:
            for part in parts:
                yield part, Counts.of(self.reduction.add_part(self.configuration, part))
            return
        items = ((self.reduction.known(), part) for part in parts)
        for (_, part), (counts, other) in self.cluster.each(partial(_reduced, self.configuration), items):
            if other is not None:
                self.reduction.merge(other)
            yield part, counts

    def all(self, rows: int) -> tuple[Counts, pa.Table]:
        """The counts of all parts, and what is kept of them."""
        grid = Grid(self.configuration)
        counts, progress = Counts(), Progress(grid.size)
        for part, new in self.each(grid.parts(rows)):
            counts += new
            progress(part.last - part.first + 1)
        return counts, self.reduction.result()


def _reduced(configuration: Configuration, item: tuple[Reduction, Part]) -> tuple[Counts, Reduction | None]:
    """The counts of a part, and what is kept of it; None where the reduction that is known has better rows."""
    pin_allocator()
    known, part = item
    prediction, own = known.alone(configuration, part)
    return Counts.of(prediction), own


@dataclass(frozen=True, slots=True)
class _Reduced:
    """How far a reduction is.

    Attributes:
        parts: Number of parts that it took in.
        counts: Counts of these.
        state: State of the reduction; None before the first row.
    """

    parts: int
    counts: Counts
    state: pa.Table | None

    @classmethod
    def read(cls, path: Path) -> _Reduced:
        """The state in a file; that of the start without one."""
        about = read_about(path)
        if about is None:
            return cls(0, Counts(), None)
        return cls(about["parts"], Counts(**about["counts"]), read_table(path))

    def write(self, path: Path) -> None:
        """Write the state to a file."""
        if self.state is not None:
            write_table(path, self.state, {"parts": self.parts, "counts": asdict(self.counts)})


def _reduce_parts(reducer: _Reducer, path: Path, rows: int, write: Write) -> Counts:
    """Reduce the parts that an earlier run has not reduced, and write what is kept; every few seconds the state."""
    grid, reduction, state = Grid(reducer.configuration), reducer.reduction, path.parent / STATE
    progress, done, save_at = Progress(grid.size), _Reduced.read(state), time.monotonic() + SAVE_S
    reduction.state = done.state
    count = grid.part_count(rows)
    if 0 < done.parts < count:
        progress(grid.part(done.parts, rows).first, is_new=False)

    def save() -> None:
        done.write(state)
        write({"parts": done.parts, **asdict(done.counts)})

    try:
        for part, new in reducer.each(grid.part(number, rows) for number in range(done.parts, count)):
            done = _Reduced(done.parts + 1, done.counts + new, reduction.state)
            progress(part.last - part.first + 1)
            start = time.monotonic()
            if start > save_at:
                save()
                now = time.monotonic()
                save_at = now + max(SAVE_S, SAVE_SHARE * (now - start))
    except KeyboardInterrupt:
        with interrupts_held():
            save()
        raise
    write_table(path, reduction.result(), asdict(done.counts))
    return done.counts


def plan(configuration: Configuration, options: SweepOptions) -> Plan:
    """How many rows a sweep has, how large and how long it is, less what its folder has; nothing is written.

    Raises:
        ConvcostError: A column that the sweep does not have, or a folder that holds another sweep.
    """
    rows, sampled, done = [], 0, _done_parts(configuration, options)
    for block in configuration.blocks:
        one = replace(configuration, blocks=(block,))
        grid, reduction = Grid(one), options.reduction(one)
        part = grid.spread(SAMPLE_ROWS)
        combinations, times = part.last - part.first + 1, []
        for _ in range(PLAN_RUNS):
            start = time.perf_counter()
            table = (predict(one, part) if reduction is None else reduction.add_part(one, part)).table
            content = None if reduction is not None else parquet(table, {})
            times.append(time.perf_counter() - start)
        share, parts = grid.size / combinations, grid.part_count(options.part_rows)
        seconds = share * min(times) * (1 - done[block] / parts)
        size = None if content is None else round(share * len(content))
        rows.append(BlockPlan(block, grid.size, parts, done[block], round(share * table.num_rows), size, seconds))
        sampled += combinations
    return Plan(tuple(rows), sampled, configuration.notes)


def _done_parts(configuration: Configuration, options: SweepOptions) -> Counter[str]:
    """The number of parts of each block that an earlier run has done in the folder.

    Raises:
        ConvcostError: The folder holds another sweep.
    """
    folder, rows, done = options.out, options.part_rows, Counter[str]()
    about = contents(configuration, options.kept, rows)
    if folder is None or not holds(folder, about, options.files(configuration)):
        return done
    if options.kept is None:
        grid = Grid(configuration)
        firsts = (int(path.name.split("-")[1]) for path in folder.glob("part-*.parquet"))
        return Counter(grid.part_at(first, rows).block for first in firsts)
    left = about["parts"] if (folder / options.file).exists() else _Reduced.read(folder / STATE).parts
    for block in configuration.blocks:
        done[block] = min(left, Grid(replace(configuration, blocks=(block,))).part_count(rows))
        left -= done[block]
    return done

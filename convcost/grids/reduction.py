"""Reductions of a sweep while it runs: the rows that no other one beats, or the best few, overall or in each group.

A reduction is exact, and the same whatever the order in which the parts come. Its state is a table, which can be
written to a file; a reduction with this state goes on where the first one was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from convcost.grids.arrays import group_numbers, numbers, taken
from convcost.grids.front import front
from convcost.grids.prediction import plain_table, predict
from convcost.text.errors import ConvcostError
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from convcost.grids.columns import GridColumn
    from convcost.grids.configuration import Configuration
    from convcost.grids.grid import Part
    from convcost.grids.prediction import Prediction

Array: TypeAlias = "NDArray[Any]"
INDEX: Final = "_index"
"""Column of the state: what orders the rows of the whole sweep."""
GROUP: Final = "_group"
"""Column of the state: the first index with a value in the row's group, in whose order the groups are shown."""
EQUAL: Final = "_equal"
"""Column of the state: the number of further rows that equal this one in all costs and were left out."""
MORE_EQUAL: Final = "more_equal"
"""Column of the result of a front, if rows were left out: their number, beside the first row that they equal."""
MAX_EQUAL: Final = 100
"""Maximum number of rows of a front that are equal in all costs, so that it stays small."""
SAMPLE_ROWS: Final = 8192
"""Number of rows from which the bounds for all others are worked out."""
MAX_KEPT: Final = 1_000_000
"""Maximum number of rows that are kept in memory."""
MAX_KNOWN: Final = 10_000
"""Maximum number of rows of a reduction that are sent to another process."""
MAX_PASSES: Final = 8
"""Maximum number of bounds, one after the other."""
MIN_DROPPED: Final = 0.1
"""Share of the rows that a bound must leave out, or it is the last one."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that may be kept.

    Attributes:
        places: Their places in the state and the part after it.
        groups: Their groups, numbered from 0.
        costs: Their values in each goal, of which less is better.
    """

    places: Array
    groups: Array
    costs: Sequence[Array]

    def where(self, chosen: Array) -> _Rows:
        """The rows of this mask, or of these places among them."""
        return _Rows(self.places[chosen], self.groups[chosen], [cost[chosen] for cost in self.costs])

    def by_group(self, count: int) -> tuple[list[Array], Array]:
        """The costs of rows, each of another group, in arrays by group, and which groups have a row."""
        import numpy as np

        costs, is_there = [np.zeros(count, cost.dtype) for cost in self.costs], np.zeros(count, bool)
        for filled, cost in zip(costs, self.costs, strict=True):
            filled[self.groups] = cost
        is_there[self.groups] = True
        return costs, is_there


class Reduction(ABC):
    """What is kept of the rows of a sweep.

    Attributes:
        goals: Columns of which the better values are kept.
        group_by: Names of the columns whose equal rows are a group.
        state: Rows that are kept so far, in order; None before the first part.
    """

    def __init__(self, goals: Sequence[GridColumn] = (), group_by: Sequence[str] = ()) -> None:
        self.goals = tuple(dict.fromkeys(goals))
        self.group_by = tuple(dict.fromkeys(group_by))
        self.state: pa.Table | None = None

    @abstractmethod
    def add(self, table: pa.Table, first: int) -> None:
        """Take in the rows of a part.

        Args:
            table: Rows, in order.
            first: Index of the part's first row in the grid.
        """

    def add_part(self, configuration: Configuration, part: Part) -> Prediction:
        """Predict a part and take in its rows.

        Returns:
            The prediction; its table may lack columns.
        """
        prediction = predict(configuration, part)
        self.add(prediction.table, part.first)
        return prediction

    def alone(self, configuration: Configuration, part: Part) -> tuple[Prediction, Self | None]:
        """Predict a part and take in its rows in a reduction of its own; this one stays as it is.

        Returns:
            The prediction, whose table may lack columns, and the other reduction, which `merge` takes in; None if this
            one would keep none of the rows.
        """
        other = self._without_rows()
        return other.add_part(configuration, part), other

    def known(self) -> Self:
        """What another process must have of this reduction for `alone`."""
        return self._without_rows()

    def _without_rows(self) -> Self:
        other = copy(self)
        other.state = None
        return other

    def merge(self, other: Reduction) -> None:
        """Take in what another reduction of the same kind kept of other parts."""
        if other.state is not None:
            self._take(other.state)

    @abstractmethod
    def _take(self, table: pa.Table) -> None:
        """Take in the rows of another state."""

    @abstractmethod
    def result(self) -> pa.Table:
        """What is kept, in the order in which it is shown; a table without columns before the first part."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What is kept, such as `the 100 rows with the largest macs_ratio`."""

    def _require_few(self, rows: int, most: int, what: str) -> None:
        """Refuse to keep more than so many rows, which are in memory until the end."""
        if rows > most:
            name = "group_by" if self.group_by else "pareto"
            columns = ",".join(self.group_by or (goal.name for goal in self.goals))
            raise ConvcostError(
                f"{name} (={columns}) must keep at most {most:,} {what}, and there are more; name other columns, or "
                "write all rows and reduce their files."
            )

    def _grouped(self, text: str) -> str:
        return f"{text} of each {', '.join(self.group_by)}" if self.group_by else text


class Selection(Reduction):
    """The base class of reductions that keep the best rows; a row that lacks one of the costs is never kept."""

    def add(self, table: pa.Table, first: int) -> None:
        """Take in the rows of a part; arguments as of `Reduction.add`."""
        self._take(_marked(table, first))

    def add_part(self, configuration: Configuration, part: Part) -> Prediction:
        """Predict a part, with all columns only if rows of it are kept, and take in its rows."""
        if self.state is None:
            return super().add_part(configuration, part)
        prediction, chosen = self._changes(self.state, configuration, part)
        if chosen is not None:
            table = _marked(predict(configuration, part).table, part.first)
            self._keep([self.state, table], *chosen)
        return prediction

    def alone(self, configuration: Configuration, part: Part) -> tuple[Prediction, Self | None]:
        """What `Reduction.alone` does, with all columns only if rows are kept."""
        if self.state is not None:
            prediction, chosen = self._changes(self.state, configuration, part)
            if chosen is None:
                return prediction, None
        return super().alone(configuration, part)

    def known(self) -> Self:
        """The columns that tell which rows are kept, if these are few."""
        other = super().known()
        if self.state is not None and self.state.num_rows <= MAX_KNOWN:
            other.state = self.state.select([*self._names, INDEX, GROUP, EQUAL])
        return other

    @property
    def _names(self) -> tuple[str, ...]:
        """The columns that tell which rows are kept."""
        return tuple(dict.fromkeys((*self.group_by, *(goal.name for goal in self.goals))))

    def _changes(
        self, state: pa.Table, configuration: Configuration, part: Part
    ) -> tuple[Prediction, tuple[_Rows, Array, Array] | None]:
        """The prediction of a few columns of a part, and what is kept of the state and it; None for no change."""
        import numpy as np

        prediction = predict(replace(configuration, columns=self._names), part)
        if not prediction.table.num_rows:
            return prediction, None
        few = _marked(prediction.table, part.first)
        rows, equal, first_seen = self._chosen([state.select(few.schema.names), few])
        before = (np.arange(state.num_rows), state[EQUAL].to_numpy(), state[GROUP].to_numpy())
        is_same = all(map(np.array_equal, before, (rows.places, equal, first_seen)))
        return prediction, None if is_same else (rows, equal, first_seen)

    def _take(self, table: pa.Table) -> None:
        if self.state is None:
            self.state = plain_table(table.slice(0, 0))
        if table.num_rows:
            tables = [self.state, table]
            self._keep(tables, *self._chosen(tables))

    def _keep(self, tables: Sequence[pa.Table], rows: _Rows, equal: Array, first_seen: Array) -> None:
        """Keep these rows of the state and a part."""
        self._require_few(len(rows.places), MAX_KEPT, "rows")
        state = taken(tables, rows.places).drop_columns([GROUP, EQUAL])
        self.state = state.append_column(GROUP, [first_seen]).append_column(EQUAL, [equal])

    def _chosen(self, tables: Sequence[pa.Table]) -> tuple[_Rows, Array, Array]:
        """The rows that are kept of a state and a part, in the order of their index, with their EQUAL and GROUP."""
        import numpy as np

        groups, costs = group_numbers(tables, self.group_by), []
        is_known = np.ones(len(groups), bool)
        for goal in self.goals:
            values, known = numbers(tables, goal.name)
            costs.append(values if goal.better != "larger" else -values if values.dtype.kind == "f" else ~values)
            is_known &= known
        rows = _Rows(np.arange(len(groups)), groups, costs)
        rows = rows if is_known.all() else rows.where(is_known)
        first_seen = np.full(int(groups.max()) + 1, np.iinfo(np.int64).max)
        if self.group_by:
            np.minimum.at(first_seen, rows.groups, numbers(tables, GROUP)[0][rows.places])
        rows = self._candidates(rows, len(first_seen), tables[0].num_rows)
        marks = taken([one.select([INDEX, EQUAL]) for one in tables], rows.places)
        order = np.argsort(marks[INDEX].to_numpy())
        rows = rows.where(order)
        kept, equal = self._kept(rows, marks[EQUAL].to_numpy()[order])
        rows = rows.where(kept)
        return rows, equal, first_seen[rows.groups]

    def _candidates(self, rows: _Rows, count: int, before: int) -> _Rows:
        """The rows that are left when bounds, worked out from some of them, leave out most of the others.

        Args:
            rows: Rows of the state, then those of a part.
            count: Number of groups.
            before: Number of rows of the state.
        """
        import numpy as np

        for _ in range(MAX_PASSES):
            old = np.searchsorted(rows.places, before)
            size = len(rows.places)
            if size - old <= SAMPLE_ROWS:
                break
            sample = rows.where(np.append(np.arange(old), np.arange(old, size, (size - old) // SAMPLE_ROWS)))
            bounds, is_bound = self._bounds(sample, count)
            mine = rows.groups if self.group_by else np.zeros(1, int)
            is_less, is_equal = ~is_bound[mine], is_bound[mine]
            for cost, bound in zip(rows.costs, bounds, strict=True):
                is_less = is_less | (cost < bound[mine])
                is_equal = is_equal & (cost == bound[mine])
            rows = rows.where(is_less | is_equal)
            if len(rows.places) > (1 - MIN_DROPPED) * size:
                break
        return rows

    @abstractmethod
    def _bounds(self, sample: _Rows, count: int) -> tuple[list[Array], Array]:
        """Costs for each group so that no row that equals or exceeds them all, and exceeds one, can be kept.

        Args:
            sample: Some of the rows.
            count: Number of groups.

        Returns:
            The bounds, an array for each cost, and the groups that have them.
        """

    @abstractmethod
    def _kept(self, rows: _Rows, equal: Array) -> tuple[Array, Array]:
        """Which of the rows are kept, and the numbers of rows that equal each of these and are not kept.

        Args:
            rows: Rows, in the order of their index.
            equal: Number of rows that equal each and were left out before.
        """

    def result(self) -> pa.Table:
        """The rows that are kept, by group, then by goals, the better values first."""
        import pyarrow as pa

        if self.state is None:
            return pa.table({})
        orders = [(goal.name, "ascending" if goal.better != "larger" else "descending") for goal in self.goals]
        rows = self.state.sort_by([(GROUP, "ascending"), *orders, (INDEX, "ascending")]).drop_columns([INDEX, GROUP])
        has_more = any(rows[EQUAL].to_pylist())
        names = [MORE_EQUAL if name == EQUAL else name for name in rows.schema.names]
        return rows.rename_columns(names) if has_more else rows.drop_columns([EQUAL])


class Pareto(Selection):
    """The rows that no other row beats: none is at least as good in all goals and better in one."""

    @property
    def text(self) -> str:
        """What is kept."""
        return self._grouped(f"the rows that no other row beats in {_goals_text(self.goals)}")

    def _bounds(self, sample: _Rows, count: int) -> tuple[list[Array], Array]:
        """For each group the row of the sample that beats most rows, were its costs independent."""
        import numpy as np

        size = len(sample.groups)
        score = -sum((np.log1p(-np.argsort(np.argsort(cost)) / size) for cost in sample.costs), np.zeros(size))
        order = np.lexsort((score, sample.groups))
        _, starts = _ranks(sample.groups[order])
        return sample.where(order[starts]).by_group(count)

    def _kept(self, rows: _Rows, equal: Array) -> tuple[Array, Array]:
        import numpy as np

        points = front(rows.costs, rows.groups)
        order = np.argsort(points, kind="stable")
        order = order[np.searchsorted(points[order], 0) :]
        rank, starts = _ranks(points[order])
        more = np.add.reduceat(equal[order] + (rank >= MAX_EQUAL), starts) if len(starts) else starts
        left_out = np.zeros_like(equal)
        left_out[order[starts]] = more
        kept = np.sort(order[rank < MAX_EQUAL])
        return kept, left_out[kept]


class Top(Selection):
    """The rows that are best in one column, a number of them in each group.

    Attributes:
        count: Number of rows in each group.
    """

    def __init__(self, count: int, goal: GridColumn, group_by: Sequence[str] = ()) -> None:
        super().__init__((goal,), group_by)
        self.count = count

    @property
    def text(self) -> str:
        """What is kept."""
        return self._grouped(f"the {number_of('row', self.count)} with the {_goals_text(self.goals)}")

    def _bounds(self, sample: _Rows, count: int) -> tuple[list[Array], Array]:
        """The worst of the best rows of each group that has enough of them in the sample."""
        import numpy as np

        order = np.lexsort((sample.costs[0], sample.groups))
        rank, _ = _ranks(sample.groups[order])
        return sample.where(order[rank == self.count - 1]).by_group(count)

    def _kept(self, rows: _Rows, equal: Array) -> tuple[Array, Array]:
        import numpy as np

        order = np.lexsort((rows.costs[0], rows.groups))
        rank, _ = _ranks(rows.groups[order])
        kept = np.sort(order[rank < self.count])
        return kept, equal[kept]


def _marked(table: pa.Table, first: int) -> pa.Table:
    """Rows of a part with the columns of a state."""
    import numpy as np

    index = np.arange(first, first + table.num_rows)
    for name, values in ((INDEX, index), (GROUP, index), (EQUAL, np.zeros_like(index))):
        table = table.append_column(name, [values])
    return table


def _ranks(ordered: Array) -> tuple[Array, Array]:
    """The place of each element among its equals, which stand next to each other, and where each kind begins."""
    import numpy as np

    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    counts = np.diff(starts, append=len(ordered))
    return np.arange(len(ordered)) - np.repeat(starts, counts), starts


def _goals_text(goals: Sequence[GridColumn]) -> str:
    """The goals with their better ends, such as `smallest macs and largest macs_ratio`."""
    return " and ".join(f"{'largest' if goal.better == 'larger' else 'smallest'} {goal.name}" for goal in goals)

"""A sample that fills the space of a grid: the same rows in the same order whenever it is drawn."""

from __future__ import annotations

from itertools import cycle, product
from math import prod
from typing import TYPE_CHECKING, Final

from convcost.convolution.blocks import find_block
from convcost.grids.grid import steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from convcost.grids.configuration import Configuration
    from convcost.grids.grid import Grid

DRAWS: Final = 2
"""Points of the sequence per point of the axes, after which the points that are left come in order."""


def sample(
    grid: Grid, configuration: Configuration, allowed: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, ...]]:
    """Groups of rows, each with one row of every block that has this shape, until all rows of the grid are drawn.

    A row is drawn once. The first groups of a long sample are a shorter one.

    Args:
        grid: Rows to draw from.
        configuration: Configuration of the grid.
        allowed: Which rows may be drawn; None for all.
    """
    axes, count = configuration.axes, grid.size if allowed is None else int(allowed.sum())
    drawn: set[int] = set()
    for places in _places([len(axis.values) for axis in axes]):
        at = grid.rows_at(dict(zip((axis.name for axis in axes), places, strict=True)))
        rows = tuple(row for row in at if row not in drawn and (allowed is None or allowed[row]))
        drawn.update(rows)
        if rows:
            yield rows
        if len(drawn) == count:
            return


def sample_of(rows: Sequence[int], grid: Grid, configuration: Configuration) -> Iterator[tuple[int, ...]]:
    """Groups of some of the rows of a grid, each with rows of one input and one baseline, until all are drawn.

    Args:
        rows: Rows, in an order along which the sample is spread.
        grid: Grid of the rows.
        configuration: Configuration of the grid.
    """
    of_baseline = find_block(configuration.baseline).defaults
    groups: list[dict[str, int]] = []
    places: dict[object, list[int]] = {}
    for row in rows:
        block, spec, parameters, dtype = grid.layer(row)
        key = (spec, dtype, *(parameters.get(name) for name in of_baseline))
        free = [place for place in places.setdefault(key, []) if block not in groups[place]]
        if not free:
            free = [len(groups)]
            places[key].append(len(groups))
            groups.append({})
        groups[free[0]][block] = row
    drawn = dict.fromkeys(place for (place,) in _places([len(groups)])) if groups else ()
    yield from (tuple(groups[place].values()) for place in drawn)


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Both ends of all axes, points that fill a box of these sizes evenly, then all of its points in order.

    The first two points are opposite corners with the low and the high end in turn: the slowest corner is neither.
    """
    for first in (0, 1):
        ends = cycle((first, 1 - first))
        yield tuple((size - 1) * next(ends) if size > 1 else 0 for size in sizes)
    changes = steps(sum(size > 1 for size in sizes))
    for number in range(DRAWS * prod(sizes)):
        shares = iter(changes)
        yield tuple(int((0.5 + number * next(shares)) % 1.0 * size) if size > 1 else 0 for size in sizes)
    yield from product(*map(range, sizes))

"""A sample that fills the space of a grid: the same rows in the same order whenever it is drawn."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convcost.grids.axis import Axis
    from convcost.grids.grid import Grid

DRAWS: Final = 2
"""Points of the sequence per point of the axes, after which the points that are left come in order."""


def sample(grid: Grid, axes: Sequence[Axis]) -> Iterator[tuple[int, ...]]:
    """Groups of rows, each with one row of every block that has this shape, until all rows of the grid are drawn.

    A row is drawn once. The first groups of a long sample are a shorter one.

    Args:
        grid: Rows to draw from.
        axes: Axes of its configuration.
    """
    drawn: set[int] = set()
    for places in _places([len(axis.values) for axis in axes]):
        rows = tuple(
            row
            for row in grid.rows_at(dict(zip((axis.name for axis in axes), places, strict=True)))
            if row not in drawn
        )
        drawn.update(rows)
        if rows:
            yield rows
        if len(drawn) == grid.size:
            return


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Points that fill a box of these sizes evenly, then all of its points in order."""
    steps = _steps(sum(size > 1 for size in sizes))
    for number in range(DRAWS * prod(sizes)):
        shares = iter(steps)
        yield tuple(int((0.5 + number * next(shares)) % 1.0 * size) if size > 1 else 0 for size in sizes)
    yield from product(*map(range, sizes))


def _steps(dimensions: int) -> list[float]:
    """The steps of an additive recurrence that fills a cube evenly.

    They are the powers of 1/x with x**(d + 1) = x + 1: for one dimension the golden ratio (M. Roberts 2018, The
    unreasonable effectiveness of quasirandom sequences).
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    return [root ** -(power + 1) for power in range(dimensions)]

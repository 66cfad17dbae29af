"""A sample that fills the space of a grid: the same rows in the same order whenever it is drawn."""

from __future__ import annotations

from itertools import chain, islice, product
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
MAX_PAIRS: Final = 2**12
"""Largest number of pairs of opposite corners that are looked at for one that may be drawn."""


def sample(
    grid: Grid, configuration: Configuration, allowed: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, ...]]:
    """Groups of rows, each with one row of every block that has this shape, until all rows of the grid are drawn.

    A row is drawn once. The first groups of a long sample are a shorter one. The first two have both ends of each axis,
    if two opposite corners of the grid may be drawn.

    Args:
        grid: Rows to draw from.
        configuration: Configuration of the grid.
        allowed: Which rows may be drawn; None for all.
    """
    axes, count = configuration.axes, grid.size if allowed is None else int(allowed.sum())
    varying = [axis for axis in axes if len(axis.values) > 1]

    def rows_at(places: Sequence[int]) -> list[int]:
        at = dict(zip((axis.name for axis in varying), places, strict=True))
        every = grid.rows_at({axis.name: at.get(axis.name, 0) for axis in axes})
        return [row for row in every if allowed is None or allowed[row]]

    sizes = [len(axis.values) for axis in varying]
    pairs = islice(_opposite_corners(sizes), MAX_PAIRS)
    ends = next((pair for pair in pairs if all(map(rows_at, pair))), ())
    drawn: set[int] = set()
    for places in chain(ends, _places(sizes)):
        rows = tuple(row for row in rows_at(places) if row not in drawn)
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
    ends = [(0,), (len(groups) - 1,)]
    drawn = dict.fromkeys(place for (place,) in chain(ends, _places([len(groups)]))) if groups else ()
    yield from (tuple(groups[place].values()) for place in drawn)


def _opposite_corners(sizes: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs of opposite corners of a box of these sizes, first those with a low and a high end in turn."""
    half = max(1, 2 ** len(sizes) // 2)
    for flips in islice(product((0, 1), repeat=len(sizes)), half):
        ends = [(place + flip) % 2 for place, flip in enumerate(flips)]
        first = tuple((size - 1) * end for size, end in zip(sizes, ends, strict=True))
        yield first, tuple(size - 1 - place for size, place in zip(sizes, first, strict=True))


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Points that fill a box of these sizes evenly, then all of its points in order."""
    changes = steps(len(sizes))
    for number in range(DRAWS * prod(sizes)):
        yield tuple(int((0.5 + number * step) % 1.0 * size) for step, size in zip(changes, sizes, strict=True))
    yield from product(*map(range, sizes))

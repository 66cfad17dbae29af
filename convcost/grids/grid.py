"""The index space of a sweep: every combination of its axes, block after block."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Final, cast

from convcost.convolution.blocks import PARAMETERS, find_block
from convcost.convolution.spec import Spec
from convcost.grids.axis import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from convcost.convolution.spec import Value
    from convcost.grids.axis import Axis
    from convcost.grids.configuration import Configuration

PART_ROWS: Final = 2**19
"""Rows of a part at most: its arrays take some 100 MB, and its file some 7 MB. Twice as many are 3 % faster."""


@dataclass(frozen=True, slots=True)
class Part:
    """A box of one block: all combinations of its axes' values, which are contiguous rows of the grid.

    Attributes:
        first: Index of its first row in the grid.
        last: Index of its last row in the grid.
        block: Name of the block.
        axes: Axes with the values of this part; the last varies fastest.
    """

    first: int
    last: int
    block: str
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each axis."""
        return tuple(len(axis.values) for axis in self.axes)


@dataclass(frozen=True, slots=True)
class _Block:
    """The combinations of one block: its own axes, and how they are cut into parts of at most so many rows.

    Attributes:
        name: Name of the block.
        axes: Axes that are sizes of every layer or parameters of this block.
    """

    name: str
    axes: tuple[Axis, ...]

    @property
    def rows(self) -> int:
        return prod(len(axis.values) for axis in self.axes)

    def cut(self, rows: int) -> tuple[int, int]:
        """The axis that is cut, and in how many pieces; the axes after it stay whole, those before it are single."""
        inner = 1
        for place in reversed(range(len(self.axes))):
            values = len(self.axes[place].values)
            if inner * values > rows:
                return place, -(-values // max(1, rows // inner))
            inner *= values
        return 0, 1

    def part_count(self, rows: int) -> int:
        place, pieces = self.cut(rows)
        return prod(len(axis.values) for axis in self.axes[:place]) * pieces

    def part_of(self, row: int, rows: int) -> int:
        """The number of the part that has a row of this block, from 0."""
        place, pieces = self.cut(rows)
        values = len(self.axes[place].values)
        outer, value = divmod(row // prod(len(axis.values) for axis in self.axes[place + 1 :]), values)
        return outer * pieces + ((value + 1) * pieces - 1) // values

    def part(self, number: int, rows: int, before: int) -> Part:
        place, pieces = self.cut(rows)
        number, piece = divmod(number, pieces)
        values = len(self.axes[place].values)
        slices = {place: slice(piece * values // pieces, (piece + 1) * values // pieces)}
        for outer in reversed(range(place)):
            number, value = divmod(number, len(self.axes[outer].values))
            slices[outer] = slice(value, value + 1)
        first = 0
        for index, axis in enumerate(self.axes):
            first = first * len(axis.values) + (slices[index].start if index in slices else 0)
        axes = tuple(
            replace(axis, values=axis.values[slices[index]]) if index in slices else axis
            for index, axis in enumerate(self.axes)
        )
        first += before
        return Part(first, first + prod(len(axis.values) for axis in axes) - 1, self.name, axes)


class Grid:
    """Every combination of a configuration's axes, blocks outermost; nothing of it is stored.

    Each block has its own product of axes: an axis that is a parameter of neither the block nor the baseline does not
    repeat its rows.

    Args:
        configuration: Blocks and axes of the sweep.

    Attributes:
        size: Number of rows, before conditions and what blocks do not allow.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._blocks = tuple(
            _Block(name, _own_axes((name, configuration.baseline), configuration.axes)) for name in configuration.blocks
        )
        self._ends = tuple(accumulate(block.rows for block in self._blocks))
        self.size = self._ends[-1]

    def part_count(self, rows: int = PART_ROWS) -> int:
        """The number of parts of at most so many rows."""
        return sum(block.part_count(rows) for block in self._blocks)

    def part(self, number: int, rows: int = PART_ROWS) -> Part:
        """The part of this number, from 0, among parts of at most so many rows."""
        for block, end in zip(self._blocks, self._ends, strict=True):
            count = block.part_count(rows)
            if number < count:
                return block.part(number, rows, end - block.rows)
            number -= count
        raise IndexError(number)

    def part_at(self, index: int, rows: int = PART_ROWS) -> Part:
        """The part that has this row of the grid, among parts of at most so many rows."""
        block, end = self._block_at(index)
        before = end - block.rows
        return block.part(block.part_of(index - before, rows), rows, before)

    def parts(self, rows: int = PART_ROWS) -> Iterator[Part]:
        """All parts in order, each made when it is taken."""
        return (self.part(number, rows) for number in range(self.part_count(rows)))

    def spread(self, rows: int) -> Part:
        """At most so many rows of a grid of one block: all combinations of values that are spread over each axis.

        A short axis has all of its values; the others have as many as each other. The values are not evenly spaced,
        so that conditions such as `c % 8 == 0` keep about as many of these rows as of all.
        """
        [block] = self._blocks
        lengths = [len(axis.values) for axis in block.axes]
        most = bisect_right(range(1, max(lengths) + 1), rows, key=lambda most: prod(min(one, most) for one in lengths))
        axes = tuple(
            replace(axis, values=tuple(axis.values[place] for place in _spread_places(length, most, step)))
            for axis, length, step in zip(block.axes, lengths, steps(len(lengths)), strict=True)
        )
        return Part(0, prod(len(axis.values) for axis in axes) - 1, block.name, axes)

    def layer(self, index: int) -> tuple[str, Spec, dict[str, Value], str]:
        """The block, the layer shape, the block's own parameters and the dtype of one row.

        Raises:
            ShapeError: No block allows the shape.
        """
        part = self.row(index)
        spec, parameters, dtype = layer_of({axis.name: axis.values[0] for axis in part.axes})
        return part.block, spec, parameters, dtype

    def row(self, index: int) -> Part:
        """The part that is this row alone."""
        block, end = self._block_at(index)
        axes: list[Axis] = []
        rest = index - (end - block.rows)
        for axis in reversed(block.axes):
            rest, place = divmod(rest, len(axis.values))
            axes.insert(0, replace(axis, values=axis.values[place : place + 1]))
        return Part(index, index, block.name, tuple(axes))

    def _block_at(self, index: int) -> tuple[_Block, int]:
        """The block that has a row, and the index after its last one."""
        return next(pair for pair in zip(self._blocks, self._ends, strict=True) if index < pair[1])

    def rows_at(self, places: Mapping[str, int]) -> tuple[int, ...]:
        """The row of each block that has the values at these places of the axes.

        Args:
            places: Place of a value on each axis, by the name of the axis.
        """
        rows = []
        for block, end in zip(self._blocks, self._ends, strict=True):
            number = 0
            for axis in block.axes:
                number = number * len(axis.values) + places[axis.name]
            rows.append(end - block.rows + number)
        return tuple(rows)


def _spread_places(length: int, most: int, step: float) -> Iterator[int]:
    """At most so many of the places on an axis: one in each of that many stretches, at a share that `step` changes."""
    count = min(length, most)
    for number in range(count):
        first, end = number * length // count, (number + 1) * length // count
        yield first + int(number * step % 1.0 * (end - first))


def steps(dimensions: int) -> list[float]:
    """The steps of an additive recurrence that fills a cube evenly.

    They are the powers of 1/x with x**(d + 1) = x + 1: for one dimension the golden ratio (M. Roberts 2018, The
    unreasonable effectiveness of quasirandom sequences).
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    return [root ** -(power + 1) for power in range(dimensions)]


def _own_axes(blocks: tuple[str, ...], axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    own = {name for block in blocks for name in find_block(block).defaults}
    return tuple(axis for axis in axes if axis.name not in PARAMETERS or axis.name in own)


def layer_of(values: dict[str, Any]) -> tuple[Spec, dict[str, Value], str]:
    """The layer shape, the block's own parameters and the dtype of values by the names of their axes.

    Sizes without an axis are those of `convcost compare`: the width is the height.

    Raises:
        ShapeError: No block allows the shape.
    """
    sizes = {name: value for name, value in values.items() if name not in PARAMETERS and name != "dtype"}
    if "height" in sizes:
        sizes.setdefault("width", sizes["height"])
    parameters = {name: cast("Value", value) for name, value in values.items() if name in PARAMETERS}
    return Spec(**sizes), parameters, values.get("dtype", DEFAULTS["dtype"])

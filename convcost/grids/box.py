"""Boxes of rows: all combinations of the points of some dimensions, as NumPy arrays that broadcast together."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from convcost.grids.axis import PAIRS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from convcost.grids.grid import Part

    Integers: TypeAlias = NDArray[np.int64]
    Booleans: TypeAlias = NDArray[np.bool_]

T = TypeVar("T")
"""Type of a value that holds arrays."""
FIXED: Final = ("padding", "bias", "dtype", "partial")
"""Axes of values that are no whole numbers, which a box has one of."""
MIN_INNER_ROWS: Final = 2**11
"""Smallest inner dimension of a folded box, where there are as many rows: so long a loop hides its start."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """Points of one axis, or of several axes of which not all combinations are there.

    Attributes:
        values: Value of each point on each axis; pairs as two columns.
        rows: What each point adds to the number of a row in its part.
    """

    values: Mapping[str, Integers]
    rows: Integers

    def __len__(self) -> int:
        """The number of points."""
        return len(self.rows)

    def at(self, chosen: Booleans | Integers) -> Dimension:
        """The chosen points."""
        return Dimension({name: value[chosen] for name, value in self.values.items()}, self.rows[chosen])


@dataclass(frozen=True, slots=True)
class Box:
    """All combinations of the points of some dimensions; the last varies fastest.

    Attributes:
        dimensions: Dimensions, in order.
        fixed: Values of axes that are the same in all rows.
        first: Number of the row of the first points, less what these points add.
    """

    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points of each dimension."""
        return tuple(map(len, self.dimensions))

    @property
    def size(self) -> int:
        """Number of rows."""
        return prod(self.shape)

    @property
    def values(self) -> dict[str, Any]:
        """The value of every axis: an array that varies along its own dimension, a pair of them, or a fixed value."""
        values = dict(self.fixed)
        for place, one in enumerate(self.dimensions):
            shape = [1] * len(self.dimensions)
            shape[place] = len(one)
            for name, value in one.values.items():
                is_pair = name in PAIRS
                arrays = tuple(column.reshape(shape) for column in value.T) if is_pair else value.reshape(shape)
                values[name] = arrays
        return values

    @property
    def rows(self) -> Integers:
        """The number of each row in the part, as one array."""
        import numpy as np

        total = np.array(self.first)
        for one in self.dimensions:
            total = np.add.outer(total, one.rows)
        return total.ravel()

    def split(self, condition: Booleans) -> tuple[Box, Box]:
        """The rows where a condition is true, and those where it is false.

        Args:
            condition: Array that varies along one dimension, or along several, which become one.
        """
        import numpy as np

        places = [place for place, length in enumerate(condition.shape) if length > 1]
        box = self.joined(places)
        chosen, place = condition.ravel(), places[0]
        before, one, after = box.dimensions[:place], box.dimensions[place], box.dimensions[place + 1 :]
        true, false = (one.at(np.flatnonzero(some)) for some in (chosen, ~chosen))
        return replace(box, dimensions=(*before, true, *after)), replace(box, dimensions=(*before, false, *after))

    def joined(self, places: Sequence[int]) -> Box:
        """The box with the dimensions at these places as one, at the first of them; a new one without places."""
        import numpy as np

        if len(places) == 1:
            return self
        chosen = [self.dimensions[place] for place in places]
        points = [index.ravel() for index in np.indices([len(one) for one in chosen])]
        values = {
            name: value[index] for one, index in zip(chosen, points, strict=True) for name, value in one.values.items()
        }
        rows = sum((one.rows[index] for one, index in zip(chosen, points, strict=True)), np.zeros(1, np.int64))
        joined = [one for place, one in enumerate(self.dimensions) if place not in places]
        joined.insert(places[0] if places else 0, Dimension(values, rows))
        return replace(self, dimensions=tuple(joined))


def boxes(part: Part) -> Iterator[Box]:
    """The rows of a part, in a box for each combination of values that are no whole numbers."""
    import numpy as np

    strides = {axis.name: prod(part.shape[place + 1 :]) for place, axis in enumerate(part.axes)}
    whole = [axis for axis in part.axes if axis.name not in FIXED]
    fixed = [axis for axis in part.axes if axis.name in FIXED]
    dimensions = tuple(
        Dimension(
            {axis.name: np.array(axis.values, dtype=np.int64)},
            np.arange(len(axis.values), dtype=np.int64) * strides[axis.name],
        )
        for axis in whole
    )
    for points in product(*(range(len(axis.values)) for axis in fixed)):
        chosen = list(zip(fixed, points, strict=True))
        values = {axis.name: axis.values[point] for axis, point in chosen}
        yield Box(dimensions, values, sum(strides[axis.name] * point for axis, point in chosen))


class Fold:
    """A box with two dimensions in place of many, so that NumPy's loops go through long rows of memory.

    Args:
        box: Box with any number of dimensions.
        dtype: Type of the folded arrays; None to keep that of each.

    Attributes:
        box: The same rows in the same order, as combinations of an outer and an inner dimension.
    """

    def __init__(self, box: Box, dtype: type | None = None) -> None:
        self._dtype = dtype
        self._shape = shape = box.shape
        self._place = place = next(
            (place for place in reversed(range(len(shape))) if prod(shape[place:]) >= MIN_INNER_ROWS), 0
        )
        inner = box.joined(range(place, len(shape)))
        self.box = inner.joined(range(place))
        self._done: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: T) -> T:
        """A value with every array in it folded: one that varies along the outer dimension only has one column."""
        import numpy as np

        if isinstance(value, np.ndarray):
            if id(value) not in self._done:  # a block uses the same sizes many times
                self._done[id(value)] = value, self._folded(value)
            return cast("T", self._done[id(value)][1])
        if isinstance(value, (tuple, dict)):
            made = map(self, value) if isinstance(value, tuple) else zip(value, map(self, value.values()), strict=True)
            return cast("T", type(value)(made))
        if not is_dataclass(value):
            return value
        new = object.__new__(type(value))
        for one in fields(value):
            object.__setattr__(new, one.name, self(getattr(value, one.name)))
        return cast("T", new)

    def _folded(self, array: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        halves = (slice(self._place), slice(self._place, None))
        outer, inner = (self._shape[half] if prod(array.shape[half]) > 1 else array.shape[half] for half in halves)
        folded = np.broadcast_to(array, (*outer, *inner)).reshape(prod(outer), prod(inner))
        return folded if self._dtype is None else folded.astype(self._dtype)

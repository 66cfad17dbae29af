"""The Pareto front of many points: those that no other point beats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
MAX_PAIRS: Final = 4096
"""Maximum number of pairs of points that are compared at once."""
SAMPLE: Final = 2048
"""Number of points whose front is the first to leave out others."""


def front(costs: Sequence[Array], groups: Array) -> Array:
    """The number of each point on the front of its group; -1 for a point that another one of its group beats.

    A point beats another one if it costs at most as much in all, and less in one. Equal points have the same number.

    Args:
        costs: Values of the points, of which less is better, one array for each cost.
        groups: Groups of the points, numbered from 0.

    >>> import numpy as np
    >>> front([np.array([1, 2, 2, 1]), np.array([9, 5, 6, 9])], np.zeros(4, int)).tolist()
    [0, 1, -1, 0]
    """
    import numpy as np

    if not groups.size:
        return groups
    columns = [_ranks(cost) for cost in costs]
    columns += [np.zeros_like(groups)] if len(columns) == 1 else []
    # a point of an earlier group never has the smaller second value, one of a later group never the smaller first one
    columns[0] = columns[0] + groups * groups.size
    columns[1] = columns[1] + (groups.max() - groups) * groups.size
    order = np.lexsort(columns[::-1])
    points = np.stack([column[order] for column in columns], axis=1)
    is_new = np.ones(len(points), bool)
    is_new[1:] = (points[1:] != points[:-1]).any(axis=1)
    best = _unbeaten(points[is_new])
    numbers = np.empty_like(order)
    numbers[order] = np.where(best, np.cumsum(best) - 1, -1)[np.cumsum(is_new) - 1]
    return numbers


def _ranks(cost: Array) -> Array:
    """The rank of each value among the different values, which are few in a grid."""
    import numpy as np
    import pyarrow as pa

    values = pa.array(cost + 0).dictionary_encode()  # minus zero is zero
    order = np.argsort(values.dictionary.to_numpy())
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[values.indices.to_numpy()])


def _unbeaten(points: Array) -> Array:
    """Which of different points in lexicographic order no other one beats: Kung, Luccio and Preparata (1975).

    A point beats only later ones, so the front of the first half decides on the second one, and the first column,
    which is in order, no longer matters between the two.
    """
    import numpy as np

    if points.shape[1] == 2:  # noqa: PLR2004 - each second value must be below all earlier ones
        second = points[:, 1]
        return np.append(True, second[1:] < np.minimum.accumulate(second)[:-1])
    if len(points) ** 2 <= MAX_PAIRS:
        return np.asarray(_at_most(points, points).sum(axis=0) == 1)  # itself
    if len(points) > 2 * SAMPLE:
        sample = np.arange(0, len(points), len(points) // SAMPLE)
        sample = sample[_unbeaten(points[sample])]
        best = ~_reached(points[sample], points)
        best[sample] = True
        if best.mean() < 1 / 2:  # else the sample says little about the others
            best[best] = _unbeaten(points[best])
            return best
    first, second = points[: len(points) // 2], points[len(points) // 2 :]
    best, rest = _unbeaten(first), _unbeaten(second)
    rest[rest] = ~_reached(first[best][:, 1:], second[rest][:, 1:])
    return np.concatenate([best, rest])


def _at_most(points: Array, others: Array) -> Array:
    """Which of the points, in rows, are at most as large in all columns as which of the others, in columns."""
    import numpy as np

    columns = zip(points.T, others.T, strict=True)
    return np.asarray(np.logical_and.reduce([np.less_equal.outer(one, other) for one, other in columns]))


def _reached(points: Array, others: Array) -> Array:
    """Which of the others have a point that is at most as large in all columns."""
    import numpy as np

    if not len(points) or not len(others):
        return np.zeros(len(others), bool)
    if points.shape[1] == 2:  # noqa: PLR2004 - the lowest second value of all points up to the first value decides
        points = points[np.argsort(points[:, 0])]
        place = np.searchsorted(points[:, 0], others[:, 0], side="right")
        lowest = np.minimum.accumulate(points[:, 1])
        return (place > 0) & (lowest[place - 1] <= others[:, 1])
    if len(points) * len(others) <= MAX_PAIRS:
        return np.asarray(_at_most(points, others).any(axis=0))
    firsts = np.concatenate([points[:, 0], others[:, 0]])
    if firsts.min() == firsts.max():
        return _reached(points[:, 1:], others[:, 1:])
    middle = min(int(np.median(firsts)), int(firsts.max()) - 1)
    low, under = points[:, 0] <= middle, others[:, 0] <= middle
    reached = np.empty(len(others), bool)
    reached[under] = _reached(points[low], others[under])
    reached[~under] = _reached(points[low][:, 1:], others[~under][:, 1:])
    still = np.flatnonzero(~under)[~reached[~under]]
    reached[still] = _reached(points[~low], others[still])
    return reached

"""Exact linear algebra: the rank of integer matrices, many at a time, and a product of columns and rows of one."""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["column_row_terms", "exact_ranks", "whole_numbers"]

INT64_BITS: Final = 62
"""A difference of two products stays below 2**63 when each product is below 2**62."""
PRIME: Final = 2**31 - 1
"""Products of two remainders are below 2**62."""


def exact_ranks(stack: Any) -> NDArray[np.int64]:  # noqa: ANN401 - an array-like of ints, which NumPy may hold as objects
    """The rank of every integer matrix of a stack, exact.

    Fraction-free elimination (Bareiss 1968, Sylvester's Identity and Multistep Integer-Preserving Gaussian
    Elimination) with full pivoting, on all matrices at once. Every intermediate number is a minor of its matrix, so
    Hadamard's bound tells whether int64 holds the products; else the same lines run on Python ints, but for matrices
    of full rank modulo a prime: a minor that is not 0 there is not 0.

    Args:
        stack: integers of shape (n, height, width), n may be 0.

    Returns:
        n ranks.

    >>> exact_ranks([[[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]]).tolist()
    [1, 2]
    """
    import numpy as np

    work = stack if isinstance(stack, np.ndarray) else np.array(stack, dtype=object)  # NumPy may round a list's ints
    least = min(work.shape[1:])
    largest = max((abs(int(work.min())), abs(int(work.max()))), default=0) if work.size else 0
    norm_bits = largest.bit_length() + (least.bit_length() + 1) / 2  # log2 of the longest row of a minor
    work = work.astype(np.int64 if 2 * least * norm_bits <= INT64_BITS else object)  # a copy, which is worked on
    if work.dtype != object:
        return _pivots(work, np.floor_divide)
    ranks = _pivots((work % PRIME).astype(np.int64), lambda below, _: below % PRIME)
    unsure = ranks < least
    if unsure.any():
        ranks[unsure] = _pivots(work[unsure], np.floor_divide)
    return ranks


def _pivots(work: NDArray[Any], lessen: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> NDArray[np.int64]:
    """How many pivots the elimination of each matrix finds.

    Args:
        work: of shape (n, height, width); is overwritten.
        lessen: makes the numbers of a step smaller, given the pivots of the step before, which divide them.
    """
    import numpy as np

    count, height, width = work.shape
    previous = np.ones((count, 1, 1), dtype=work.dtype)
    ranks = np.zeros(count, dtype=np.int64)
    each = np.arange(count)
    for step in range(min(height, width)):
        rest = (work[:, step:, step:] != 0).reshape(count, (height - step) * (width - step))
        alive = rest.any(axis=1)
        if not alive.any():
            break
        row, column = np.divmod(rest.argmax(axis=1), width - step)
        _swap(work, each, step, row + step)
        _swap(work.swapaxes(1, 2), each, step, column + step)
        pivot = np.where(alive, work[:, step, step], 1)[:, None, None]
        outer = work[:, step + 1 :, step, None] * work[:, None, step, step + 1 :]
        work[:, step + 1 :, step + 1 :] = lessen(pivot * work[:, step + 1 :, step + 1 :] - outer, previous)
        previous = pivot
        ranks += alive
    return ranks


def _swap(work: NDArray[Any], each: NDArray[np.int64], step: int, other: NDArray[np.int64]) -> None:
    """Exchange row `step` of every matrix with its row `other`."""
    kept = work[:, step].copy()
    work[:, step] = work[each, other]
    work[each, other] = kept


def column_row_terms(
    rows: Sequence[Sequence[int | Fraction]],
) -> list[tuple[tuple[Fraction, ...], tuple[Fraction, ...]]]:
    """Columns and rows whose outer products add up to the matrix, as many as its rank, exact.

    The columns are those of the matrix that hold a pivot, the rows those of its reduced echelon form.

    Args:
        rows: of the matrix, (height, width).

    Returns:
        (column of height numbers, row of width numbers), one pair for each unit of rank.

    >>> [[list(map(int, side)) for side in term] for term in column_row_terms([[0, 1, 0], [1, -4, 1], [0, 1, 0]])]
    [[[0, 1, 0], [1, 0, 1]], [[1, -4, 1], [0, 1, 0]]]
    """
    reduced = [[Fraction(entry) for entry in row] for row in rows]
    pivots: list[int] = []
    for column in range(len(rows[0])):
        top = len(pivots)
        found = next((i for i in range(top, len(reduced)) if reduced[i][column]), None)
        if found is None:
            continue
        reduced[top], reduced[found] = reduced[found], reduced[top]
        head = reduced[top][column]
        reduced[top] = [entry / head for entry in reduced[top]]
        for i, row in enumerate(reduced):
            if i != top and row[column]:
                times = row[column]
                reduced[i] = [entry - times * above for entry, above in zip(row, reduced[top], strict=True)]
        pivots.append(column)
    columns = [tuple(Fraction(row[pivot]) for row in rows) for pivot in pivots]
    return list(zip(columns, map(tuple, reduced[: len(pivots)]), strict=True))


def whole_numbers(rows: Sequence[Sequence[int | Fraction]]) -> list[list[int]]:
    """Each row times the least number that makes its entries whole: the rank of the matrix is the same.

    >>> whole_numbers([[Fraction(1, 2), Fraction(1, 3)], [2, 4]])
    [[3, 2], [2, 4]]
    """
    scales = [lcm(*(Fraction(entry).denominator for entry in row)) for row in rows]
    return [[int(entry * scale) for entry in row] for row, scale in zip(rows, scales, strict=True)]

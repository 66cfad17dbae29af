"""Exact linear algebra: the rank of integer matrices, many at a time, and a product of columns and rows of one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm, sqrt
from typing import TYPE_CHECKING, Any, Final

from convcost.kernels.matrix import DOUBLE_EPS, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from convcost.kernels.matrix import Matrix


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


def column_row_terms(rows: Sequence[Sequence[Entry]]) -> list[tuple[tuple[Fraction, ...], tuple[Fraction, ...]]]:
    """The exact columns and rows whose outer products add up to a matrix, as many pairs as its rank.

    The columns are the pivot columns of the matrix, the rows are those of its reduced echelon form.

    >>> [[list(map(int, side)) for side in term] for term in column_row_terms([[0, 1, 0], [1, -4, 1], [0, 1, 0]])]
    [[[0, 1, 0], [1, 0, 1]], [[1, -4, 1], [0, 1, 0]]]
    """
    reduced = [[Fraction(entry) for entry in row] for row in rows]
    pivots: list[int] = []
    for column in range(len(rows[0])):
        top = len(pivots)
        pivot = next((i for i in range(top, len(reduced)) if reduced[i][column]), None)
        if pivot is None:
            continue
        reduced[top], reduced[pivot] = reduced[pivot], reduced[top]
        head = reduced[top][column]
        reduced[top] = [entry / head for entry in reduced[top]]
        for i, row in enumerate(reduced):
            if i != top and row[column]:
                times = row[column]
                reduced[i] = [entry - times * above for entry, above in zip(row, reduced[top], strict=True)]
        pivots.append(column)
    columns = [tuple(Fraction(row[pivot]) for row in rows) for pivot in pivots]
    return list(zip(columns, map(tuple, reduced[: len(pivots)]), strict=True))


def whole_numbers(rows: Sequence[Sequence[Entry]]) -> list[list[int]]:
    """Each row times the smallest number that makes its entries whole, which keeps the rank.

    >>> whole_numbers([[Fraction(1, 2), Fraction(1, 3)], [2, 4]])
    [[3, 2], [2, 4]]
    """
    scales = [lcm(*(Fraction(entry).denominator for entry in row)) for row in rows]
    return [[int(Fraction(entry) * scale) for entry in row] for row, scale in zip(rows, scales, strict=True)]


READABLE_DENOMINATOR: Final = 4096
"""A floating point kernel whose entries are fractions up to this denominator gets the factors of these fractions."""
MAX_EXACT_SIDE: Final = 15
"""Above this side, exact factors of a rank above 1 have too many digits to read; singular vectors are given instead."""


@dataclass(frozen=True, slots=True)
class Term:
    """scale × column × row: whole numbers without a common divisor if the kernel is exact, else a scale of 1."""

    scale: Entry
    column: tuple[Entry, ...]
    row: tuple[Entry, ...]

    @property
    def scaled_row(self) -> tuple[Entry, ...]:
        """The row times the scale."""
        return tuple(self.scale * entry for entry in self.row)

    def text(self, *, short: bool) -> str:
        """The product as text, such as `1/16 · [1 2 1]ᵀ · [1 2 1]`; floats have four digits if `short`, else all."""
        front = "" if self.scale == 1 else f"{_text(self.scale, short=short)} · "
        column, row = (" ".join(_text(one, short=short) for one in side) for side in (self.column, self.row))
        return f"{front}[{column}]ᵀ · [{row}]"


def readable_terms(matrix: Matrix, rank: int) -> list[Term]:
    """Terms of whole numbers with a scale; none if the entries are no simple fractions."""
    rows = matrix.entries if matrix.exact else _fractions(matrix)
    if not rows or (rank > 1 and max(matrix.height, matrix.width) > MAX_EXACT_SIDE):
        return []
    terms = column_row_terms(rows)
    return [_readable(*term) for term in terms] if len(terms) == rank else []


def _fractions(matrix: Matrix) -> tuple[tuple[Fraction, ...], ...] | None:
    """The entries as simple fractions, up to a few roundings; None if one is no simple fraction."""
    limit = min(READABLE_DENOMINATOR, int(matrix.eps**-0.5 / 8))  # few other numbers are that close to a fraction
    if max(matrix.height, matrix.width) > MAX_EXACT_SIDE:
        return None
    rows = tuple(tuple(_simple(Fraction(entry), limit) for entry in row) for row in matrix.entries)
    pairs = (
        (float(a), float(b))
        for given, near in zip(matrix.entries, rows, strict=True)
        for a, b in zip(given, near, strict=True)
    )
    few = 4 * max(matrix.eps, DOUBLE_EPS)
    return rows if all(abs(a - b) <= few * abs(a) for a, b in pairs) else None


def _simple(entry: Fraction, limit: int) -> Fraction:
    """The entry itself if it is a simple fraction such as 3/16, else the nearest with a limited denominator."""
    return entry if entry.denominator <= READABLE_DENOMINATOR else entry.limit_denominator(limit)


def _readable(column: Sequence[Fraction], row: Sequence[Fraction]) -> Term:
    """The same product as whole numbers without a common divisor, as few of them negative as possible."""
    column_scale, columns = _primitive(column)
    row_scale, rows = _primitive(row)
    scale = column_scale * row_scale
    if _flips(columns, rows):
        columns, rows = [-entry for entry in columns], [-entry for entry in rows]
    return Term(scale.numerator if scale.denominator == 1 else scale, tuple(columns), tuple(rows))


def _flips(column: Sequence[Entry], row: Sequence[Entry]) -> bool:
    """Whether to change both signs: for fewer negative numbers, or on a tie for a column that begins positive."""
    entries = [*column, *row]
    negative, positive = sum(entry < 0 for entry in entries), sum(entry > 0 for entry in entries)
    return negative > positive or (negative == positive and next(entry for entry in column if entry) < 0)


def _primitive(line: Sequence[Fraction]) -> tuple[Fraction, list[int]]:
    """A line as a positive scale times whole numbers without a common divisor."""
    scale = Fraction(gcd(*(entry.numerator for entry in line)), lcm(*(entry.denominator for entry in line)))
    return scale, [int(entry / scale) for entry in line]


def singular_terms(array: NDArray[np.float64], rank: int) -> list[Term]:
    """The first pairs of singular vectors, each times the root of its singular value."""
    import numpy as np

    left, values, right = np.linalg.svd(array, full_matrices=False)
    terms = []
    for i in range(rank):
        share = sqrt(float(values[i]))
        column, row = _without_dust(share * left[:, i]), _without_dust(share * right[i])
        sign = -1.0 if _flips(column.tolist(), row.tolist()) else 1.0
        terms.append(Term(1, tuple((sign * column + 0.0).tolist()), tuple((sign * row + 0.0).tolist())))
    return terms


def _without_dust(side: NDArray[np.float64]) -> NDArray[np.float64]:
    """The side with zeros for numbers below the rounding error of its largest."""
    import numpy as np

    return np.where(np.abs(side) < DOUBLE_EPS * np.abs(side).max(), 0.0, side)


def _text(entry: Entry, *, short: bool) -> str:
    return f"{entry:.4g}" if short and isinstance(entry, float) else str(entry)

"""Exact linear algebra: the rank of an integer matrix, and its sum of products of a column and a row."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm, sqrt
from operator import floordiv
from typing import TYPE_CHECKING, Final

from convcost.kernels.matrix import DOUBLE_EPS, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from convcost.kernels.matrix import Matrix


PRIME: Final = 2**31 - 1
MAX_EXACT: Final = 12
"""Characters of an integer or a fraction that is printed as one."""


def exact_rank(rows: Sequence[Sequence[int]]) -> int:
    """The rank of a matrix of integers, exact.

    1. Elimination modulo a prime gives a lower bound, since a minor that is not 0 modulo the prime is not 0. Most
       matrices of full rank are decided here, in small numbers.
    2. All others are decided by fraction-free elimination, whose numbers are minors of the matrix (Bareiss 1968,
       Sylvester's Identity and Multistep Integer-Preserving Gaussian Elimination).

    Args:
        rows: Python integers, (height, width).

    >>> exact_rank([[1, 0, -1], [2, 0, -2], [1, 0, -1]]), exact_rank([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    (1, 2)
    """
    rank = _count_pivots([[entry % PRIME for entry in row] for row in rows], lambda entry, _: entry % PRIME)
    return rank if rank == min(len(rows), len(rows[0])) else _count_pivots(list(map(list, rows)), floordiv)


def _count_pivots(work: list[list[int]], lessen: Callable[[int, int], int]) -> int:
    """Number of pivots of an elimination.

    Args:
        work: Rows of the matrix, which are overwritten.
        lessen: Function that makes an entry of a step smaller, given the pivot of the previous step, which divides it.
    """
    rank, previous = 0, 1
    for column in range(len(work[0])):
        chosen = next((i for i in range(rank, len(work)) if work[i][column]), None)
        if chosen is None:
            continue
        work[rank], work[chosen] = work[chosen], work[rank]
        top = work[rank]
        pivot = top[column]
        for row in work[rank + 1 :]:
            head = row[column]
            row[:] = [lessen(pivot * entry - head * above, previous) for entry, above in zip(row, top, strict=True)]
        rank, previous = rank + 1, pivot
    return rank


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


ROUNDINGS: Final = 16
"""Rounding errors as a multiple of NumPy's for `matrix_rank`, max(k_h, k_w)·eps: entries may be a few roundings off."""
MAX_DUST: Final = 1e-9
"""Largest share of a singular vector's largest number that is taken for a rounding error."""
READABLE_DENOMINATOR: Final = 4096
"""Largest denominator of the fractions that entries of a floating point kernel are taken for."""
MAX_EXACT_SIDE: Final = 15
"""Largest side of a kernel of rank 2 or more with exact factors; those of larger ones have too many digits to read."""


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
        front = "" if self.scale == 1 else f"{entry_text(self.scale, short=short)} · "
        column, row = (" ".join(entry_text(one, short=short) for one in side) for side in (self.column, self.row))
        return f"{front}[{column}]ᵀ · [{row}]"


def readable_terms(matrix: Matrix, rank: int) -> list[Term]:
    """Terms of whole numbers with a scale; none if the entries are no simple fractions."""
    rows = matrix.entries if matrix.exact else _fractions(matrix)
    if not rows or (rank > 1 and max(matrix.height, matrix.width) > MAX_EXACT_SIDE):
        return []
    terms = column_row_terms(rows)
    return [_readable(*term) for term in terms] if len(terms) == rank else []


def _fractions(matrix: Matrix) -> tuple[tuple[Fraction, ...], ...] | None:
    """The entries as simple fractions, within a few roundings; None if one is not close to any."""
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
    """A column and a row as whole numbers without a common divisor, as few of them negative as possible."""
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
    """The first pairs of singular vectors, each times the root of its singular value.

    A number that may be the rounding error of a 0 is 0: an error in the matrix moves a singular vector by as much,
    divided by the distance to the nearest other singular value (Wedin 1972).
    """
    import numpy as np

    left, values, right = np.linalg.svd(array, full_matrices=False)
    terms = []
    for i in range(rank):
        share = sqrt(float(values[i]))
        gap = min(abs(float(values[i]) - float(other)) for other in (*values[:i], *values[i + 1 :], 0.0))
        dust = rounding_share(len(left), right.shape[1], DOUBLE_EPS) * float(values[0]) / gap if gap else 1.0
        sides = (share * left[:, i], share * right[i])
        column, row = (_without_dust(side, min(dust, MAX_DUST)) for side in sides)
        sign = -1.0 if _flips(column.tolist(), row.tolist()) else 1.0
        terms.append(Term(1, tuple((sign * column + 0.0).tolist()), tuple((sign * row + 0.0).tolist())))
    return terms


def rounding_share(height: int, width: int, eps: float) -> float:
    """The share of the largest singular value up to which another may come from rounding alone."""
    return ROUNDINGS * max(height, width) * eps


def _without_dust(side: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The side with zeros for numbers below this share of its largest."""
    import numpy as np

    return np.where(np.abs(side) < share * np.abs(side).max(), 0.0, side)


def entry_text(entry: Entry, *, short: bool) -> str:
    """A number as text; floats, and exact ones of many digits, have four digits if `short`, else all."""
    is_long = isinstance(entry, float) or len(str(entry)) > MAX_EXACT
    return f"{float(entry):.4g}" if short and is_long else str(entry)

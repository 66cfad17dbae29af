"""A kernel as a sum of columns times rows: whole numbers where they exist, else singular vectors."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm, sqrt
from typing import TYPE_CHECKING, Final

from convcost.kernels.elimination import column_row_terms
from convcost.kernels.matrix import DOUBLE_EPS, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from convcost.kernels.matrix import Matrix

__all__ = ["Term", "readable_terms", "singular_terms"]

READABLE_DENOMINATOR: Final = 4096
"""Entries of a floating point kernel that are fractions up to this denominator get the factors of the fractions."""
MOST_EXACT_SIDE: Final = 15
"""Beyond this side the exact factors of a rank above 1 have too many digits to be read; the singular vectors serve."""


@dataclass(frozen=True, slots=True)
class Term:
    """scale × column × row: whole numbers without a common divisor where the kernel is exact, else scale 1."""

    scale: Entry
    column: tuple[Entry, ...]
    row: tuple[Entry, ...]

    @property
    def scaled_row(self) -> tuple[Entry, ...]:
        """The row with the scale multiplied in."""
        return tuple(self.scale * entry for entry in self.row)

    def text(self, *, short: bool) -> str:
        """As in `1/16 · [1 2 1]ᵀ · [1 2 1]`.

        Args:
            short: four digits of a float; else all that it takes to have it again.
        """
        front = "" if self.scale == 1 else f"{_text(self.scale, short=short)} · "
        column, row = (" ".join(_text(one, short=short) for one in side) for side in (self.column, self.row))
        return f"{front}[{column}]ᵀ · [{row}]"


def readable_terms(matrix: Matrix, rank: int) -> list[Term]:
    """Terms of whole numbers and a scale; none where the entries are no simple fractions."""
    rows = matrix.entries if matrix.exact else _fractions(matrix)
    if not rows or (rank > 1 and max(matrix.height, matrix.width) > MOST_EXACT_SIDE):
        return []
    terms = column_row_terms(rows)  # type: ignore[arg-type]  # exact: no floats
    return [_readable(*term) for term in terms] if len(terms) == rank else []


def _fractions(matrix: Matrix) -> tuple[tuple[Fraction, ...], ...] | None:
    """The simple fractions that the entries are, up to a few roundings; None where one is none."""
    limit = min(READABLE_DENOMINATOR, int(matrix.eps**-0.5 / 8))  # so that few numbers are one by chance
    if max(matrix.height, matrix.width) > MOST_EXACT_SIDE:
        return None
    rows = tuple(tuple(_simple(Fraction(entry), limit) for entry in row) for row in matrix.entries)
    near = [float(entry) for row in rows for entry in row]
    given = [float(entry) for row in matrix.entries for entry in row]
    few = 4 * max(matrix.eps, DOUBLE_EPS)
    return rows if all(abs(a - b) <= few * abs(a) for a, b in zip(given, near, strict=True)) else None


def _simple(entry: Fraction, limit: int) -> Fraction:
    """The entry where it is a simple fraction itself, as 3/16 is; else the nearest of this denominator or less."""
    return entry if entry.denominator <= READABLE_DENOMINATOR else entry.limit_denominator(limit)


def _readable(column: Sequence[Fraction], row: Sequence[Fraction]) -> Term:
    """The same product as whole numbers without a common divisor, as few of them negative as can be."""
    column_scale, columns = _primitive(column)
    row_scale, rows = _primitive(row)
    scale = column_scale * row_scale
    if _flips(columns, rows):
        columns, rows = [-entry for entry in columns], [-entry for entry in rows]
    return Term(scale.numerator if scale.denominator == 1 else scale, tuple(columns), tuple(rows))


def _flips(column: Sequence[Entry], row: Sequence[Entry]) -> bool:
    """Whether both signs should change: fewer negative numbers, or on a tie a column that begins positive."""
    entries = [*column, *row]
    negative, positive = sum(entry < 0 for entry in entries), sum(entry > 0 for entry in entries)
    return negative > positive or (negative == positive and next(entry for entry in column if entry) < 0)


def _primitive(line: Sequence[Fraction]) -> tuple[Fraction, list[int]]:
    """A positive scale and whole numbers without a common divisor."""
    scale = Fraction(gcd(*(entry.numerator for entry in line)), lcm(*(entry.denominator for entry in line)))
    return scale, [int(entry / scale) for entry in line]


def singular_terms(array: NDArray[np.float64], rank: int) -> list[Term]:
    """The first singular vectors, the singular value shared between both."""
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
    """Numbers below the rounding of the largest are zeros of the kernel."""
    import numpy as np

    return np.where(np.abs(side) < DOUBLE_EPS * np.abs(side).max(), 0.0, side)


def _text(entry: Entry, *, short: bool) -> str:
    return f"{entry:.4g}" if short and isinstance(entry, float) else str(entry)

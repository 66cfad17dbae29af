"""Whether a kernel is spatially separable: rank, factors, and what a product of factors would save.

A k_h × k_w kernel is a column times a row exactly when its matrix has rank 1; rank r takes r columns and r rows, which
cost r·(k_h + k_w) products a pixel for k_h·k_w. The error of the best approximation by r of them comes from the
singular values (Eckart, Young 1936, The Approximation of One Matrix by Another of Lower Rank).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convcost.kernels.factors import exact_ranks, readable_terms, singular_terms, whole_numbers
from convcost.kernels.matrix import Matrix, matrix_of
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convcost.kernels.factors import Term
    from convcost.kernels.matrix import Entry

__all__ = ["Factors", "Separation", "best_factors", "products_after", "rank_tolerance", "separate_matrix"]

ROUNDINGS: Final = 16
"""Times max(k_h, k_w)·eps, NumPy's own rule for `matrix_rank`: room for entries a few roundings off (exp, a mean)."""
MOST_TERMS: Final = 5
MOST_NUMBERS: Final = 15
"""More terms, or more numbers on a side, are not printed; JSON and CSV have them."""
COARSE_EPS: Final = 1e-6
"""Numbers coarser than this are those of half precision and less."""
INT64_LARGEST: Final = 2**63 - 1


class Factors(NamedTuple):
    """A column and a row, and the relative Frobenius error of their product."""

    column: NDArray[Any]
    row: NDArray[Any]
    error: float


@dataclass(frozen=True, slots=True)
class Separation:
    """What there is to know about one kernel.

    Attributes:
        name: of the kernel.
        height: k_h.
        width: k_w.
        rank: the least number of column × row products that make the kernel.
        tolerance: the singular values up to this share of the largest count as 0; 0 where the rank is exact.
        exact: whether the rank was decided by elimination, not by singular values.
        terms: `rank` products whose sum is the kernel.
        singular_values: min(k_h, k_w) of them, falling.
        errors: of the best approximation of rank 1, 2, ... min(k_h, k_w): Frobenius norm, relative to the kernel's.
    """

    name: str
    height: int
    width: int
    rank: int
    tolerance: float
    exact: bool
    terms: tuple[Term, ...]
    singular_values: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def separable(self) -> bool:
        """Whether one column times one row is the kernel. A kernel of zeros is."""
        return self.rank <= 1

    @property
    def column(self) -> list[Any] | None:
        """The column of a separable kernel: ints where they exist; None for any other kernel."""
        if not self.separable:
            return None
        return [_plain(entry) for entry in self.terms[0].column] if self.terms else [0] * self.height

    @property
    def row(self) -> list[Any] | None:
        """The row of a separable kernel, so that column × row is the kernel; None for any other."""
        if not self.separable:
            return None
        return [_plain(entry) for entry in self.terms[0].scaled_row] if self.terms else [0] * self.width

    @property
    def rank1_error(self) -> float:
        """Relative Frobenius error of the best column times row."""
        return self.errors[0]

    @property
    def products_before(self) -> int:
        """Products a pixel of the kernel: k_h·k_w."""
        return self.height * self.width

    @property
    def products_after(self) -> int:
        """Products a pixel of the factors: rank·(k_h + k_w)."""
        return products_after(self.rank, self.height, self.width)

    @property
    def pays_up_to_rank(self) -> int:
        """The largest rank whose factors take fewer products than the kernel; from the next on it stops paying."""
        return (self.products_before - 1) // (self.height + self.width)

    @property
    def factors(self) -> str:
        """The terms as text, such as `[1 2 1]ᵀ · [1 0 -1]`."""
        return " + ".join(term.text(short=False) for term in self.terms) or "0"

    @property
    def short_factors(self) -> str:
        """The same for a line of a terminal: few digits, and of many numbers only how many there are."""
        if len(self.terms) > MOST_TERMS or max(self.height, self.width) > MOST_NUMBERS:
            return f"{number_of('column', len(self.terms))} times rows, of {self.height} and {self.width} numbers"
        return " + ".join(term.text(short=True) for term in self.terms) or "0"

    def to_dict(self) -> dict[str, Any]:
        """One entry of `kernels` in the JSON object of `convcost kernel`."""
        return {
            "name": self.name,
            "height": self.height,
            "width": self.width,
            "rank": self.rank,
            "separable": self.separable,
            "column": self.column,
            "row": self.row,
            "singular_values": list(self.singular_values),
            "rank1_error": self.rank1_error,
            "products_before": self.products_before,
            "products_after": self.products_after,
            "pays_up_to_rank": self.pays_up_to_rank,
            "errors": list(self.errors),
            "tolerance": self.tolerance,
            "exact": self.exact,
            "factors": self.factors,
        }


def products_after(rank: int, height: int, width: int) -> int:
    """Products a pixel of `rank` columns and rows."""
    return rank * (height + width)


def rank_tolerance(height: int, width: int, eps: float) -> float:
    """The share of the largest singular value up to which another counts as 0.

    Numbers of half precision and less are stored, not computed with: each is one rounding off, which moves a singular
    value by at most eps / 2 times the Frobenius norm (Weyl 1912), and that is at most √min(k_h, k_w) times the largest.

    Args:
        height: k_h.
        width: k_w.
        eps: the spacing of the entries' floating point numbers next to 1.
    """
    return ROUNDINGS * max(height, width) * eps if eps < COARSE_EPS else sqrt(min(height, width)) * eps / 2


def best_factors(kernel: object) -> Factors:
    """The column and the row that come closest to a kernel: what `convcost.separate` gives."""
    import numpy as np

    matrix = matrix_of(kernel)
    array = matrix.array()
    separation = separate_matrix(matrix)
    if separation.separable:
        column, row = _numbers(separation.column or []), _numbers(separation.row or [])
        if matrix.exact:
            return Factors(column, row, 0.0)
    else:
        term = singular_terms(array, 1)[0]
        column, row = np.array(term.column, float), np.array(term.row, float)
    return Factors(column, row, float(np.linalg.norm(array - np.outer(column, row)) / np.linalg.norm(array)))


def separate_matrix(matrix: Matrix, tolerance: float | None = None) -> Separation:
    """Rank, factors and errors of one kernel.

    Integers, fractions and short decimals are decided exactly, by elimination; floats by their singular values.

    Args:
        matrix: the kernel.
        tolerance: the share of the largest singular value up to which another counts as 0: `rank_tolerance` of the
            entries' precision by default. Where it is given, only integers are decided exactly.
    """
    import numpy as np

    array = matrix.array()
    values = np.linalg.svd(array, compute_uv=False)
    exact = matrix.exact if tolerance is None else matrix.whole
    if exact:
        share = 0.0
        rank = int(exact_ranks([whole_numbers(matrix.entries)])[0])  # type: ignore[arg-type]  # exact: no floats
        values[rank:] = 0.0
    else:
        share = rank_tolerance(matrix.height, matrix.width, matrix.eps) if tolerance is None else tolerance
        rank = int(np.sum(values > share * values[0])) if values[0] else 0
    terms = readable_terms(matrix, rank) or singular_terms(array, rank)
    return Separation(
        matrix.name,
        matrix.height,
        matrix.width,
        rank,
        share,
        exact,
        tuple(terms),
        tuple(map(float, values)),
        _errors(values),
    )


def _errors(values: NDArray[Any]) -> tuple[float, ...]:
    """sqrt(s_(r+1)² + ...) / sqrt(s_1² + ...) for r = 1, 2, ...; 0 for a kernel of zeros."""
    import numpy as np

    if not values[0]:
        return (0.0,) * len(values)
    squares = (values / values[0]) ** 2
    tails = np.append(np.cumsum(squares[::-1])[::-1][1:], 0.0)
    return tuple(float(sqrt(tail / squares.sum())) for tail in tails)


def _numbers(entries: Sequence[Any]) -> NDArray[Any]:
    import numpy as np

    whole = all(isinstance(entry, int) and abs(entry) <= INT64_LARGEST for entry in entries)
    return np.array(entries, np.int64 if whole else np.float64)


def _plain(entry: Entry) -> int | float:
    """A fraction as the nearest float; a number as it is."""
    return float(entry) if isinstance(entry, Fraction) else entry

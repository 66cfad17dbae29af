"""Whether a kernel is spatially separable: its rank, its factors, and their savings.

A k_h × k_w kernel is a column times a row exactly when its matrix has rank 1; rank r takes r columns and r rows, which
cost r·(k_h + k_w) products per pixel instead of k_h·k_w. The error of the best approximation of rank r comes from the
singular values (Eckart, Young 1936, The Approximation of One Matrix by Another of Lower Rank).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convcost.kernels.factors import exact_rank, readable_terms, rounding_share, singular_terms, whole_numbers
from convcost.kernels.matrix import Matrix, matrix_of
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convcost.kernels.factors import Term
    from convcost.kernels.matrix import Entry

MAX_TERMS: Final = 5
MAX_NUMBERS: Final = 15
"""Largest numbers of terms, and of entries on a side, of factors that are printed; JSON and CSV have all."""
COARSE_EPS: Final = 1e-6
"""Spacing of floating point numbers next to 1 above which they are of half precision or less."""
INT64_MAX: Final = 2**63 - 1


class Factors(NamedTuple):
    """A column and a row, and the relative Frobenius error of their product."""

    column: NDArray[Any]
    row: NDArray[Any]
    error: float


@dataclass(frozen=True, slots=True)
class Separation:
    """Rank, factors and errors of one kernel.

    Attributes:
        name: Name of the kernel.
        height: Rows of the kernel, k_h.
        width: Columns of the kernel, k_w.
        rank: Smallest number of column × row products that make the kernel.
        tolerance: Share of the largest singular value up to which others count as 0; 0 for an exact rank.
        exact: Whether the rank comes from elimination, not from singular values.
        terms: Products, `rank` of them, whose sum is the kernel.
        singular_values: All min(k_h, k_w) singular values, largest first.
        errors: Relative Frobenius error of the best approximation of rank 1, 2, ... min(k_h, k_w).
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
        """Whether one column times one row is the kernel, as for a kernel of zeros."""
        return self.rank <= 1

    @property
    def column(self) -> list[Any] | None:
        """The column of a separable kernel, of ints if possible; None for any other kernel."""
        if not self.separable:
            return None
        return [_plain(entry) for entry in self.terms[0].column] if self.terms else [0] * self.height

    @property
    def row(self) -> list[Any] | None:
        """The row of a separable kernel, which is column × row; None for any other kernel."""
        if not self.separable:
            return None
        return [_plain(entry) for entry in self.terms[0].scaled_row] if self.terms else [0] * self.width

    @property
    def rank1_error(self) -> float:
        """Relative Frobenius error of the best column times row."""
        return self.errors[0]

    def error_text(self, rank: int) -> str:
        """The error of the best approximation of this rank; 0 from the kernel's own rank on, where rounding is left."""
        return "0" if rank >= self.rank else f"{self.errors[rank - 1]:.3g}"

    @property
    def products_before(self) -> int:
        """Products per pixel of the kernel: k_h·k_w."""
        return self.height * self.width

    @property
    def products_after(self) -> int:
        """Products per pixel of the factors: rank·(k_h + k_w)."""
        return products_after(self.rank, self.height, self.width)

    @property
    def pays_up_to_rank(self) -> int:
        """The largest rank whose factors take fewer products than the kernel."""
        return (self.products_before - 1) // (self.height + self.width)

    @property
    def factors(self) -> str:
        """The terms as text, such as `[1 2 1]ᵀ · [1 0 -1]`."""
        return " + ".join(term.text(short=False) for term in self.terms) or "0"

    @property
    def short_factors(self) -> str:
        """The terms on one line of a terminal: few digits, or only the number of terms if they are long."""
        if len(self.terms) > MAX_TERMS or max(self.height, self.width) > MAX_NUMBERS:
            return f"{number_of('column', len(self.terms))} times rows, of {self.height} and {self.width} numbers"
        return " + ".join(term.text(short=True) for term in self.terms) or "0"


def products_after(rank: int, height: int, width: int) -> int:
    """Products per pixel of `rank` columns and rows."""
    return rank * (height + width)


def rank_tolerance(height: int, width: int, eps: float) -> float:
    """The share of the largest singular value up to which another counts as 0.

    Entries of half precision and less are taken as rounded once, not as results of a computation. One rounding moves a
    singular value by at most eps / 2 times the Frobenius norm (Weyl 1912), which is at most √min(k_h, k_w) times the
    largest. `eps` is the spacing of the entries' floating point numbers next to 1.
    """
    return rounding_share(height, width, eps) if eps < COARSE_EPS else sqrt(min(height, width)) * eps / 2


def best_factors(kernel: object) -> Factors:
    """The column and the row whose product is closest to a kernel."""
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

    The rank of integers, fractions and short decimals is exact, by elimination; that of floats comes from their
    singular values.

    Args:
        matrix: Kernel to separate.
        tolerance: Share of the largest singular value up to which another counts as 0; `rank_tolerance` of the entries'
            precision by default. If given, only the rank of integers is exact.
    """
    import numpy as np

    array = matrix.array()
    values = np.linalg.svd(array, compute_uv=False)
    exact = matrix.exact if tolerance is None else matrix.whole
    if exact:
        share = 0.0
        rank = exact_rank(whole_numbers(matrix.entries))
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

    whole = all(isinstance(entry, int) and abs(entry) <= INT64_MAX for entry in entries)
    return np.array(entries, np.int64 if whole else np.float64)


def _plain(entry: Entry) -> int | float:
    """A fraction as the nearest float; other numbers unchanged."""
    return float(entry) if isinstance(entry, Fraction) else entry

"""A count is a product of named factors, and the same factors are read three ways.

Multiplied they are the number, joined by name the formula, joined by value the formula with the numbers put in.
A factor is a Python int (exact, any size) or a NumPy int64 array (a sweep of layers in one go).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Factor", "Int", "Product", "Sum", "add", "holds", "multiply"]

Int: TypeAlias = int
"""A Python int, or a NumPy int64 array that is used like one (typed as int, so that NumPy stays outside the core)."""

INT64_SAFE: Final = 2.0**63 * (1 - 1e-9)
"""An exact count whose float64 approximation is below this fits into int64."""


def holds(condition: object) -> bool:
    """Whether a comparison of ints is true, or a comparison of arrays is true everywhere."""
    return bool(condition.all()) if hasattr(condition, "all") else bool(condition)


def multiply(values: Sequence[Int]) -> Int:
    """The exact product of ints, or of arrays element by element.

    Raises:
        ConvcostError: a product of arrays reaches 2**63, where int64 would wrap round. Python ints have no limit.
    """
    if all(isinstance(value, int) for value in values):
        return prod(int(value) for value in values)
    _refuse_overflow(prod(value * 1.0 for value in values))
    return prod(value if isinstance(value, int) else value.astype("int64") for value in values)


def add(values: Sequence[Int]) -> Int:
    """The exact sum of ints, or of arrays element by element; refuses as `multiply` does."""
    if not all(isinstance(value, int) for value in values):
        _refuse_overflow(sum(value * 1.0 for value in values))
    return sum(values)


def _refuse_overflow(magnitude: Any) -> None:  # noqa: ANN401 - a float array; naming its type would import NumPy
    if not holds(magnitude < INT64_SAFE):
        msg = (
            f"a count in this sweep (about {magnitude.max():.3g}) must be below 2**63; "
            "pass Python ints, one layer at a time."
        )
        raise ConvcostError(msg)


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of a product: its general name (`C_out`) and its value."""

    name: str
    value: Int

    def __str__(self) -> str:
        """The name; a value that carries a symbol of its own (`convolution.algebra`) prints that instead."""
        return str(getattr(self.value, "symbol", self.name))


@dataclass(frozen=True, slots=True)
class Product:
    """A product of factors: a number, a formula, and a formula with numbers, all from one tuple."""

    factors: tuple[Factor, ...]

    @property
    def value(self) -> Int:
        """The number, exact."""
        return multiply([factor.value for factor in self.factors])

    @property
    def numbers(self) -> str:
        """The formula with the numbers put in, such as `1 × 224 × 224 × 64`."""
        return " × ".join(f"{factor.value}" for factor in self.factors)

    def __str__(self) -> str:
        """The formula in symbols, such as `N × H_out × W_out × C_out`."""
        return " × ".join(str(factor) for factor in self.factors)

    def __add__(self, other: Product | Sum) -> Sum:
        """A sum of both, in this order."""
        return Sum((self,)) + other


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of products, read the same three ways."""

    terms: tuple[Product, ...]

    @property
    def value(self) -> Int:
        """The number, exact; 0 for no terms."""
        return add([term.value for term in self.terms])

    @property
    def numbers(self) -> str:
        """The formula with the numbers put in."""
        return " + ".join(term.numbers for term in self.terms) or "0"

    def __str__(self) -> str:
        """The formula in symbols."""
        return " + ".join(str(term) for term in self.terms) or "0"

    def __add__(self, other: Product | Sum) -> Sum:
        """A sum of both, in this order."""
        return Sum(self.terms + (other.terms if isinstance(other, Sum) else (other,)))

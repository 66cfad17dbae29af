"""Counts as products of named factors, which are read three ways.

Multiplied, they are the number; joined by name, the formula; joined by value, the formula with numbers.
A factor is a Python int (exact, any size) or a NumPy int64 array (a sweep of layers in one go).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from math import gcd, prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Int: TypeAlias = int
"""A Python int, or a NumPy int64 array that is used like one (typed as int, so that NumPy stays outside the core)."""

INT64_SAFE: Final = 2.0**63 * (1 - 1e-9)
"""Any exact count with a float64 approximation below this fits into int64."""
FLOAT_EXACT: Final = 2.0**53
"""Every whole number below this is a float64."""


class MixedError(ConvcostError):
    """A condition is true for some elements of arrays and false for others, so that they need different formulas.

    Args:
        condition: Array of booleans, with the axes of the arrays that were compared.
    """

    def __init__(self, condition: Any) -> None:  # noqa: ANN401 - a NumPy array; the core does not import NumPy
        self.condition = condition
        super().__init__(
            f"a condition (={condition.sum()} of {condition.size} elements) must be the same for all elements of "
            "arrays; pass the others on their own."
        )


def holds(condition: Any) -> bool:  # noqa: ANN401 - a bool or a NumPy array; the core does not import NumPy
    """Whether a comparison of ints, or of arrays in every element, is true.

    Raises:
        MixedError: The comparison of arrays is true for some elements only.
    """
    if isinstance(condition, bool):
        return condition
    if condition.all():
        return True
    if condition.any():
        raise MixedError(condition)
    return False


def multiply(values: Sequence[Int]) -> Int:
    """The exact product of ints, or of arrays element by element.

    Raises:
        ConvcostError: A product of arrays reaches 2**63, where int64 would overflow. Python ints have no limit, nor
            have arrays of them.
        MixedError: It does so in some elements only.
    """
    if all(isinstance(value, int) for value in values):
        return prod(int(value) for value in values)
    if any(map(_is_unlimited, values)):
        return _joined(operator.mul, values)
    if prod(_maximum(value) for value in values) >= INT64_SAFE:  # else no element can be too large
        _refuse_overflow(prod(value * 1.0 for value in values))
    whole = [value if isinstance(value, int) else value.astype("int64", copy=False) for value in values]
    return _joined(operator.mul, whole)


def times(value: Int, factor: Int) -> Int:
    """The product of two sizes, which keeps the expression of a `convolution.algebra.Symbol`."""
    return value * factor if isinstance(value, int) and isinstance(factor, int) else multiply((value, factor))


def add(values: Sequence[Int], most: Callable[[], float] | None = None) -> Int:
    """The exact sum of ints, or of arrays element by element, with the same limit as `multiply`.

    Args:
        values: Ints and arrays.
        most: Function that returns a number that no element of the sum is above, without a look at every element.
    """
    if all(isinstance(value, int) for value in values):
        return sum(values)
    is_limited = not any(map(_is_unlimited, values))
    if is_limited and (sum(map(_maximum, values)) if most is None else most()) >= INT64_SAFE:
        _refuse_overflow(sum(value * 1.0 for value in values))
    return _joined(operator.add, values)


def quotient(above: Int, below: Int) -> float:
    """The float that is nearest to the exact quotient of ints, or of arrays element by element."""
    if isinstance(above, int) and isinstance(below, int):
        return above / below
    if max(_maximum(above), _maximum(below)) < FLOAT_EXACT:
        return above / below
    # NumPy rounds each large int64 to a float before it divides; Python's ints are divided exactly, then rounded once.
    from numpy import asarray, float64

    return (asarray(above, dtype=object) / asarray(below, dtype=object)).astype(float64)


def largest(*values: Int) -> Int:
    """The largest of ints, or of arrays element by element."""
    if all(isinstance(value, int) for value in values):
        return max(values)
    from numpy import maximum

    return reduce(maximum, values)


def common_divisor(*values: Int) -> Int:
    """The greatest common divisor of ints, or of arrays element by element."""
    if all(isinstance(value, int) for value in values):
        return gcd(*values)
    import numpy as np

    return reduce(np.gcd, values)


def _joined(work: Callable[[Int, Int], Int], values: Sequence[Int]) -> Int:
    """A product or sum: first of the values of one shape each, then of the results, so that few of them are large."""
    by_shape: dict[tuple[int, ...], Int] = {}
    for value in values:
        shape = getattr(value, "shape", ())
        by_shape[shape] = work(by_shape[shape], value) if shape in by_shape else value
    return reduce(work, sorted(by_shape.values(), key=lambda value: getattr(value, "size", 0)))


def _is_unlimited(value: Int) -> bool:
    """Whether a value is an array of Python ints."""
    return not isinstance(value, int) and value.dtype.hasobject


def _maximum(value: Int) -> float:
    return float(value if isinstance(value, int) else value.max())


def _refuse_overflow(magnitude: Any) -> None:  # noqa: ANN401 - a NumPy array or a float; the core does not import NumPy
    if not holds(magnitude < INT64_SAFE):
        raise ConvcostError(
            f"a count in this sweep (about {magnitude.max():.3g}) must be below 2**63; "
            "pass Python ints, one layer at a time."
        )


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of a product, such as `C_out` with its value."""

    name: str
    value: Int

    def __str__(self) -> str:
        """The name, or the symbol of a value that carries one (`convolution.algebra`)."""
        return str(getattr(self.value, "symbol", self.name))


@dataclass(frozen=True, slots=True)
class Product:
    """A product of factors: number, formula, and formula with numbers."""

    factors: tuple[Factor, ...]

    @property
    def value(self) -> Int:
        """The exact number."""
        return multiply([factor.value for factor in self.factors])

    @property
    def most(self) -> float:
        """A number that no element is above: the product of the largest elements of the factors."""
        return prod(_maximum(factor.value) for factor in self.factors)

    @property
    def numbers(self) -> str:
        """The formula with numbers, such as `1 × 224 × 224 × 64`."""
        return " × ".join(str(factor.value) for factor in self.factors)

    def __str__(self) -> str:
        """The formula in symbols, such as `N × H_out × W_out × C_out`."""
        return " × ".join(map(str, self.factors))

    def __add__(self, other: Product | Sum) -> Sum:
        """A sum of both, in this order."""
        return Sum((self,)) + other


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of products, read in the same three ways."""

    terms: tuple[Product, ...]

    @property
    def value(self) -> Int:
        """The exact number; 0 without terms."""
        values = [term.value for term in self.terms]
        return add(values, lambda: sum(term.most for term in self.terms))

    @property
    def numbers(self) -> str:
        """The formula with numbers."""
        return " + ".join(term.numbers for term in self.terms) or "0"

    def __str__(self) -> str:
        """The formula in symbols."""
        return " + ".join(map(str, self.terms)) or "0"

    def __add__(self, other: Product | Sum) -> Sum:
        """A sum of both, in this order."""
        return Sum(self.terms + (other.terms if isinstance(other, Sum) else (other,)))

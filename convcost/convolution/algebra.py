"""Symbols that ride on ints, so that a block's own code writes its formula.

A block that is given `Symbol` sizes computes with them as with ints; the products of its stages then carry the
monomials that explain them, and the ratio of two blocks is a quotient of monomials.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from convcost.convolution.formula import Product

__all__ = ["Monomial", "Symbol", "factored", "monomial"]

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Monomial:
    """A coefficient times powers of named symbols, such as `1/4·C·K²`.

    Attributes:
        coefficient: an exact fraction.
        powers: (symbol, exponent) pairs in the order in which the symbols appeared; no exponent is 0.
        values: the number behind each symbol.
    """

    coefficient: Fraction = Fraction(1)
    powers: tuple[tuple[str, int], ...] = ()
    values: tuple[tuple[str, int], ...] = field(default=(), compare=False)

    def __mul__(self, other: Monomial) -> Monomial:
        """The product."""
        return self._combine(other, 1)

    def __truediv__(self, other: Monomial) -> Monomial:
        """The quotient; negative exponents are allowed."""
        return self._combine(other, -1)

    def _combine(self, other: Monomial, sign: int) -> Monomial:
        powers = dict(self.powers)
        for name, exponent in other.powers:
            powers[name] = powers.get(name, 0) + sign * exponent
        kept = tuple(sorted(((name, e) for name, e in powers.items() if e), key=_multipliers_first))
        return Monomial(
            self.coefficient * other.coefficient**sign, kept, tuple({**dict(self.values), **dict(other.values)}.items())
        )

    @property
    def value(self) -> Fraction:
        """The number, exact."""
        known = dict(self.values)
        result = self.coefficient
        for name, exponent in self.powers:
            result *= Fraction(known[name]) ** exponent
        return result

    def __str__(self) -> str:
        """In symbols, such as `m/K²`."""
        return self._text(str)

    @property
    def numbers(self) -> str:
        """With the numbers put in, such as `1/3²`."""
        known = dict(self.values)
        return self._text(lambda name: str(known[name]))

    def _text(self, write: Callable[[str], str]) -> str:
        above = [] if self.coefficient.numerator == 1 else [str(self.coefficient.numerator)]
        below = [] if self.coefficient.denominator == 1 else [str(self.coefficient.denominator)]
        for name, exponent in self.powers:
            power = "" if abs(exponent) == 1 else str(abs(exponent)).translate(_SUPERSCRIPTS)
            (above if exponent > 0 else below).append(write(name) + power)
        numerator = "·".join(above) or "1"
        if not below:
            return numerator
        return f"{numerator}/{below[0]}" if len(below) == 1 else f"{numerator}/({'·'.join(below)})"


def _multipliers_first(power: tuple[str, int]) -> bool:
    """Small letters (m, t, r) before capitals (C, O, K), as the field writes m·C; else the order of appearance."""
    return power[0][0].isupper()


class Symbol(int):
    """An int that knows its expression. Products and exact quotients keep it; other results are plain ints."""

    monomial: Monomial

    def __new__(cls, value: int, expression: str | Monomial) -> Symbol:  # noqa: PYI034 - int's own __new__ is alike
        """An int of this value, named by a symbol or a monomial."""
        symbol = super().__new__(cls, value)
        if isinstance(expression, str):
            expression = Monomial(powers=((expression, 1),), values=((expression, value),))
        symbol.monomial = expression
        return symbol

    @property
    def symbol(self) -> str:
        """The expression as text."""
        return str(self.monomial)

    def __mul__(self, other: int) -> int:
        """The product keeps the expression."""
        return Symbol(int(self) * int(other), self.monomial * _expression(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> int:
        """The quotient keeps the expression when it is exact and positive."""
        quotient, rest = divmod(int(self), int(other))
        return quotient if rest or not quotient else Symbol(quotient, self.monomial / _expression(other))


def _expression(value: int, name: str | None = None) -> Monomial:
    if isinstance(value, Symbol):
        return value.monomial
    if name is None:
        return Monomial(Fraction(value))
    return Monomial(powers=((name, 1),), values=((name, value),))


def monomial(product: Product) -> Monomial:
    """A product of factors as one monomial; a factor without a symbol of its own goes by its general name."""
    terms = (_expression(factor.value, None if factor.value == 1 else factor.name) for factor in product.factors)
    return reduce(Monomial.__mul__, terms, Monomial())


def _like_terms(terms: Iterable[Monomial]) -> tuple[Monomial, ...]:
    """Terms of equal powers added up."""
    merged: dict[tuple[tuple[str, int], ...], Monomial] = {}
    for term in terms:
        known = merged.get(term.powers)
        merged[term.powers] = term if known is None else replace(term, coefficient=term.coefficient + known.coefficient)
    return tuple(merged.values())


def factored(terms: Iterable[Monomial]) -> tuple[Monomial, tuple[Monomial, ...]]:
    """The common factor of some monomials (positive powers only), and what is left of each.

    Of m/O and m/K² the common factor is m, and 1/O and 1/K² are left.
    """
    listed = _like_terms(terms)
    first, *others = (dict(term.powers) for term in listed)
    shared = {
        name: min(exponent, *(powers.get(name, 0) for powers in others)) if others else 0
        for name, exponent in first.items()
    }
    powers = tuple((name, exponent) for name, exponent in shared.items() if exponent > 0)
    common = Monomial(powers=powers, values=listed[0].values)
    return common, tuple(term / common for term in listed)

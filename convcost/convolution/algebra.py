"""Ints that carry symbols, so that a block's own code writes its formula.

A block computes with `Symbol` sizes as with ints. The products of its stages then carry the monomials behind them, and
the ratio of two blocks is a quotient of monomials.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import reduce
from math import prod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from convcost.convolution.formula import Product

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Monomial:
    """A coefficient times powers of named symbols, such as `1/4·C·K²`.

    Attributes:
        coefficient: Exact fraction.
        powers: (symbol, exponent) pairs, in the order in which the symbols appeared; no exponent is 0.
        values: Number behind each symbol.
    """

    coefficient: Fraction = Fraction(1)
    powers: tuple[tuple[str, int], ...] = ()
    values: tuple[tuple[str, int], ...] = field(default=(), compare=False)

    def __mul__(self, other: Monomial) -> Monomial:
        """The product."""
        return self._combine(other, 1)

    def __truediv__(self, other: Monomial) -> Monomial:
        """The quotient, with negative exponents where needed."""
        return self._combine(other, -1)

    def _combine(self, other: Monomial, sign: int) -> Monomial:
        powers = dict(self.powers)
        for name, exponent in other.powers:
            powers[name] = powers.get(name, 0) + sign * exponent
        # Small letters (m, t, r) before capitals (C, O, K), as in m·C; else in the order of appearance.
        kept = sorted((power for power in powers.items() if power[1]), key=lambda power: power[0][0].isupper())
        values = {**dict(self.values), **dict(other.values)}
        return Monomial(self.coefficient * other.coefficient**sign, tuple(kept), tuple(values.items()))

    @property
    def value(self) -> Fraction:
        """The exact number."""
        known = dict(self.values)
        return self.coefficient * prod(Fraction(known[name]) ** exponent for name, exponent in self.powers)

    def __str__(self) -> str:
        """In symbols, such as `m/K²`."""
        return self._text(str)

    @property
    def numbers(self) -> str:
        """In numbers, such as `1/3²`."""
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


class Symbol(int):
    """An int with the expression behind it. Products and exact quotients keep one; other results are plain ints."""

    monomial: Monomial

    def __new__(cls, value: int, expression: str | Monomial) -> Self:
        """An int of this value behind a symbol or a monomial."""
        symbol = super().__new__(cls, value)
        symbol.monomial = _named(expression, value) if isinstance(expression, str) else expression
        return symbol

    @property
    def symbol(self) -> str:
        """The expression as text."""
        return str(self.monomial)

    def __mul__(self, other: int) -> int:
        """The product, with its expression."""
        return Symbol(int(self) * int(other), self.monomial * _expression(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> int:
        """The quotient, with its expression if it is exact and positive."""
        quotient, rest = divmod(int(self), int(other))
        return quotient if rest or not quotient else Symbol(quotient, self.monomial / _expression(other))


def _expression(value: int, name: str | None = None) -> Monomial:
    if isinstance(value, Symbol):
        return value.monomial
    return Monomial(Fraction(value)) if name is None else _named(name, value)


def _named(name: str, value: int) -> Monomial:
    return Monomial(powers=((name, 1),), values=((name, value),))


def monomial(product: Product) -> Monomial:
    """A product as one monomial; factors whose values carry no symbol have their general names, except factors of 1."""
    terms = (_expression(factor.value, None if factor.value == 1 else factor.name) for factor in product.factors)
    return reduce(Monomial.__mul__, terms, Monomial())


def _like_terms(terms: Iterable[Monomial]) -> tuple[Monomial, ...]:
    """The sums of terms with equal powers."""
    merged: dict[tuple[tuple[str, int], ...], Monomial] = {}
    for term in terms:
        known = merged.get(term.powers)
        merged[term.powers] = term if known is None else replace(term, coefficient=term.coefficient + known.coefficient)
    return tuple(merged.values())


def factored(terms: Iterable[Monomial]) -> tuple[Monomial, tuple[Monomial, ...]]:
    """The common factor of monomials (positive powers) and the rest of each: m, 1/O and 1/K² for m/O and m/K²."""
    listed = _like_terms(terms)
    first, *others = (dict(term.powers) for term in listed)
    shared = {
        name: min(exponent, *(powers.get(name, 0) for powers in others)) if others else 0
        for name, exponent in first.items()
    }
    powers = tuple((name, exponent) for name, exponent in shared.items() if exponent > 0)
    common = Monomial(powers=powers, values=listed[0].values)
    return common, tuple(term / common for term in listed)

"""Ints that carry symbols, so that a block's own code writes its formula.

A block computes with `Symbol` sizes as with ints. The products of its stages then carry the monomials behind them, and
the ratio of two blocks is a quotient of monomials.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import reduce
from math import prod
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from convcost.convolution.formula import Product

MIN_GROUPED: Final = 3
"""Number of terms from which a factor that only some of them share is taken out too."""
_PLACES: Final = {"N": 0, "H": 1, "OH": 1, "W": 2, "OW": 2, "C": 3, "K": 6}
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
    """The sums of terms with equal powers, in any order."""
    merged: dict[frozenset[tuple[str, int]], Monomial] = {}
    for term in terms:
        powers = frozenset(term.powers)
        known = merged.get(powers)
        merged[powers] = term if known is None else replace(term, coefficient=term.coefficient + known.coefficient)
    return tuple(merged.values())


def factored(terms: Iterable[Monomial]) -> tuple[Monomial, tuple[Monomial, ...]]:
    """The powers that all monomials share, and the rest of each: m, 1/O and 1/K² for m/O and m/K²."""
    listed = _like_terms(terms)
    shared = {}
    for name, _ in listed[0].powers if len(listed) > 1 else ():
        exponents = [dict(term.powers).get(name, 0) for term in listed]
        shared[name] = max(0, min(exponents)) or min(0, max(exponents))
    powers = tuple((name, exponent) for name, exponent in shared.items() if exponent)
    common = Monomial(powers=powers, values=listed[0].values)
    return common, tuple(term / common for term in listed)


def factored_text(terms: Iterable[Monomial], write: Callable[[Monomial], str] = str) -> str:
    """A sum of monomials as text, with common factors taken out.

    Args:
        terms: Monomials; those with equal powers are added.
        write: Function that writes one monomial, in symbols or in numbers.

    >>> c, o, k = (Monomial(powers=((name, 1),)) for name in "COK")
    >>> factored_text([c * k * k, c * o])
    'C·(K² + O)'
    """
    common, rest = factored(terms)
    text = " + ".join(_grouped(rest, write))
    return f"{write(common)}·({text})" if common.powers else text


def _grouped(terms: Sequence[Monomial], write: Callable[[Monomial], str]) -> list[str]:
    """Terms as text; of three or more, those that share the most frequent symbol are one product."""
    times = Counter(name for term in terms for name, exponent in term.powers if exponent > 0)
    shared = max(times, key=lambda name: (times[name], -paper_order(name)), default="")
    if len(terms) < MIN_GROUPED or times[shared] <= 1:
        return [write(term) for term in terms]
    inside = [term for term in terms if dict(term.powers).get(shared, 0) > 0]
    outside = _grouped([term for term in terms if term not in inside], write)
    product = [factored_text(inside, write)]
    return product + outside if terms[0] in inside else outside + product


def paper_order(name: str) -> int:
    """The place of a symbol in a formula of the papers: N, output sizes, C, a block's parameters, channels, kernel."""
    letter = name.partition("_")[0]
    return _PLACES.get(letter, 4 if letter.islower() else 5)


def in_paper_order(term: Monomial) -> Monomial:
    """The monomial with its factors in the order of the papers, as in `N·H·W·C·m·K²`."""
    return replace(term, powers=tuple(sorted(term.powers, key=lambda power: paper_order(power[0]))))

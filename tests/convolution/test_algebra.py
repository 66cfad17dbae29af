from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from convcost.convolution.algebra import Monomial, Symbol, factored, monomial
from convcost.convolution.formula import Factor, Product

SIZES = st.integers(min_value=1, max_value=10**6)


def symbol(name: str, value: int) -> Monomial:
    return Monomial(powers=((name, 1),), values=((name, value),))


def symbol_of(number: int) -> str:
    assert isinstance(number, Symbol)
    return str(number.symbol)


def test_a_symbol_is_an_int_that_writes_its_expression() -> None:
    c, m = Symbol(3, "C"), Symbol(2, "m")
    assert c * m == 6
    assert symbol_of(c * m) == "m·C"
    assert (c * m) // c == 2
    assert symbol_of((c * m) // c) == "m"


def test_an_inexact_quotient_is_a_plain_int() -> None:
    assert not isinstance(Symbol(7, "C") // 4, Symbol)
    assert Symbol(7, "C") // 4 == 1


def test_a_quotient_by_a_number_keeps_the_fraction() -> None:
    assert symbol_of(Symbol(8, "C") // 4) == "C/4"


def test_powers_and_quotients_are_written_as_the_field_writes_them() -> None:
    c, k, o = symbol("C", 3), symbol("K", 5), symbol("O", 64)
    assert str(c * k * k) == "C·K²"
    assert (c * k * k).numbers == "3·5²"
    assert str(c / (o * k)) == "C/(O·K)"
    assert str(Monomial() / o) == "1/O"


def test_the_common_factor_is_taken_out_and_like_terms_are_added() -> None:
    m, k, o = symbol("m", 2), symbol("K", 3), symbol("O", 64)
    common, rest = factored([m / o, m / (k * k)])
    assert (str(common), [str(term) for term in rest]) == ("m", ["1/O", "1/K²"])
    assert [str(term) for term in factored([m / o, m / o])[1]] == ["2·m/O"]


@given(SIZES, SIZES, SIZES)
def test_the_value_of_a_monomial_is_that_of_its_arithmetic(c: int, k: int, o: int) -> None:
    quotient = symbol("C", c) * symbol("K", k) * symbol("K", k) / symbol("O", o)
    assert quotient.value == Fraction(c * k * k, o)


def test_a_factor_without_a_symbol_goes_by_its_general_name() -> None:
    product = Product((Factor("N", Symbol(2, "N")), Factor("H_out", 7), Factor("K_w", 1)))
    assert str(monomial(product)) == "N·H_out"
    assert monomial(product).value == 14

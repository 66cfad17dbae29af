"""Exact ranks: against rational arithmetic, minors and determinants."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convcost
from convcost.kernels.factors import PRIME, column_row_terms, exact_rank, whole_numbers


def rational_rank(rows: list[list[int]]) -> int:
    """Gaussian elimination on Fractions, row by row: it shares no code with the package."""
    left, rank = [[Fraction(int(entry)) for entry in row] for row in rows], 0
    while left:
        row = left.pop()
        lead = next((i for i, entry in enumerate(row) if entry), None)
        if lead is None:
            continue
        rank += 1
        left = [[a - other[lead] / row[lead] * b for a, b in zip(other, row, strict=True)] for other in left]
    return rank


def all_small_matrices(first: int) -> np.ndarray:
    """Every 3×3 matrix with entries in -2 ... 2 whose first entry is this one: 390,625 of them."""
    digits = np.indices((5,) * 8, dtype=np.int8).reshape(8, -1).T - 2
    return np.concatenate([np.full((len(digits), 1), first), digits], axis=1).reshape(-1, 3, 3).astype(np.int64)


def minors_vanish(stack: np.ndarray) -> np.ndarray:
    """Whether all nine 2×2 minors are 0, which is what rank 1 or 0 means."""
    pairs = [(0, 1), (0, 2), (1, 2)]
    minors = [stack[:, a, i] * stack[:, b, j] - stack[:, a, j] * stack[:, b, i] for a, b in pairs for i, j in pairs]
    return ~np.any(minors, axis=0)


def determinant(stack: np.ndarray) -> np.ndarray:
    """By the rule of Sarrus."""
    (a, b, c), (d, e, f), (g, h, i) = stack.transpose(1, 2, 0)
    return a * e * i + b * f * g + c * d * h - c * e * g - b * d * i - a * f * h


def test_every_3x3_matrix_of_small_integers_has_its_exact_rank() -> None:
    """Entries in -2 ... 2, all 1,953,125 up to the order and the signs of their rows, which no rank depends on."""
    half = [row for row in product(range(-2, 3), repeat=3) if row >= (0, 0, 0)]
    assert len(half) == 63
    stack = np.array(list(combinations_with_replacement(half, 3)))
    ranks = np.array([exact_rank(rows) for rows in stack.tolist()])
    assert np.array_equal(ranks <= 1, minors_vanish(stack))
    assert np.array_equal(ranks == 3, determinant(stack) != 0)


@pytest.mark.parametrize("first", range(-2, 3))
def test_every_3x3_matrix_of_small_integers_has_its_exact_factors(first: int) -> None:
    stack = all_small_matrices(first)
    assert len(stack) == 5**8
    separable = minors_vanish(stack)
    chosen = np.random.default_rng(first + 2).choice(len(stack), 4000, replace=False)  # 20,000 in the five cases
    ranks = np.array([exact_rank(rows) for rows in stack[chosen].tolist()])
    assert [rational_rank(rows) for rows in stack[chosen].tolist()] == ranks.tolist()
    assert np.array_equal(ranks <= 1, separable[chosen])
    assert np.array_equal(ranks == 3, determinant(stack[chosen]) != 0)
    for matrix in stack[separable]:
        assert rational_rank(matrix.tolist()) <= 1
        assert exact_rank(matrix.tolist()) <= 1
        column, row, error = convcost.separate(matrix)
        assert np.array_equal(np.outer(column, row), matrix)
        assert column.dtype == row.dtype == np.int64
        assert error == 0.0
    for matrix in stack[chosen[:200]][~separable[chosen[:200]]]:
        assert convcost.separate(matrix).error > 0


@given(st.integers(1, 5).flatmap(lambda w: st.lists(st.lists(st.integers(-9, 9), min_size=w, max_size=w), min_size=1, max_size=5)))  # fmt: skip
def test_ranks_of_any_shape_are_those_of_rational_arithmetic(rows: list[list[int]]) -> None:
    assert exact_rank(rows) == rational_rank(rows)


@pytest.mark.parametrize("large", [2**31, 2**62, 10**30])
def test_numbers_beyond_int64_do_not_wrap(large: int) -> None:
    assert exact_rank([[large, 1], [large * large, large]]) == 1
    assert exact_rank([[large, 1], [large * large - 1, large]]) == 2
    assert exact_rank([[2**63, -1], [1, 0]]) == 2


def test_a_multiple_of_the_prime_is_not_taken_for_0() -> None:
    assert exact_rank([[PRIME * 2**62, 0], [0, 1]]) == 2
    assert exact_rank([[PRIME**3, 1], [PRIME**4, PRIME]]) == 1
    assert exact_rank([[PRIME**3, 1], [1, 0]]) == 2


def test_a_large_matrix_of_fractions_is_decided_modulo_a_prime() -> None:
    """By elimination on the whole numbers alone this takes minutes."""
    fractions = np.random.default_rng(0).integers(1, 1000, (63, 63, 2)).tolist()
    rows = [[Fraction(top, bottom) for top, bottom in row] for row in fractions]
    assert exact_rank(whole_numbers(rows)) == 63


@given(st.lists(st.lists(st.fractions(-4, 4, max_denominator=6), min_size=4, max_size=4), min_size=1, max_size=4))
def test_terms_add_up_to_the_matrix_and_are_as_many_as_its_rank(rows: list[list[Fraction]]) -> None:
    terms = column_row_terms(rows)
    assert len(terms) == exact_rank(whole_numbers(rows))
    total = [[sum((c[i] * r[j] for c, r in terms), Fraction(0)) for j in range(4)] for i in range(len(rows))]
    assert total == rows

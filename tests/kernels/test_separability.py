"""Rank, factors and errors: against arithmetic on paper and NumPy's SVD."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import convcost
from convcost.kernels.matrix import matrix_of
from convcost.kernels.named import named_kernel
from convcost.kernels.separability import rank_tolerance, separate_matrix
from convcost.kernels.text import parse_matrix

FLOATS = st.floats(-4, 4).filter(lambda x: x == 0 or abs(x) > 1e-6)
KERNELS = arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 5)), elements=FLOATS)


@pytest.mark.parametrize(
    ("text", "factors", "before", "after"),
    [
        ("1 0 -1; 2 0 -2; 1 0 -1", "[1 2 1]ᵀ · [1 0 -1]", 9, 6),
        ("-1 0 1; -2 0 2; -1 0 1", "[1 2 1]ᵀ · [-1 0 1]", 9, 6),
        ("1/16 2/16 1/16; 2/16 4/16 2/16; 1/16 2/16 1/16", "1/16 · [1 2 1]ᵀ · [1 2 1]", 9, 6),
        ("0.1 0.2; 0.3 0.6; 0 0", "1/10 · [1 3 0]ᵀ · [1 2]", 6, 5),
        ("2 4 6 8 10", "2 · [1]ᵀ · [1 2 3 4 5]", 5, 6),
        ("0 1 0; 1 -4 1; 0 1 0", "[0 1 0]ᵀ · [1 0 1] + [1 -4 1]ᵀ · [0 1 0]", 9, 12),
        ("0 0; 0 0", "0", 4, 0),
        ("0.1111111111111111 0.1111111111111111; 0.1111111111111111 0.1111111111111111", "1/9 · [1 1]ᵀ · [1 1]", 4, 4),
    ],
)
def test_factors_are_readable_where_they_exist(text: str, factors: str, before: int, after: int) -> None:
    found = separate_matrix(parse_matrix(text))
    assert found.factors == factors
    assert (found.products_before, found.products_after) == (before, after)


def test_the_column_and_the_row_of_a_scaled_kernel_multiply_to_it() -> None:
    found = separate_matrix(parse_matrix("0.25 0.5; 0.5 1"))
    assert found.column is not None
    assert found.row is not None
    assert np.array_equal(np.outer(found.column, found.row), [[0.25, 0.5], [0.5, 1]])
    assert separate_matrix(parse_matrix("1 2; 3 4")).column is None
    assert separate_matrix(parse_matrix("1 2; 3 4")).row is None


def test_separate_takes_integers_of_any_size() -> None:
    column, row, error = convcost.separate([[2**70, 2**71], [2**69, 2**70]])
    assert np.array_equal(np.outer(column, row), [[2.0**70, 2.0**71], [2.0**69, 2.0**70]])
    assert error == 0.0
    found = separate_matrix(matrix_of([[2**63 + 1, -1], [2**63 + 3, -1]]))
    assert found.rank == 2  # determinant -(2⁶³ + 1) + (2⁶³ + 3) = 2


def test_a_kernel_of_zeros_is_separable() -> None:
    found = separate_matrix(parse_matrix("0 0 0; 0 0 0"))
    assert (found.rank, found.separable, found.column, found.row) == (0, True, [0, 0], [0, 0, 0])
    assert found.errors == (0.0, 0.0)
    assert [part.tolist() for part in convcost.separate(np.zeros((2, 3)))[:2]] == [[0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("height", "width", "pays"), [(3, 3, 1), (2, 2, 0), (5, 5, 2), (7, 7, 3), (3, 7, 2), (1, 5, 0)]
)
def test_a_rank_pays_while_r_times_the_sum_is_below_the_product(height: int, width: int, pays: int) -> None:
    found = separate_matrix(matrix_of(np.arange(height * width).reshape(height, width) + 1))
    assert found.pays_up_to_rank == pays
    assert [r for r in range(1, 9) if r * (height + width) < height * width] == list(range(1, pays + 1))


def test_the_errors_of_the_laplacian_are_those_of_its_singular_values() -> None:
    found = separate_matrix(parse_matrix("0 1 0; 1 -4 1; 0 1 0"))
    assert found.singular_values == pytest.approx((2 + sqrt(6), sqrt(6) - 2, 0))  # eigenvalues -2 ± √6, 0
    assert found.rank1_error == pytest.approx((sqrt(6) - 2) / sqrt(20))
    assert found.errors[1:] == (0.0, 0.0)


@given(KERNELS)
def test_errors_are_those_of_truncated_svds(kernel: np.ndarray) -> None:
    found = separate_matrix(matrix_of(kernel) if kernel.any() else parse_matrix("1 2"))
    if not kernel.any():
        return
    u, s, v = np.linalg.svd(kernel, full_matrices=False)
    for rank in range(1, len(s) + 1):
        best = u[:, :rank] * s[:rank] @ v[:rank]
        expected = np.linalg.norm(kernel - best) / np.linalg.norm(kernel)
        assert found.errors[rank - 1] == pytest.approx(expected, abs=1e-13)


@given(KERNELS)
def test_no_column_and_row_come_closer_than_those_of_separate(kernel: np.ndarray) -> None:
    column, row, error = convcost.separate(kernel)
    assert column.shape + row.shape == kernel.shape
    norm = np.linalg.norm(kernel)
    if norm:
        rest = np.linalg.svd(kernel, compute_uv=False)[1:]
        assert error == pytest.approx(np.linalg.norm(rest) / norm, abs=1e-13)
        assert np.linalg.norm(kernel - np.outer(column, row)) / norm == pytest.approx(error, abs=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("seed", range(5))
def test_products_of_random_profiles_are_separable_in_every_precision(dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    column, row = rng.standard_normal(5), rng.standard_normal(7)
    product: Any = np.outer(column, row).astype(dtype)
    assert separate_matrix(matrix_of(product)).rank == 1
    assert separate_matrix(matrix_of(rng.standard_normal((5, 7)).astype(dtype))).rank == 5


def test_the_tolerance_decides_floats_and_stated_decimals_and_never_integers() -> None:
    nearly = parse_matrix("1 2; 2 4.001")
    assert separate_matrix(nearly).rank == 2
    assert separate_matrix(nearly).tolerance == 0
    assert separate_matrix(nearly, 1e-3).rank == 1
    assert separate_matrix(nearly, 1e-6).rank == 2
    assert separate_matrix(parse_matrix("1000 2000; 2000 4001"), 0.5).rank == 2
    assert rank_tolerance(3, 5, 2.0**-52) == 16 * 5 * 2.0**-52
    assert rank_tolerance(3, 5, 2.0**-10) == 3**0.5 * 2.0**-11  # half a spacing for each entry


def test_a_tolerance_of_0_is_no_exact_decision() -> None:
    floats = matrix_of(np.outer([0.1, 0.7], [0.3, 0.9]) + 0.1)
    assert (separate_matrix(floats, 0.0).tolerance, separate_matrix(floats, 0.0).exact) == (0.0, False)
    assert separate_matrix(parse_matrix("1 2; 2 4"), 0.0).exact
    assert separate_matrix(parse_matrix("1 2; 2 4")).exact is True


def test_whole_multiples_of_a_sixteenth_are_read_in_half_precision_too() -> None:
    found = separate_matrix(matrix_of(np.outer([1, 2, 1], [1, 2, 1]).astype(np.float16) / 16))
    assert found.factors == "1/16 · [1 2 1]ᵀ · [1 2 1]"


def test_many_numbers_are_counted_where_people_read_and_whole_where_programs_do() -> None:
    line = np.arange(1, 17)
    found = separate_matrix(matrix_of(np.outer(line, line)))
    assert found.short_factors == "1 column times rows, of 16 and 16 numbers"
    assert found.factors.startswith("[1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16]ᵀ · [1 2 3 ")
    floats = separate_matrix(matrix_of(np.outer([1.0, 2.0**0.5], [3.0**0.5, 1.0])))
    (term,) = floats.terms
    assert floats.factors == f"[{term.column[0]} {term.column[1]}]ᵀ · [{term.row[0]} {term.row[1]}]"
    assert len(floats.short_factors) < len(floats.factors)


def test_ranks_that_floats_cannot_see_are_seen_in_integers() -> None:
    large = 10**9
    assert separate_matrix(parse_matrix(f"{large} {large + 1}; {large - 1} {large}")).rank == 2  # determinant 1
    assert separate_matrix(parse_matrix(f"{large} {large}; {large} {large}")).rank == 1


def test_a_large_kernel_is_decided_too() -> None:
    line = np.arange(1, 128)
    found = separate_matrix(matrix_of(np.outer(line, line)))
    assert (found.rank, found.column, found.row) == (1, line.tolist(), line.tolist())


@pytest.mark.parametrize("theta", [0, 15, 45, 90, 180])
@pytest.mark.parametrize("wavelength", [2, 4, 6])
@pytest.mark.parametrize("size", [3, 7, 11])
def test_a_factor_that_is_0_is_exactly_0(theta: float, wavelength: float, size: int) -> None:
    matrix = named_kernel("gabor", theta=theta, wavelength=wavelength, size=size)
    terms = separate_matrix(matrix).terms
    for side in (side for term in terms for side in (term.column, term.row)):
        numbers = np.abs(np.array(side, float))
        assert not np.any((numbers > 0) & (numbers < 1e-9 * numbers.max()))
    product = sum(np.outer(np.array(term.column, float), np.array(term.row, float)) for term in terms)
    np.testing.assert_allclose(product, matrix.array(), atol=1e-12)


def test_a_small_factor_that_is_not_0_stays() -> None:
    (term,) = separate_matrix(matrix_of([[1e-10 * 2**0.5, 2**0.5], [1e-10, 1.0]])).terms
    assert 0 < float(term.row[0]) < 1e-9

"""Named kernels: what their sources say of them."""

from __future__ import annotations

from fractions import Fraction
from math import exp, pi

import numpy as np
import pytest

from convcost.kernels.kernel_file import find_kernel
from convcost.kernels.named import KERNELS, named_kernel
from convcost.kernels.separability import separate_matrix
from convcost.text.errors import ConvcostError

RANK_1 = {
    *("identity", "sobel", "sobel-y", "scharr", "scharr-y", "prewitt", "prewitt-y", "frei-chen"),
    *("box", "binomial", "gaussian", "gabor"),
}


@pytest.mark.parametrize("name", KERNELS)
def test_products_of_two_profiles_are_separable_and_no_other_kernel_is(name: str) -> None:
    found = separate_matrix(named_kernel(name))
    assert (found.rank == 1) == (name in RANK_1)
    total = sum(np.outer([float(c) for c in t.column], [float(r) for r in t.scaled_row]) for t in found.terms)
    np.testing.assert_allclose(total, named_kernel(name).array(), atol=1e-14)


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    assert KERNELS[name].summary.endswith(".")
    assert len(KERNELS[name].source) > 10


def test_derivatives_along_y_are_those_along_x_turned() -> None:
    for name in ("sobel", "scharr", "prewitt"):
        assert np.array_equal(named_kernel(f"{name}-y").array(), named_kernel(name).array().T)


@pytest.mark.parametrize("name", ["sobel", "scharr", "prewitt", "frei-chen", "laplacian", "laplacian8", "roberts"])
def test_derivatives_do_not_see_a_flat_image(name: str) -> None:
    assert named_kernel(name).array().sum() == 0


@pytest.mark.parametrize("name", ["box", "binomial", "gaussian"])
@pytest.mark.parametrize("size", [2, 3, 4, 7])
def test_averages_keep_a_flat_image(name: str, size: int) -> None:
    kernel = named_kernel(name, size=size).array()
    assert kernel.shape == (size, size)
    assert kernel.sum() == pytest.approx(1)
    assert separate_matrix(named_kernel(name, size=size)).rank == 1


def test_binomial_is_pascals_triangle() -> None:
    line = [1, 4, 6, 4, 1]
    assert named_kernel("binomial", size=5).entries == tuple(tuple(Fraction(a * b, 256) for b in line) for a in line)


def test_a_gaussian_falls_as_the_normal_distribution_and_reaches_3_sigma() -> None:
    kernel = named_kernel("gaussian", sigma=2.0).array()
    assert kernel.shape == (13, 13)  # 6 to each side
    assert kernel[6, 9] / kernel[6, 6] == pytest.approx(exp(-(3**2) / (2 * 2**2)))
    assert named_kernel("gaussian", size=3).array()[1, 0] / named_kernel("gaussian", size=3).array()[
        1, 1
    ] == pytest.approx(exp(-1 / (2 * 0.8**2)))  # OpenCV: sigma = 0.3·((3 - 1)·0.5 - 1) + 0.8


def test_a_laplacian_of_a_gaussian_has_the_depth_of_its_formula_and_rank_2() -> None:
    kernel = named_kernel("log", sigma=2.0)
    assert kernel.array()[6, 6] == pytest.approx(-1 / (pi * 2**4))
    assert separate_matrix(kernel).rank == 2  # g''(x)·g(y) + g(x)·g''(y)


def test_a_gabor_kernel_is_separable_along_the_axes_and_has_rank_2_between() -> None:
    assert separate_matrix(named_kernel("gabor")).rank == 1
    assert separate_matrix(named_kernel("gabor", theta=30.0)).rank == 2  # cos(a + b) = cos a·cos b - sin a·sin b
    assert separate_matrix(named_kernel("gabor", theta=30.0, gamma=0.5)).rank > 2  # the gaussian is turned too


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("sobell", {}, "did you mean sobel?"),
        ("x", {}, "known: identity, sobel"),
        ("sobel", {"size": 5}, "size (=5) must be a parameter of sobel, which has none; "),
        ("box", {"sigma": 1.0}, "sigma (=1.0) must be a parameter of box, which has size; "),
        ("box", {"size": 1}, "size (=1) must be a whole number from 2 to 127; "),
        ("box", {"size": 128}, "size (=128) must be a whole number from 2 to 127; "),
        ("gaussian", {"sigma": 0.0}, "sigma (=0.0) must be a finite number above 0; "),
        ("gaussian", {"sigma": float("nan")}, "sigma (=nan) must be a finite number above 0; "),
        ("gaussian", {"sigma": 0.01}, "sigma (=0.01) must be from 0.05 to 127 pixels; "),
        (
            "gaussian",
            {"sigma": 30.0},
            "sigma (=30) must leave room for 3 sigma to each side, 181 of 127 pixels; give size.",
        ),
        ("gabor", {"theta": float("inf")}, "theta (=inf) must be a finite number of degrees; "),
    ],
)
def test_names_and_parameters_that_are_none_are_refused(name: str, given: dict[str, float], message: str) -> None:
    with pytest.raises(ConvcostError) as error:
        find_kernel(name, given)
    assert message in str(error.value)


def test_parameters_go_with_names_alone() -> None:
    with pytest.raises(ConvcostError, match=r"sigma \(=2.0\) must go with a named kernel"):
        find_kernel("1 2; 3 4", {"sigma": 2.0, "size": None})


@pytest.mark.parametrize("sigma", [0.05, 21.0])
def test_extreme_gaussians_are_kernels(sigma: float) -> None:
    assert separate_matrix(named_kernel("gaussian", sigma=sigma)).rank == 1

"""Kernel and factors do the same, and cost what their layers cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses

import convcost.kernels.demonstration
from convcost.convolution.spec import Spec
from convcost.kernels.demonstration import agreement, as_layers, column_row_weights
from convcost.kernels.matrix import matrix_of
from convcost.kernels.named import KERNELS, named_kernel
from convcost.kernels.separability import separate_matrix
from convcost.kernels.text import parse_matrix


@pytest.mark.parametrize("name", KERNELS)
def test_factors_of_every_named_kernel_give_its_output(name: str) -> None:
    kernel = named_kernel(name)
    seen = agreement(kernel, separate_matrix(kernel), 40, 30)
    assert seen.size == (40, 30)
    assert seen.difference <= 1e-12 * max(1, seen.largest)
    assert (seen.difference == 0) or not kernel.whole  # whole numbers are multiplied without a rounding


def test_wrong_factors_are_seen() -> None:
    right = separate_matrix(parse_matrix("1 2; 2 4"))
    seen = agreement(parse_matrix("1 2; 2 5"), right, 16, 16)
    assert seen.difference == 255  # one pixel of the image times the entry that differs by 1


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (5, 1), (1, 6), (9, 7)])
def test_the_image_is_convolved_as_torch_does(shape: tuple[int, int]) -> None:
    kernel = np.random.default_rng(1).standard_normal(shape)
    image = np.random.default_rng(2).standard_normal((12, 10))
    ours = convcost.kernels.demonstration._convolved(image, kernel)
    (tall, wide), padded = shape, torch.from_numpy(image)[None, None]
    padded = F.pad(padded, ((wide - 1) // 2, wide // 2, (tall - 1) // 2, tall // 2))
    theirs = F.conv2d(padded, torch.from_numpy(kernel)[None, None])[0, 0]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)


def test_a_large_image_under_a_large_kernel_is_cut() -> None:
    line = np.ones((127, 127))
    seen = agreement(matrix_of(line), separate_matrix(matrix_of(line)), 20, 10**6)
    assert seen.size[0] == 20
    assert seen.size[0] * seen.size[1] * 127**2 <= convcost.kernels.demonstration.MAX_PRODUCTS


@pytest.mark.parametrize(("text", "rank"), [("1 2 1; 2 4 2; 1 2 1", 1), ("0 1 0; 1 -4 1; 0 1 0", 2), ("0 0; 0 0", 1)])
def test_layers_cost_products_times_pixels_times_channels(text: str, rank: int) -> None:
    found = separate_matrix(parse_matrix(text))
    tall, wide = found.height, found.width
    kernel, factors = as_layers(found, Spec(5, 5, (tall, wide), 12, 10))
    assert kernel.cost.macs == 12 * 10 * 5 * tall * wide
    assert factors.cost.macs == 12 * 10 * 5 * rank * (tall + wide)
    assert kernel.layers[0].output.sizes == factors.layers[1].output.sizes == (1, 5, 12, 10)
    columns, rows = column_row_weights(found)
    assert (columns.shape, rows.shape) == ((rank, 1, tall, 1), (1, rank, 1, wide))

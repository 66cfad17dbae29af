"""Singular values of layers: against NumPy's SVD of each kernel, and against pairs of convolutions that really run."""

from __future__ import annotations

from math import prod
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import nn

from convcost.convolution.conv import Conv
from convcost.convolution.cost import macs
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.nn.build.conv_module import conv_of
from convcost.nn.load.spectrum import ConvWeights, layer_row
from convcost.text.errors import ConvcostError


def row_of(module: nn.Module, tolerance: float | None = None) -> Any:
    return layer_row(
        ConvWeights("conv", type(module).__name__, conv_of(module), lambda: module.get_parameter("weight")), tolerance
    )


def test_ranks_and_energies_are_those_of_each_kernel_alone() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, (5, 3), bias=False)
    with torch.no_grad():
        conv.weight[0] = torch.outer(torch.randn(5), torch.randn(3))
        conv.weight[1] = 0
    found = row_of(conv)
    values = np.linalg.svd(conv.weight.detach().double().numpy().reshape(24, 5, 3), compute_uv=False)
    values = values[values[:, 0] > 0]
    shares = np.cumsum(values**2, 1) / (values**2).sum(1, keepdims=True)
    assert (found.spectrum.kernels, found.spectrum.zero_kernels, found.spectrum.rank1_kernels) == (24, 3, 3)
    for share, quartile in (
        (0.25, found.spectrum.energy_q25),
        (0.5, found.spectrum.energy_median),
        (0.75, found.spectrum.energy_q75),
    ):
        np.testing.assert_allclose(quartile, np.quantile(shares, share, axis=0), rtol=1e-6)
    assert list(found.spectrum.histogram) == np.histogram(shares[:, 0], 10, (0, 1))[0].tolist()
    assert sum(found.spectrum.histogram) == 21
    assert found.spectrum.tolerance == 16 * 5 * 2.0**-23


def pair_output(conv: nn.Conv2d, rank: int, image: torch.Tensor) -> torch.Tensor:
    """The layer by a K×1 and a 1×K convolution, from NumPy's SVD of each group's (C·k_h) × (O·k_w) matrix."""
    (tall, wide), groups = conv.kernel_size, conv.groups
    weight = conv.weight.detach().numpy().reshape(groups, -1, conv.in_channels // groups, tall, wide)
    columns, rows = [], []
    for part in weight:
        outputs, inputs = part.shape[:2]
        u, s, v = np.linalg.svd(part.transpose(1, 2, 0, 3).reshape(inputs * tall, outputs * wide), full_matrices=False)
        columns.append((u[:, :rank] * s[:rank]).T.reshape(rank, inputs, tall, 1))
        rows.append(v[:rank].reshape(rank, outputs, 1, wide).transpose(1, 0, 2, 3))
    column, row = torch.from_numpy(np.concatenate(columns)), torch.from_numpy(np.concatenate(rows))
    between = F.conv2d(image, column, stride=(conv.stride[0], 1), groups=groups)
    return F.conv2d(between, row, stride=(1, conv.stride[1]), groups=groups)


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "groups", "stride"),
    [(4, 6, (3, 3), 1, (1, 1)), (6, 4, (5, 3), 2, (2, 1)), (6, 6, (3, 3), 6, (1, 2)), (3, 16, (7, 7), 1, (2, 2))],
)
def test_the_pair_keeps_99_percent_of_the_energy_and_one_channel_less_does_not(
    channels: int, outputs: int, kernel: tuple[int, int], groups: int, stride: tuple[int, int]
) -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(channels, outputs, kernel, stride, groups=groups, bias=False).double()
    with torch.no_grad():
        conv.weight *= torch.linspace(1, 0.02, kernel[0])[:, None]  # so that fewer channels than all suffice
    found = row_of(conv)
    image = torch.randn(2, channels, 17, 15, dtype=torch.float64)
    conv.requires_grad_(requires_grad=False)
    whole = conv(image)
    assert torch.allclose(pair_output(conv, found.spectrum.pair_full_rank, image), whole)

    basis = torch.eye(channels * prod(kernel), dtype=torch.float64).reshape(-1, channels, *kernel)

    def lost(rank: int) -> float:
        """Of the layer's weights, seen as its answers to single pixels."""
        filters = conv(basis)
        return float((pair_output(conv, rank, basis) - filters).square().sum() / filters.square().sum())

    assert lost(found.spectrum.pair_rank) <= 0.01 < lost(found.spectrum.pair_rank - 1)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_transposed_convolution_has_the_pair_of_its_convolution(groups: int) -> None:
    torch.manual_seed(2)
    forward = nn.Conv2d(6, 12, (3, 5), groups=groups, bias=False)
    backward = nn.ConvTranspose2d(12, 6, (3, 5), groups=groups, bias=False)
    backward.weight = forward.weight  # the same tensor: (12, 6 / g, 3, 5) in both
    there, back = row_of(forward), row_of(backward)
    assert (back.conv.in_channels, back.conv.out_channels) == (12, 6)
    assert (there.spectrum.kernels, there.spectrum.energy_median) == (
        back.spectrum.kernels,
        back.spectrum.energy_median,
    )
    # the pair of the transposed one has C·k_h × O·k_w with C and O exchanged
    swapped = forward.weight.detach().unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    turned = nn.Conv2d(12, 6, (3, 5), groups=groups, bias=False)
    turned.weight = nn.Parameter(swapped.reshape(groups, 6 // groups, 12 // groups, 3, 5).flatten(0, 1).clone())
    assert row_of(turned).spectrum.pair_rank == back.spectrum.pair_rank


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_the_ratio_of_macs_is_that_of_placed_layers(stride: tuple[int, int], transposed: bool) -> None:  # noqa: FBT001
    torch.manual_seed(3)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    found = row_of(kind(8, 12, (3, 5), stride, groups=2, bias=False))
    between = 2 * found.spectrum.pair_rank
    first = Conv(8, between, (3, 1), (stride[0], 1), "valid", groups=2, transposed=transposed)
    second = Conv(between, 12, (1, 5), (1, stride[1]), "valid", groups=2, transposed=transposed)
    whole = Layer(
        "whole", Conv(8, 12, (3, 5), stride, "valid", groups=2, transposed=transposed), Shape(1, 8, (4003, 4005))
    )
    column = Layer("column", first, Shape(1, 8, (4003, 4005)))
    pair = macs(column).value + macs(Layer("row", second, column.output)).value
    assert found.macs_ratio == pytest.approx(macs(whole).value / pair, rel=2e-3)  # but for the borders
    assert found.params_after == between * 8 // 2 * 3 + 12 * between // 2 * 5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_separable_kernels_are_found_in_every_precision_and_random_ones_are_not(dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    conv = nn.Conv2d(16, 16, 3, bias=False)
    conv.weight = nn.Parameter(torch.randn(16, 16, 3, 1).double() * torch.randn(16, 16, 1, 3).double())
    conv.to(dtype)
    assert row_of(conv).spectrum.rank1_kernels == 256
    with torch.no_grad():
        conv.weight.copy_(torch.randn(16, 16, 3, 3))
    assert row_of(conv).spectrum.rank1_kernels <= 2
    assert row_of(conv, 0.999999).spectrum.rank1_kernels == 256


def test_a_layer_of_zeros_has_no_energy_and_no_pair() -> None:
    conv = nn.Conv2d(2, 2, 3, bias=False)
    nn.init.zeros_(conv.weight)
    found = row_of(conv)
    assert (found.spectrum.zero_kernels, found.spectrum.rank1_kernels, found.spectrum.pair_rank) == (4, 0, 0)
    assert found.spectrum.energy_median == ()
    assert found.macs_ratio == 2 * 2 * 9 / (2 * 3 + 2 * 3)  # a pair has at least one channel


@pytest.mark.parametrize("scale", [1e25, 1e-25])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_scale_of_the_weights_does_not_matter(scale: float, groups: int) -> None:
    """Their squares would leave the range of float32."""
    torch.manual_seed(6)
    conv = nn.Conv2d(8, 16, 3, groups=groups)
    before = row_of(conv).spectrum
    with torch.no_grad():
        conv.weight *= scale
    after = row_of(conv).spectrum
    assert (after.pair_rank, after.rank1_kernels, after.histogram) == (
        before.pair_rank, before.rank1_kernels, before.histogram,
    )  # fmt: skip
    assert after.energy_median == pytest.approx(before.energy_median)


def test_weights_that_are_not_there_or_sparse_are_refused() -> None:
    with pytest.raises(ConvcostError, match=r"layer \(=conv\) must have weights, not the meta device's; load them"):
        row_of(nn.Conv2d(2, 2, 3, device="meta"))
    sparse = ConvWeights("conv", None, Conv(2, 2, 3), lambda: torch.ones(2, 2, 3, 3).to_sparse())
    with pytest.raises(ConvcostError, match=r"must have real weights in floating point, not torch.sparse_coo"):
        layer_row(sparse)


def test_layouts_of_memory_do_not_matter() -> None:
    torch.manual_seed(5)
    conv = nn.Conv2d(8, 8, 3, groups=2)
    before = row_of(conv)
    assert row_of(cast("Any", conv).to(memory_format=torch.channels_last)) == before


def test_more_kernels_than_one_batch_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = nn.Conv2d(7, 9, 3)
    whole = row_of(conv)
    monkeypatch.setattr("convcost.nn.load.spectrum.CHUNK", 10)
    assert row_of(conv).spectrum.histogram == whole.spectrum.histogram
    assert row_of(conv).spectrum.energy_median == pytest.approx(whole.spectrum.energy_median)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    conv = nn.Conv2d(2, 2, 3)
    nn.init.constant_(conv.weight, value)
    with pytest.raises(ConvcostError, match=r"layer \(=conv\) must have finite weights"):
        row_of(conv)


def test_complex_weights_are_refused_and_the_threads_of_the_caller_come_back() -> None:
    torch.set_num_threads(2)
    with pytest.raises(ConvcostError, match=r"must have real weights in floating point, not torch.complex64"):
        row_of(nn.Conv2d(2, 2, 3, dtype=torch.complex64))
    assert torch.get_num_threads() == 2

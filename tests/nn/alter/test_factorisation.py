"""Weights of blocks from weights of convolutions: exact where the rank is that of the block, else the closest ones.

The products of the stages are worked out here by einsum, and singular values by NumPy; neither shares code with the package.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from convcost.changes.rank_choice import FACTORISED, RankChoice
from convcost.comparison.rows import place_block
from convcost.convolution.spec import Spec
from convcost.nn.alter.factorisation import ALGEBRAS, Factors, factorise
from convcost.nn.build.tree_module import build
from convcost.text.errors import ConvcostError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

HEIGHT, WIDTH = 13, 11
CHANNELS, OUTPUTS = 5, 6
TOLERANCES = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Some hundred roundings of each dtype for a sum of some tens of products."""
HYPER = {
    "plain": {"padding": 1},
    "stride, no padding, a bias": {"stride": (2, 1), "bias": True},
    "dilation, uneven padding, a bias": {"dilation": (1, 2), "padding": (1, 3), "bias": True},
}
PRODUCTS = {
    "low-rank": "rcij,or->ocij",
    "tucker-2": "mc,rmij,or->ocij",
    "spatially-separable": "rci,orj->ocij",
    "depthwise-separable": "crij,ocr->ocij",
    "shared-kernel-separable": "rij,ocr->ocij",
    "blueprint": "oc,oij->ocij",
}
"""The product of the weights of each block's stages, whose axes of size 1 are left out."""


def factor_sizes(block: str, kernel: tuple[int, int], rank: int, mid: int) -> list[tuple[int, ...]]:
    """The sizes of the factors of a weight."""
    axes = {"o": OUTPUTS, "c": CHANNELS, "i": kernel[0], "j": kernel[1], "r": rank, "m": mid}
    factors = PRODUCTS[block].partition("->")[0].split(",")
    return [tuple(axes[axis] for axis in factor) for factor in factors]


def weight_of_rank(block: str, rank: int, kernel: tuple[int, int]) -> Tensor:
    """A weight that is exactly a product of the block's stages."""
    sizes = factor_sizes(block, kernel, rank + 1 if block == "tucker-2" else rank, rank)
    return torch.einsum(PRODUCTS[block], *(torch.randn(*size, dtype=torch.float64) for size in sizes))


def product_of(block: str, factors: Factors, kernel: tuple[int, int] = (3, 3)) -> Tensor:
    """The product of the stages' weights in float64."""
    *others, rank = factors.parameters.values()
    sizes = factor_sizes(block, kernel, rank, next(iter(others), 0))
    stages = (stage.double().reshape(size) for stage, size in zip(factors.stages, sizes, strict=True))
    return torch.einsum(PRODUCTS[block], *stages)


def convolution(weight: Tensor, **hyper: Any) -> nn.Conv2d:
    kernel = (weight.shape[2], weight.shape[3])
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], kernel, **{"bias": False, **hyper})
    conv.weight = nn.Parameter(weight)
    return conv.to(weight.dtype).requires_grad_(requires_grad=False)


def built(block: str, conv: nn.Conv2d, factors: Factors) -> nn.Module:
    """The block in the convolution's place, with these weights."""
    sizes: Any = (conv.kernel_size, HEIGHT, WIDTH, 2, conv.stride, conv.dilation, conv.padding, conv.bias is not None)
    placed = place_block(block, Spec(conv.in_channels, conv.out_channels, *sizes), factors.parameters)
    module = build(placed.tree, placed.spec.input, dtype=conv.weight.dtype)
    factors.fill(module, conv.bias)
    return module.requires_grad_(requires_grad=False)


def relative(result: Tensor, expected: Tensor) -> float:
    return float((result.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("hyper", HYPER.values(), ids=HYPER)
@pytest.mark.parametrize("kernel", [(3, 3), (5, 2), (1, 4)])
@pytest.mark.parametrize("block", FACTORISED)
def test_a_weight_of_the_rank_of_the_block_gives_the_same_output(
    block: str, kernel: tuple[int, int], hyper: dict[str, Any], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    conv = convolution(weight_of_rank(block, 1, kernel).to(dtype), **hyper)
    factors = factorise("conv", conv.weight, block, RankChoice(rank=2))
    image = torch.randn(2, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64).to(dtype)
    assert factors.weight_error < TOLERANCES[dtype]
    assert relative(built(block, conv, factors)(image), conv(image)) < TOLERANCES[dtype]


@pytest.mark.parametrize("choice", [RankChoice(energy=1.0), RankChoice(max_error=1e-5)], ids=str)
@pytest.mark.parametrize("block", FACTORISED)
def test_the_smallest_rank_that_loses_nothing_is_the_rank_of_the_weight(block: str, choice: RankChoice) -> None:
    torch.manual_seed(1)
    for dtype in (torch.float64, torch.float32):
        conv = convolution(weight_of_rank(block, 2, (3, 3)).to(dtype))
        expected = {"tucker-2": {"mid_channels": 2, "rank": 3}, "blueprint": {"depth_multiplier": 1}}
        parameters = factorise("conv", conv.weight, block, choice).parameters
        assert parameters == expected.get(block, dict.fromkeys(parameters, 2))


def singular_values(block: str, weight: Tensor) -> np.ndarray[Any, Any]:
    """NumPy's singular values of the weight as the block's matrices, (B, min(m, n)), the largest first."""
    orders: dict[str, tuple[str, tuple[int, ...]]] = {
        "low-rank": ("ocij", (1, OUTPUTS, -1)),
        "spatially-separable": ("cijo", (1, CHANNELS * weight.shape[2], -1)),
        "depthwise-separable": ("coij", (CHANNELS, OUTPUTS, -1)),
        "shared-kernel-separable": ("ocij", (1, OUTPUTS * CHANNELS, -1)),
        "blueprint": ("ocij", (OUTPUTS, CHANNELS, -1)),
    }
    order, sizes = orders[block]
    matrices = torch.einsum(f"ocij->{order}", weight).reshape(sizes)
    return np.linalg.svd(matrices.double().numpy(), compute_uv=False)


@pytest.mark.parametrize("kernel", [(3, 3), (2, 5)])
@pytest.mark.parametrize("block", ALGEBRAS)
def test_the_error_is_that_of_the_discarded_singular_values(block: str, kernel: tuple[int, int]) -> None:
    """Eckart, Young 1936: no product of this rank is closer."""
    torch.manual_seed(2)
    weight = torch.randn(OUTPUTS, CHANNELS, *kernel, dtype=torch.float64)
    values = singular_values(block, weight)
    for rank in range(1, 2 if block == "blueprint" else values.shape[1]):
        factors = factorise("conv", weight, block, RankChoice(rank=rank))
        least = np.sqrt((values[:, rank:] ** 2).sum() / (values**2).sum())
        assert factors.weight_error == pytest.approx(least, rel=1e-9)
        assert relative(product_of(block, factors, kernel), weight) == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("energy", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("block", [name for name in ALGEBRAS if name != "blueprint"])
def test_the_smallest_rank_that_keeps_the_energy_is_chosen(block: str, energy: float) -> None:
    torch.manual_seed(3)
    weight = torch.randn(OUTPUTS, CHANNELS, 3, 3, dtype=torch.float64)
    shares = np.cumsum((singular_values(block, weight) ** 2).sum(0))
    (rank,) = factorise("conv", weight, block, RankChoice(energy=energy)).parameters.values()
    assert rank == 1 + int((shares < energy * shares[-1]).sum())
    by_error = factorise("conv", weight, block, RankChoice(max_error=(1 - energy) ** 0.5))
    assert list(by_error.parameters.values()) == [rank]
    assert by_error.weight_error <= (1 - energy) ** 0.5


def higher_order_error(weight: Tensor, r_in: int, r_out: int) -> float:
    """The relative error of the truncated higher-order SVD, by NumPy."""
    array = weight.numpy()
    writes = np.linalg.svd(array.reshape(OUTPUTS, -1))[0][:, :r_out]
    reads = np.linalg.svd(array.transpose(1, 0, 2, 3).reshape(CHANNELS, -1))[0][:, :r_in]
    closest = np.einsum("ocij,or,pr,cm,dm->pdij", array, writes, writes, reads, reads)
    return float(np.linalg.norm(array - closest) / np.linalg.norm(array))


@pytest.mark.parametrize("max_error", [0.2, 0.5, 0.8])
def test_the_ranks_of_tucker_2_are_those_with_the_fewest_weights(max_error: float) -> None:
    torch.manual_seed(4)
    weight = torch.randn(OUTPUTS, CHANNELS, 3, 3, dtype=torch.float64)
    factors = factorise("conv", weight, "tucker-2", RankChoice(max_error=max_error))
    sizes = {
        (r_in, r_out): CHANNELS * r_in + 9 * r_in * r_out + OUTPUTS * r_out
        for r_in, r_out in product(range(1, CHANNELS + 1), range(1, OUTPUTS + 1))
        if higher_order_error(weight, r_in, r_out) <= max_error
    }
    assert (factors.parameters["mid_channels"], factors.parameters["rank"]) == min(sizes, key=sizes.__getitem__)


def test_tucker_2_is_closer_than_the_truncated_higher_order_svd() -> None:
    torch.manual_seed(5)
    weight = torch.randn(OUTPUTS, CHANNELS, 3, 3, dtype=torch.float64)
    for rank in range(1, CHANNELS):
        factors = factorise("conv", weight, "tucker-2", RankChoice(rank=rank))
        assert factors.weight_error == pytest.approx(relative(product_of("tucker-2", factors), weight), rel=1e-9)
        assert factors.weight_error < higher_order_error(weight, rank, rank)


@pytest.mark.parametrize("block", FACTORISED)
def test_a_rank_above_that_of_the_layer_is_the_layers_own(block: str) -> None:
    conv = nn.Conv2d(CHANNELS, OUTPUTS, 3)
    factors = factorise("conv", conv.weight, block, RankChoice(rank=1000))
    assert factors.is_clipped
    full = {
        "low-rank": 6,
        "spatially-separable": 15,
        "depthwise-separable": 6,
        "shared-kernel-separable": 9,
        "blueprint": 1,
    }
    if block == "tucker-2":
        assert factors.parameters == {"mid_channels": CHANNELS, "rank": OUTPUTS}
    else:
        assert list(factors.parameters.values()) == [full[block]]
    assert (factors.weight_error < 1e-6) == (block != "blueprint")
    assert not factorise("conv", conv.weight, block, RankChoice(rank=1)).is_clipped


def test_a_block_that_cannot_keep_enough_says_how_much_it_keeps() -> None:
    weight = torch.zeros(1, 2, 1, 2)
    weight[0] = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])  # singular values 2 and 1 of its one matrix
    with pytest.raises(ShapeError, match=r"keeps 80 % of the energy at most, and at least 99 % of the energy is"):
        factorise("conv", weight, "blueprint", RankChoice())


@pytest.mark.parametrize("block", FACTORISED)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_weights_of_any_size_are_factorised(block: str, scale: float) -> None:
    torch.manual_seed(6)
    conv = convolution(weight_of_rank(block, 1, (3, 3)).float() * scale)
    factors = factorise("conv", conv.weight, block, RankChoice(rank=1 if block != "tucker-2" else 2))
    assert factors.weight_error < 2e-6
    assert all(bool(stage.isfinite().all()) for stage in factors.stages)
    assert torch.allclose(product_of(block, factors), conv.weight.double(), atol=1e-5 * scale)


@pytest.mark.parametrize("block", FACTORISED)
def test_the_largest_finite_weights_are_factorised(block: str) -> None:
    weight = torch.full((24, 12, 3, 3), torch.finfo(torch.float32).max)
    factors = factorise("conv", weight, block, RankChoice(rank=1))
    assert factors.weight_error < 2e-6
    assert all(bool(stage.isfinite().all()) for stage in factors.stages)


@pytest.mark.parametrize("block", FACTORISED)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_the_layers_name(block: str, value: float) -> None:
    conv = nn.Conv2d(2, 2, 3)
    with torch.no_grad():
        conv.weight[0, 0, 0, 0] = value
    with pytest.raises(ConvcostError, match=r"^layer \(=stem\.conv\) must have finite weights; it holds NaN or inf: "):
        factorise("stem.conv", conv.weight, block, RankChoice())


def test_weights_without_values_are_refused_with_a_next_step() -> None:
    with pytest.raises(ConvcostError, match=r"^layer \(=stem\) must have weights, not the meta device's; load them, "):
        factorise("stem", nn.Conv2d(2, 2, 3, device="meta").weight, "low-rank", RankChoice())


@pytest.mark.parametrize("block", FACTORISED)
def test_a_large_layer_is_worked_out_in_parts(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    conv = nn.Conv2d(CHANNELS, OUTPUTS, (3, 2), dtype=torch.float64)
    whole = factorise("conv", conv.weight, block, RankChoice(rank=1))
    monkeypatch.setattr("convcost.nn.alter.truncated_svd.CHUNK", 7)
    in_parts = factorise("conv", conv.weight, block, RankChoice(rank=1))
    assert in_parts.weight_error == pytest.approx(whole.weight_error)
    assert relative(product_of(block, in_parts, (3, 2)), product_of(block, whole, (3, 2))) < 1e-12


def test_a_weight_in_channels_last_has_the_same_factors() -> None:
    torch.manual_seed(8)
    weight = torch.randn(OUTPUTS, CHANNELS, 3, 3, dtype=torch.float64)
    for block in FACTORISED:
        plain = factorise("conv", weight, block, RankChoice(rank=2))
        last = factorise("conv", weight.to(memory_format=torch.channels_last), block, RankChoice(rank=2))
        assert relative(product_of(block, last), product_of(block, plain)) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("block", ["low-rank", "spatially-separable"])
def test_the_rank_is_seen_in_single_precision_too(
    block: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As large layers are worked out, whose numbers in float64 would need more memory than they."""
    monkeypatch.setattr("convcost.nn.alter.truncated_svd.MAX_DOUBLES", 0)
    torch.manual_seed(9)
    factors = factorise("conv", weight_of_rank(block, 2, (3, 3)).to(dtype), block, RankChoice(energy=1.0))
    assert list(factors.parameters.values()) == [2]
    assert factors.weight_error < TOLERANCES[dtype]

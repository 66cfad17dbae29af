"""The Tucker-2 decomposition of a convolution's weight: a basis of the channels of each side, and the core between.

Kim et al. 2016, Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from convcost.nn.alter.truncated_svd import Matrices, energy_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

SWEEPS: Final = 2
"""Number of times that each basis is made anew for the other one, which lowers the error a little."""


def tucker_ranks(weight: Tensor, unit: float, max_loss: float) -> tuple[int, int]:
    """The ranks of the input and of the output channels with the fewest weights whose loss is small enough.

    The loss of two ranks is that of the truncated higher-order SVD: the energy of the core outside of them.

    Args:
        weight: Weight (O, C, k_h, k_w).
        unit: Absolute value in whose unit it is worked out.
        max_loss: Largest share of the energy that may be lost.
    """
    outputs, inputs, tall, wide = weight.shape
    reads, writes = _inputs(weight, unit), _outputs(weight, unit)
    energies = weight.new_zeros(outputs, inputs, dtype=torch.float64)
    for _, tap in _taps(weight):
        energies += (writes.mT.double() @ tap.div_(unit) @ reads.double()).square_()
    tails = energies.flip(1).cumsum_(1).flip(1)  # energies from each input direction on; differences would cancel
    below = tails[:, 0].flip(0).cumsum(0).flip(0)
    lost = nn.functional.pad(tails[:, 1:], (0, 1)).cumsum_(0) + nn.functional.pad(below[1:], (0, 1))[:, None]
    limit = energy_limit(float(below[0]), max_loss, weight, reads)
    r_in = 1 + (lost > limit).sum(1)  # the smallest one for each r_out
    r_out = torch.arange(1, outputs + 1, device=r_in.device)
    sizes = inputs * r_in + tall * wide * r_in * r_out + outputs * r_out
    sizes[r_in > inputs] = sizes.max() + 1
    best = int(sizes.argmin())
    return int(r_in[best]), best + 1


def tucker_weights(weight: Tensor, unit: float, ranks: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The weights of the three stages, by higher-order orthogonal iteration, whose largest entries are alike.

    Args:
        weight: Weight (O, C, k_h, k_w).
        unit: Absolute value in whose unit it is worked out.
        ranks: Ranks of the input and of the output channels.
    """
    writes = _outputs(weight, unit)[:, : ranks[1]]
    for _ in range(SWEEPS):
        reads = _inputs(_between(weight, unit, None, writes), 1.0)[:, : ranks[0]]
        writes = _outputs(_between(weight, unit, reads, None), 1.0)[:, : ranks[1]]
    core = _between(weight, unit, reads, writes)
    size = (unit * (float(core.abs().max()) or 1.0)) ** (1 / 3)
    stages = size * reads.mT[..., None, None], core.mul_(unit / size / size), size * writes[..., None, None]
    return stages[0].to(weight.dtype), stages[1].to(weight.dtype), stages[2].to(weight.dtype)


def tucker_error(weight: Tensor, unit: float, stages: tuple[Tensor, Tensor, Tensor]) -> float:
    """The relative error of the weights of three stages in the Frobenius norm; 0 for zeros."""
    reduce, expand = stages[0][:, :, 0, 0].double(), stages[2][:, :, 0, 0].double()
    lost = total = 0.0
    for place, tap in _taps(weight):
        closest = expand @ stages[1][place].double() @ reduce
        total += float((tap / unit).square_().sum())
        lost += float(tap.sub_(closest).div_(unit).square_().sum())
    return (lost / total) ** 0.5 if total else 0.0


def _taps(weight: Tensor) -> Iterator[tuple[tuple[slice, slice, int, int], Tensor]]:
    """The matrix (O, C) of each position of the kernel as float64, with its place in the weight."""
    for i, j in product(*map(range, weight.shape[2:])):
        place = slice(None), slice(None), i, j
        yield place, weight[place].to(torch.float64, copy=True)


def _inputs(weight: Tensor, unit: float) -> Tensor:
    """An orthonormal basis of the input channels as columns, the strongest first."""
    return Matrices(weight, "", "oij", "c", unit).basis()[0].flip(1)


def _outputs(weight: Tensor, unit: float) -> Tensor:
    """An orthonormal basis of the output channels as columns, the strongest first."""
    return Matrices(weight, "", "cij", "o", unit).basis()[0].flip(1)


def _between(weight: Tensor, unit: float, reads: Tensor | None, writes: Tensor | None) -> Tensor:
    """The weight ÷ unit between bases of its input and output channels, at least in float32; None for all channels."""
    outputs = weight.shape[0] if writes is None else writes.shape[1]
    inputs = weight.shape[1] if reads is None else reads.shape[1]
    dtype = torch.promote_types(weight.dtype, torch.float32)
    between = weight.new_empty(outputs, inputs, *weight.shape[2:], dtype=dtype)
    for place, tap in _taps(weight):
        written = tap.div_(unit) if writes is None else writes.mT.double() @ tap.div_(unit)
        between[place] = (written if reads is None else written @ reads.double()).to(dtype)
    return between

"""Singular values of a convolution's kernels and of the layer as a whole, with little memory beside the weights."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Final

import torch

from convcost.kernels.row import BINS, LayerRow, Spectrum, pair_rank
from convcost.kernels.separability import rank_tolerance
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from convcost.convolution.conv import Conv

CHUNK: Final = 4096
"""Kernels in one batched SVD: 0.3 MB of float64 at 3×3."""
QUARTILES: Final = (0.25, 0.5, 0.75)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run LAPACK with one thread, without gradients: on small matrices, two threads can be thirty times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class ConvWeights:
    """One convolution over two axes, and a function that reads its weight.

    Attributes:
        name: The layer's name.
        op: The module's class; None in a file of weights, which tells neither groups nor stride.
        conv: The convolution, without bias.
        read: Returns the weight as (O, C / g, k_h, k_w), of a transposed convolution as (C, O / g, k_h, k_w).
        shares_weight: Whether an earlier layer has the same weight.
    """

    name: str
    op: str | None
    conv: Conv
    read: Callable[[], Tensor]
    shares_weight: bool = False

    @property
    def row(self) -> LayerRow:
        """The layer's row, still without a spectrum."""
        return LayerRow(self.name, self.op, self.conv, shares_weight=self.shares_weight)


def layer_row(layer: ConvWeights, tolerance: float | None = None) -> LayerRow:
    """The row of one convolution, with its spectrum.

    Args:
        layer: The convolution; its weight is read here and released again.
        tolerance: Singular values up to this share of a kernel's largest count as 0; that of the dtype by default.

    Raises:
        ConvcostError: Weights that are not finite real numbers, or that the meta device does not have.
    """
    with one_thread():
        weight = layer.read().detach()
        largest = largest_entry(layer.name, weight)
        weight = weight.cpu()
        tall, wide = weight.shape[2:]
        share = rank_tolerance(tall, wide, torch.finfo(weight.dtype).eps) if tolerance is None else tolerance
        pairs = _pair_energies(_in_groups(weight, layer.conv), largest)  # frees its arrays before the next line
        return replace(layer.row, spectrum=_spectrum(weight, largest, share, pairs))


def largest_entry(name: str, weight: Tensor) -> float:
    """The largest absolute value of a weight, 1 if all are zeros; energies are in units of its square."""
    if weight.is_meta:
        msg = f"layer (={name}) must have weights, not the meta device's; load them, or name a file of weights."
        raise ConvcostError(msg)
    if not weight.is_floating_point() or weight.layout is not torch.strided:
        kind = weight.dtype if weight.layout is torch.strided else weight.layout
        raise ConvcostError(f"layer (={name}) must have real weights in floating point, not {kind}; convert it.")
    low, high = (float(end) for end in torch.aminmax(weight if weight.dtype.itemsize > 1 else weight.float()))
    largest = max(abs(low), abs(high))
    if not isfinite(largest):
        msg = f"layer (={name}) must have finite weights; it holds NaN or inf: train it again or name another file."
        raise ConvcostError(msg)
    return largest or 1.0


def _spectrum(weight: Tensor, largest: float, share: float, pairs: list[float]) -> Spectrum:
    """Rank and cumulative energy of each kernel's singular values, in float64, chunk by chunk.

    Args:
        weight: The weight of one layer.
        largest: Its largest absolute value.
        share: Singular values up to this share of a kernel's largest count as 0.
        pairs: The layer's `_pair_energies`.
    """
    kernels = weight.reshape(-1, *weight.shape[2:])
    energies = torch.empty(len(kernels), min(kernels.shape[1:]), dtype=torch.float32)
    zeros, rank1, total = 0, 0, 0.0
    for start in range(0, len(kernels), CHUNK):
        chunk = kernels[start : start + CHUNK].to(torch.float64) / largest
        values = torch.linalg.svdvals(chunk)
        ranks = (values > share * values[:, :1]).sum(1)
        sums = values.square_().cumsum_(1)
        energies[start : start + CHUNK] = sums / sums[:, -1:]  # NaN for a kernel of zeros
        zeros += int((ranks == 0).sum())
        rank1 += int((ranks == 1).sum())
        total += float(sums[:, -1].sum())
    (q25, median, q75), histogram = _spread(energies)
    return Spectrum(
        kernels=len(kernels),
        zero_kernels=zeros,
        rank1_kernels=rank1,
        tolerance=share,
        energy_q25=q25,
        energy_median=median,
        energy_q75=q75,
        histogram=histogram,
        pair_rank=pair_rank(pairs, total),
        pair_full_rank=len(pairs),
    )


def _spread(energies: Tensor) -> tuple[list[tuple[float, ...]], tuple[int, ...]]:
    """Quartiles of each cumulative energy, and the histogram of the first; empty where all kernels are zeros."""
    import numpy as np

    alive = ~energies[:, 0].isnan()
    if not bool(alive.any()):
        return [(), (), ()], (0,) * BINS
    columns = [np.quantile(column[alive].numpy(), QUARTILES, overwrite_input=True) for column in energies.T]
    first = torch.histc(energies[:, 0][alive], BINS, 0.0, 1.0)
    return [tuple(float(column[q]) for column in columns) for q in range(3)], tuple(int(count) for count in first)


def _in_groups(weight: Tensor, conv: Conv) -> Tensor:
    """The weight as a view (g, O / g, C / g, k_h, k_w)."""
    split = weight.view(conv.groups, -1, *weight.shape[1:])
    return split.transpose(1, 2) if conv.transposed else split


def _pair_energies(weight: Tensor, largest: float) -> list[float]:
    """Squared singular values of the layer as a (C·k_h) × (O·k_w) matrix, in descending order, added over the groups.

    A k_h×1 convolution to r channels and a 1×k_w convolution from them are exactly a product of rank r of this matrix
    (Jaderberg, Vedaldi, Zisserman 2014, scheme 2). They are the eigenvalues of the Gram matrix of its smaller side,
    which is added up slice by slice, so that nothing as large as the layer is copied.

    Args:
        weight: The weight as (g, O / g, C / g, k_h, k_w).
        largest: Largest absolute value, the unit of the squares, which could otherwise leave the range of float32.
    """
    groups, outputs, inputs, tall, wide = weight.shape
    dtype = weight.dtype if weight.dtype is torch.float64 else torch.float32
    side = min(inputs * tall, outputs * wide)
    gram = torch.zeros(groups, side, side, dtype=dtype)
    if inputs * tall <= outputs * wide:
        for j in range(wide):
            part = (weight[..., j].to(dtype) / largest).reshape(groups, outputs, side)
            gram.baddbmm_(part.mT, part)
    else:
        for i in range(tall):
            part = (weight[..., i, :].permute(0, 1, 3, 2).to(dtype) / largest).reshape(groups, side, inputs)
            gram.baddbmm_(part, part.mT)
    values = torch.linalg.eigvalsh(gram).clamp_(min=0.0)
    return [float(value) for value in values.double().sum(0).flip(0)]

"""One convolution of a network: how separable its kernels are, and what a pair of K×1 and 1×K would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from convcost.convolution.conv import Conv
from convcost.convolution.cost import params
from convcost.kernels.row import listed

__all__ = ["BINS", "ENERGY", "LayerRow", "Spectrum", "pair_rank"]

ENERGY: Final = 0.99
"""The share of a layer's energy that the pair keeps."""
BINS: Final = 10


def pair_rank(energies: list[float], total: float) -> int:
    """The least number of leading energies that hold the wanted share of the total; 0 for a layer of zeros.

    >>> pair_rank([90.0, 9.5, 0.5], 100.0)
    2
    """
    kept = 0.0
    for rank, energy in enumerate(energies):
        if kept >= ENERGY * total:
            return rank
        kept += energy
    return len(energies)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What the singular values say of a convolution.

    Attributes:
        kernels: k_h×k_w matrices.
        zero_kernels: those that are zeros.
        rank1_kernels: those of rank 1 within the tolerance.
        tolerance: singular values up to this share of a kernel's largest count as 0.
        energy_q25: share of a kernel's energy in its first 1, 2, ... singular values: lower quartile; empty for zeros.
        energy_median: likewise, median.
        energy_q75: likewise, upper quartile.
        histogram: kernels by the share in the first one, in 10 bins from 0 to 1.
        pair_rank: channels in each group of the pair that keeps 99 % of the layer's energy.
        pair_full_rank: channels that keep all of it.
    """

    kernels: int
    zero_kernels: int
    rank1_kernels: int
    tolerance: float
    energy_q25: tuple[float, ...]
    energy_median: tuple[float, ...]
    energy_q75: tuple[float, ...]
    histogram: tuple[int, ...]
    pair_rank: int
    pair_full_rank: int

    @property
    def q25(self) -> str | None:
        """The lower quartiles as text."""
        return listed(self.energy_q25 or None)

    @property
    def median(self) -> str | None:
        """The medians as text."""
        return listed(self.energy_median or None)

    @property
    def q75(self) -> str | None:
        """The upper quartiles as text."""
        return listed(self.energy_q75 or None)

    @property
    def bins(self) -> str | None:
        """The histogram as text."""
        return listed(self.histogram)


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One convolution of a network.

    Attributes:
        name: path of the module.
        op: class of the module; None in a file of weights, which tells neither groups nor stride.
        conv: the convolution, without bias.
        spectrum: of its weight; None before it was looked at.
        shares_weight: whether its weight is that of a row before, so that totals leave it out.
    """

    name: str
    op: str | None
    conv: Conv
    spectrum: Spectrum | None = None
    shares_weight: bool = False

    @property
    def in_channels(self) -> int:
        """C."""
        return self.conv.in_channels

    @property
    def out_channels(self) -> int:
        """O."""
        return self.conv.out_channels

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """(k_h, k_w)."""
        return self.conv.kernel_size

    @property
    def groups(self) -> int:
        """Of the convolution."""
        return self.conv.groups

    @property
    def stride(self) -> tuple[int, ...] | None:
        """(vertical, horizontal); None where it is not known."""
        return None if self.op is None else self.conv.stride

    @property
    def pair(self) -> tuple[Conv, Conv] | None:
        """The k_h×1 and the 1×k_w convolution; with the layer's groups, so that each is a pair of its own."""
        if self.spectrum is None:
            return None
        (tall, wide), groups = self.conv.kernel_size, self.conv.groups
        between = groups * max(1, self.spectrum.pair_rank)
        column = Conv(self.in_channels, between, (tall, 1), groups=groups)
        return column, Conv(between, self.out_channels, (1, wide), groups=groups)

    @property
    def params_before(self) -> int:
        """Weights of the layer."""
        return params(self.conv).value

    @property
    def params_after(self) -> int | None:
        """Weights of the pair."""
        return None if self.pair is None else sum(params(conv).value for conv in self.pair)

    @property
    def macs_ratio(self) -> float | None:
        """MACs of the layer ÷ of the pair.

        A weight is used once an output pixel. Between the two lies an activation with the output's height and the
        input's width, so that the column is used as often as the horizontal stride says; of a transposed convolution,
        whose weights are used once an input pixel, it is the row and the vertical stride.
        """
        if self.pair is None:
            return None
        column, row = (params(conv).value for conv in self.pair)
        vertical, horizontal = self.conv.stride
        after = column + row * vertical if self.conv.transposed else column * horizontal + row
        return float(self.params_before / after)

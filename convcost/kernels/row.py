"""One kernel, or one convolution of a network: its rank, its factors, and their savings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from convcost.convolution.conv import Conv
from convcost.convolution.cost import params
from convcost.text.result import grouped

if TYPE_CHECKING:
    from convcost.kernels.demonstration import Agreement, Candidate
    from convcost.kernels.matrix import Matrix
    from convcost.kernels.separability import Separation
    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Timing


ENERGY: Final = 0.99
"""Share of a layer's energy that its pair of convolutions keeps."""
BINS: Final = 10


def pair_rank(energies: list[float], total: float) -> int:
    """The smallest number of leading energies that hold the share `ENERGY` of the total; 0 for a layer of zeros.

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
    """The singular values of a convolution's kernels.

    Attributes:
        kernels: Number of k_h×k_w matrices.
        zero_kernels: Number of kernels that are all zeros.
        rank1_kernels: Number of kernels of rank 1 within the tolerance.
        tolerance: Share of a kernel's largest singular value up to which others count as 0.
        energy_q25: Lower quartile of the energy share in the first 1, 2, ... singular values; empty for zeros.
        energy_median: Median of the same shares.
        energy_q75: Upper quartile of the same shares.
        histogram: Kernels by the energy share of their first singular value, in 10 bins from 0 to 1.
        pair_rank: Channels per group between a k_h×1 and a 1×k_w convolution that keep 99 % of the layer's energy.
        pair_full_rank: Channels per group between these two that keep all of the energy.
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


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One convolution of a network.

    Attributes:
        name: Path of the module.
        op: Class of the module; None in a file of weights, which has neither groups nor stride.
        conv: Convolution without bias.
        spectrum: Singular values of the weight; None until it was decomposed.
        shares_weight: Whether an earlier row has the same weight, so that totals leave this one out.
    """

    name: str
    op: str | None
    conv: Conv
    spectrum: Spectrum | None = None
    shares_weight: bool = False

    @property
    def pair(self) -> tuple[Conv, Conv] | None:
        """The k_h×1 and the 1×k_w convolution, with the layer's groups."""
        if self.spectrum is None:
            return None
        (tall, wide), groups = self.conv.kernel_size, self.conv.groups
        between = groups * max(1, self.spectrum.pair_rank)
        column = Conv(self.conv.in_channels, between, (tall, 1), groups=groups)
        return column, Conv(between, self.conv.out_channels, (1, wide), groups=groups)

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
        """MACs of the layer ÷ MACs of the pair.

        Each weight is used once per output pixel. The activation between the two convolutions has the output's height
        and the input's width, so the column's weights are used once more for each step of the horizontal stride. In a
        transposed convolution, weights are used once per input pixel, and the row's depend on the vertical stride.
        """
        if self.pair is None:
            return None
        column, row = (params(conv).value for conv in self.pair)
        vertical, horizontal = self.conv.stride
        after = column + row * vertical if self.conv.transposed else column * horizontal + row
        return float(self.params_before / after)


@dataclass(frozen=True, slots=True)
class KernelTiming:
    """The times of a kernel and of its factors as layers on one device.

    Attributes:
        conditions: Conditions of both timings.
        kernel: Timing of the k_h×k_w layer; None if not timed.
        factors: Timing of the two layers, with its speed-up over the kernel; None if not timed.
        difference: Largest difference between both outputs, in the layers' dtype; None if not timed.
        refused: Reason why nothing was timed; None if timed.
    """

    conditions: Conditions
    kernel: Timing | None = None
    factors: Timing | None = None
    difference: float | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel.

    Attributes:
        matrix: Entries of the kernel.
        separation: Rank and factors of the kernel.
        kernel: Kernel as a layer.
        factors: Factors as two layers.
        agreement: Difference between the outputs of kernel and factors for one image.
        timing: Times of both; None if not requested.
    """

    matrix: Matrix
    separation: Separation
    kernel: Candidate
    factors: Candidate
    agreement: Agreement
    timing: KernelTiming | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The size of the kernel, (k_h, k_w)."""
        return (self.separation.height, self.separation.width)

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """The input shape of the layers, (N, C, height, width)."""
        return self.kernel.layers[0].input.sizes

    @property
    def macs_ratio(self) -> float:
        """MACs of the kernel ÷ MACs of its factors."""
        return float(self.kernel.cost.macs / self.factors.cost.macs)

    @property
    def warning(self) -> str | None:
        """Reasons not to trust the times; None without any."""
        if self.timing is None:
            return None
        timings = (("kernel", self.timing.kernel), ("factors", self.timing.factors))
        reasons = grouped((name, timing.warnings) for name, timing in timings if timing is not None)
        return "; ".join(filter(None, (self.timing.refused, *reasons))) or None

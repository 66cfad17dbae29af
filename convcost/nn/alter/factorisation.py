"""The weights of a block that come closest to the weight of the convolution in whose place it stands.

A block without operations between its stages is a convolution, whose weight is a product of the weights of the stages.
So the block is equal to a given convolution where that has such a weight. Otherwise the closest product of a rank is,
for a weight seen as one matrix or as one for each channel, its truncated singular value decomposition (Eckart, Young
1936).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import nn

from convcost.changes.rank_choice import require_algebra
from convcost.nn.alter.truncated_svd import Matrices, energy_limit
from convcost.nn.alter.tucker import tucker_error, tucker_ranks, tucker_weights
from convcost.nn.build.conv_module import TiedConv
from convcost.nn.load.spectrum import largest_entry, one_thread
from convcost.text.errors import ShapeError
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from convcost.changes.rank_choice import RankChoice

    Stages: TypeAlias = tuple[Tensor, ...]
    """The weights of a block's stages, in the order they run."""
    Sizes: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Algebra:
    """How the weights of a block's two stages are factors of a convolution's weight.

    Attributes:
        parameter: Parameter of the block that is the rank.
        batch: Axis of the weight with a matrix for each position; empty for one matrix. Axes are o, c, i, j.
        rows: Axes of the weight that are the rows of the matrices.
        columns: Axes of the weight that are their columns.
        stages: Function of factors (B, m, r) and (B, r, n) and of the weight's sizes that returns the stages.
        max_rank: Largest rank that the block has; None for the rank of the matrices.
    """

    parameter: str
    batch: str
    rows: str
    columns: str
    stages: Callable[[Tensor, Tensor, Sizes], Stages]
    max_rank: int | None = None


def _low_rank(left: Tensor, right: Tensor, sizes: Sizes) -> Stages:
    return right.reshape(-1, *sizes[1:]), left[0, :, :, None, None]


def _spatially_separable(left: Tensor, right: Tensor, sizes: Sizes) -> Stages:
    column = left[0].view(sizes[1], sizes[2], -1).permute(2, 0, 1)
    row = right[0].reshape(-1, sizes[0], sizes[3]).transpose(0, 1)
    return column[..., None], row[:, :, None]


def _depthwise_separable(left: Tensor, right: Tensor, sizes: Sizes) -> Stages:
    return right.reshape(-1, 1, *sizes[2:]), left.transpose(0, 1).reshape(sizes[0], -1, 1, 1)


def _shared_kernel_separable(left: Tensor, right: Tensor, sizes: Sizes) -> Stages:
    return right.reshape(-1, 1, *sizes[2:]), left.reshape(sizes[0], -1, 1, 1)


def _blueprint(left: Tensor, right: Tensor, sizes: Sizes) -> Stages:
    return left[..., None], right.reshape(-1, 1, *sizes[2:])


ALGEBRAS: Final = {
    "low-rank": Algebra("rank", "", "o", "cij", _low_rank),
    "spatially-separable": Algebra("mid_channels", "", "ci", "oj", _spatially_separable),
    "depthwise-separable": Algebra("depth_multiplier", "c", "o", "ij", _depthwise_separable),
    "shared-kernel-separable": Algebra("depth_multiplier", "", "oc", "ij", _shared_kernel_separable),
    "blueprint": Algebra("depth_multiplier", "o", "c", "ij", _blueprint, max_rank=1),
}
"""The algebra of each block of two stages that has one."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Weights for a block that come close to the weight of a convolution.

    Attributes:
        parameters: Parameters of the block that the rank sets.
        stages: Weights of the stages, in the order they run.
        weight_error: Relative error of their product in the Frobenius norm, that of rounding included.
        is_clipped: Whether the requested rank is above the largest one of this layer, which it has instead.
    """

    parameters: Mapping[str, int]
    stages: Stages
    weight_error: float
    is_clipped: bool = False

    def fill(self, block: nn.Module, bias: Tensor | None) -> None:
        """Give the stages of a built block these weights, and the last one the bias of the convolution."""
        stages = [part for part in block.modules() if isinstance(part, (nn.Conv2d, TiedConv))]
        with torch.no_grad():
            for stage, weight in zip(stages, self.stages, strict=True):
                stage.weight.copy_(weight)
                if stage.bias is not None:
                    stage.bias.zero_()
            if bias is not None and stages[-1].bias is not None:
                stages[-1].bias.copy_(bias)


def factorise(name: str, weight: Tensor, block: str, choice: RankChoice) -> Factors:
    """The weights of a block that come closest to those of a convolution.

    Args:
        name: Name of the layer, for messages.
        weight: Weight (O, C, k_h, k_w) of a convolution without groups.
        block: Name of a block with an algebra.
        choice: How the rank is chosen.

    Raises:
        ConvcostError: A block without an algebra, or weights that are not finite real numbers, or have no values.
        ShapeError: Even the largest rank of the block does not meet the choice.
    """
    require_algebra(block)
    with one_thread():
        weight = weight.detach()
        unit = largest_entry(name, weight)
        if block == "tucker-2":
            return _tucker(weight, unit, choice)
        return _two_stages(weight, unit, ALGEBRAS[block], choice)


def _two_stages(weight: Tensor, unit: float, algebra: Algebra, choice: RankChoice) -> Factors:
    matrices = Matrices(weight, algebra.batch, algebra.rows, algebra.columns, unit)
    _, rows, columns = matrices.shape
    is_wide = rows < columns
    if is_wide:
        matrices = matrices.transposed
    basis = matrices.basis()
    energies = matrices.energies(basis)
    full = min(rows, columns, algebra.max_rank or rows)
    lost = nn.functional.pad(energies.sum(0).cumsum(0).flip(0), (0, 1))
    rank = _rank(lost, full, energy_limit(float(lost[0]), choice.max_loss or 0.0, weight, basis), choice)
    factors = matrices.factors(basis, energies, rank)
    error = matrices.error(*factors)
    left, right = (factors[1].mT, factors[0].mT) if is_wide else factors
    stages = algebra.stages(left, right, tuple(weight.shape))
    return Factors({algebra.parameter: rank}, stages, error, is_clipped=rank < (choice.rank or rank))


def _rank(lost: Tensor, full: int, limit: float, choice: RankChoice) -> int:
    """The rank by a choice.

    Args:
        lost: Energy that is lost at rank 0, 1, ..., in descending order.
        full: Largest rank.
        limit: Energy that may be lost.
        choice: How the rank is chosen.
    """
    if choice.rank is not None:
        return min(choice.rank, full)
    rank = max(1, int((lost > limit).sum()))
    if rank > full:
        share = float(lost[full] / lost[0])
        least = f"keeps {human_percent(1 - share)} of the energy at most"
        if choice.max_error is not None:
            least = f"has {human_percent(share**0.5)} error at least"
        raise ShapeError(f"{least}, and {choice} is wanted.")
    return rank


def _tucker(weight: Tensor, unit: float, choice: RankChoice) -> Factors:
    outputs, inputs = weight.shape[:2]
    if choice.max_loss is None:
        rank = choice.rank or outputs
        ranks = (min(rank, inputs), min(rank, outputs))
    else:
        ranks = tucker_ranks(weight, unit, choice.max_loss)
    stages = tucker_weights(weight, unit, ranks)
    parameters = {"mid_channels": ranks[0], "rank": ranks[1]}
    is_clipped = max(ranks) < (choice.rank or 1)
    return Factors(parameters, stages, tucker_error(weight, unit, stages), is_clipped=is_clipped)

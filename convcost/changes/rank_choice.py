"""How the rank of a block's weights is chosen when they are factorised from those of a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.convolution.shape import require_at_least
from convcost.text.errors import ConvcostError, as_text
from convcost.text.sizes import is_number
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.convolution.spec import Value

DEFAULT_ENERGY: Final = 0.99
"""Default of the share of the energy that a layer keeps."""

FACTORISED: Final = (
    "low-rank",
    "tucker-2",
    "spatially-separable",
    "depthwise-separable",
    "shared-kernel-separable",
    "blueprint",
)
"""The blocks whose weights can be worked out from those of a convolution."""


def require_algebra(block: str) -> None:
    """Refuse a block whose weights cannot be worked out from those of a convolution.

    Raises:
        ConvcostError: Its stages are not the factors of a convolution's weight, as in a block with a residual.
    """
    if block not in FACTORISED:
        known = ", ".join(FACTORISED)
        msg = f"block (={block}) must be one whose weights follow from a convolution's to keep them: {known}."
        raise ConvcostError(msg)


def rank_choice(
    parameters: Mapping[str, Value], *, keep_weights: bool, energy: float | None, max_error: float | None
) -> tuple[RankChoice | None, Mapping[str, Value]]:
    """How ranks are chosen, None for new weights; and the other values for parameters of blocks.

    Args:
        parameters: Values for parameters that only some blocks have, `rank` among them.
        keep_weights: Whether weights are factorised.
        energy: As in `RankChoice`.
        max_error: As in `RankChoice`.

    Raises:
        ConvcostError: A limit without weights to keep, or as `RankChoice`.
    """
    if keep_weights:
        others = dict(parameters)
        rank = others.pop("rank", None)
        if rank is not None:
            require_at_least(1, rank=rank)
        return RankChoice(None if rank is None else int(rank), energy, max_error), others
    for name, value in (("energy", energy), ("max_error", max_error)):
        if value is not None:
            raise ConvcostError(f"{name} (={value}) must have weights to keep; turn keep_weights on.")
    return None, parameters


@dataclass(frozen=True, slots=True)
class RankChoice:
    """A rank for all layers, or a limit that the smallest sufficient rank of each layer meets.

    Attributes:
        rank: Rank of each layer, or its full rank where that is smaller; None for a limit.
        energy: Smallest share of the sum of squared singular values that is kept.
        max_error: Largest relative error of a layer's weights, in the Frobenius norm.

    Raises:
        ConvcostError: More than one of the three, or a value that is out of range.
    """

    rank: int | None = None
    energy: float | None = None
    max_error: float | None = None

    def __post_init__(self) -> None:
        """Refuse two rules at a time, and values that no rank could meet."""
        given = [name for name in ("rank", "energy", "max_error") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConvcostError(f"{' and '.join(given)} exclude each other; give one of them to choose the ranks.")
        if self.rank is not None:
            require_at_least(1, rank=self.rank)
        if self.energy is not None and not (is_number(self.energy) and 0 < self.energy <= 1):
            energy = as_text(self.energy)
            raise ConvcostError(f"energy (={energy}) must be a share above 0 and at most 1; give one such as 0.99.")
        if self.max_error is not None and not (is_number(self.max_error) and 0 <= self.max_error < 1):
            error = as_text(self.max_error)
            raise ConvcostError(f"max_error (={error}) must be at least 0 and below 1; give 0.05 for 5 %.")

    @property
    def max_loss(self) -> float | None:
        """Largest share of the energy that may be lost; None for a rank. The energy is the squared Frobenius norm."""
        if self.rank is not None:
            return None
        if self.max_error is not None:
            return self.max_error**2
        return 1 - (DEFAULT_ENERGY if self.energy is None else self.energy)

    def __str__(self) -> str:
        """The rule in words."""
        if self.rank is not None:
            return f"rank {self.rank}"
        if self.max_error is not None:
            return f"at most {human_percent(self.max_error)} error"
        return f"at least {100 * (DEFAULT_ENERGY if self.energy is None else self.energy):.12g} % of the energy"

"""The factorised weights of a model's layers, from the choice of their ranks until the blocks are built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from convcost.changes.rank_choice import RankChoice
from convcost.changes.replacement import few
from convcost.nn.alter.factorisation import Factors, factorise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeptWeights:
    """The factors of the weights of layers that keep them; none without a choice of ranks.

    Attributes:
        parts: Parts of the model by path.
        choice: How ranks are chosen; None for new weights.
        factors: Factors for the block that was tried last in each layer's place, by its path.
    """

    parts: Mapping[str, nn.Module]
    choice: RankChoice | None
    factors: dict[str, Factors] = field(default_factory=dict)

    def largest_first(self, layers: Mapping[str, T]) -> list[tuple[str, T]]:
        """The layers in the order in which they are factorised, so that the memory of the first serves all."""
        items = list(layers.items())
        if self.choice is not None:
            items.sort(key=lambda one: self._size(one[0]), reverse=True)
        return items

    def _size(self, path: str) -> int:
        weight = getattr(self.parts.get(path), "weight", None)
        return 0 if weight is None else weight.numel()

    def factorise(self, path: str, block: str) -> Mapping[str, int]:
        """Factorise the weight of a layer for a block; the block's parameters.

        Raises:
            ConvcostError: As `factorise`.
        """
        weight = self.parts[path].get_parameter("weight")
        self.factors[path] = factorise(path, weight, block, self.choice or RankChoice())
        return self.factors[path].parameters

    @property
    def notes(self) -> tuple[str, ...]:
        """The layers whose ranks are smaller than the requested one."""
        clipped = [path for path, factors in self.factors.items() if factors.is_clipped]
        if not clipped:
            return ()
        return (f"{self.choice} is above the largest one of {few(clipped)}, where that takes its place.",)

"""The factorised weights of a model's layers, from the choice of their ranks until the blocks are built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from convcost.changes.rank_choice import RankChoice
from convcost.changes.replacement import few
from convcost.nn.alter.factorisation import Factors, factorise
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


MIN_ROUNDED: Final = 1e-5
"""Relative error of rounded weights that is above that of float32."""


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

    def largest_first(self, layers: Mapping[str, str | None]) -> list[tuple[str, str | None]]:
        """The layers in the order in which they are factorised, so that the memory of the first serves all.

        Args:
            layers: Layers by path, each with the reason why it cannot be replaced; None where it can.
        """

        def size(layer: tuple[str, str | None]) -> int:
            path, obstacle = layer
            return 0 if obstacle else self.parts[path].get_parameter("weight").numel()

        return list(layers.items()) if self.choice is None else sorted(layers.items(), key=size, reverse=True)

    def factorise(self, path: str, block: str) -> Mapping[str, int]:
        """Factorise the weight of a layer for a block; the block's parameters.

        Raises:
            ConvcostError: As `factorise`.
        """
        weight = self.parts[path].get_parameter("weight")
        self.factors[path] = factorise(path or "the model", weight, block, self.choice or RankChoice())
        return self.factors[path].parameters

    @property
    def notes(self) -> tuple[str, ...]:
        """The layers whose ranks are smaller than the requested one, or whose errors are above the limit."""
        notes = []
        if clipped := [path or "the model" for path, factors in self.factors.items() if factors.is_clipped]:
            notes.append(f"{self.choice} is above the full rank of {few(clipped)}: the block has the full rank there.")
        limit = None if self.choice is None or self.choice.max_loss is None else self.choice.max_loss**0.5
        errors = {path or "the model": factors.weight_error for path, factors in self.factors.items()}
        if limit is not None and (off := {path: one for path, one in errors.items() if one > max(limit, MIN_ROUNDED)}):
            worst = human_percent(max(off.values()))
            notes.append(f"{self.choice} is not met by {few([*off])}: its dtype rounds the factors, {worst} error.")
        return tuple(notes)

"""One kernel: its rank and factors, both as layers, and what was seen of them. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.kernels.demonstration import Agreement, Candidate
    from convcost.kernels.matrix import Matrix
    from convcost.kernels.separability import Separation
    from convcost.timing.statistics import Conditions, Timing

__all__ = ["KernelRow", "KernelTiming", "listed"]


def listed(entries: Sequence[Any] | None) -> str | None:
    """Numbers as the text of one cell, such as `[1 2 1]`: brackets keep a leading minus from being a formula's."""
    return None if entries is None else f"[{' '.join(map(str, entries))}]"


@dataclass(frozen=True, slots=True)
class KernelTiming:
    """Kernel and factors as real layers on one device.

    Attributes:
        conditions: of both.
        kernel: the k_h×k_w layer; None when not timed.
        factors: the two layers; None when not timed. Its speed-up is over the kernel.
        difference: the largest between both outputs, in the layers' dtype; None when not timed.
        refused: why it was not timed; else None.
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
        matrix: the kernel.
        separation: its rank and factors.
        kernel: as a layer.
        factors: as two layers.
        agreement: of both on one image.
        timing: of both; None when not asked for.
    """

    matrix: Matrix
    separation: Separation
    kernel: Candidate
    factors: Candidate
    agreement: Agreement
    timing: KernelTiming | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(k_h, k_w)."""
        return (self.separation.height, self.separation.width)

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """(N, C, height, width) of the layers."""
        return self.kernel.layers[0].input.sizes

    @property
    def column(self) -> str | None:
        """Of a separable kernel, as text."""
        return listed(self.separation.column)

    @property
    def row(self) -> str | None:
        """Of a separable kernel, as text."""
        return listed(self.separation.row)

    @property
    def singular_values(self) -> str | None:
        """As text, falling."""
        return listed(self.separation.singular_values)

    @property
    def errors(self) -> str | None:
        """Of the best approximation of rank 1, 2, ..., as text."""
        return listed(self.separation.errors)

    @property
    def macs_ratio(self) -> float:
        """MACs of the kernel ÷ of its factors."""
        return float(self.kernel.cost.macs / self.factors.cost.macs)

    @property
    def warning(self) -> str | None:
        """What to know before trusting the times."""
        if self.timing is None:
            return None
        said = [self.timing.refused] if self.timing.refused else []
        for what, timing in (("kernel", self.timing.kernel), ("factors", self.timing.factors)):
            said += [f"{what}: {text}" for text in (() if timing is None else timing.warnings)]
        return "; ".join(said) or None

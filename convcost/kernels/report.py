"""The result of `convcost kernel` for matrices: rank, factors, what they would save, and that they do the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.kernels.columns import KERNEL_COLUMNS, LAYER_COLUMNS
from convcost.kernels.row import ENERGY, KernelRow, LayerRow
from convcost.kernels.separability import products_after
from convcost.text.columns import records
from convcost.text.result import Result
from convcost.text.sizes import format_sizes
from convcost.text.units import change_of, human_count, human_ratio, human_share, human_time, thousands
from convcost.timing.columns import speedup_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.kernels.separability import Separation
    from convcost.text.columns import Column


MAX_RANKS: Final = 8
"""Lines and singular values beyond this are not printed; JSON and CSV have them."""


@dataclass(frozen=True, slots=True)
class KernelReport(Result[KernelRow]):
    """Kernels, one a row.

    Attributes:
        rows: one a kernel.
        notes: what concerns no single kernel.
        columns: of the table and the frame; the JSON object always has all.
    """

    SCHEMA: ClassVar = "convcost.kernel/1"
    rows: tuple[KernelRow, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column[KernelRow], ...] = KERNEL_COLUMNS

    @property
    def head(self) -> str:
        """One line that says on what input, and under which conditions."""
        parts = [f"each channel of {format_sizes(self.rows[0].input_shape)} alone"]
        timed = next((row.timing.conditions for row in self.rows if row.timing is not None), None)
        if timed is not None:
            parts += [timed.dtype, timed.summary]
        return ", ".join(parts) + "; 1 MAC = 2 FLOPs"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """A paragraph for each kernel."""
        return tuple(line for row in self.rows for line in _paragraph(row))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each kernel's warning, by its name."""
        return tuple(f"{row.separation.name}: {row.warning}" for row in self.rows if row.warning)

    def _fields(self) -> dict[str, Any]:
        return {"kernels": records(KERNEL_COLUMNS, self.rows)}


def _paragraph(row: KernelRow) -> list[str]:
    """What the kernel is, what each rank costs, and what was seen."""
    found = row.separation
    kind = "separable" if found.separable else "not separable"
    how = "exact" if found.exact else f"singular values up to {found.tolerance:.1e} of the largest count as 0"
    least = found.pays_up_to_rank + 1
    last = max(1, found.rank)
    ranks = [_rank_line(found, rank) for rank in range(1, last + 1) if rank <= min(least, MAX_RANKS) or rank == last]
    stops = f"{products_after(least, *row.size)} products against {found.products_before}"
    return [
        f"{found.name}: rank {found.rank} ({how}), spatially {kind}",
        f"  = {found.short_factors}",
        f"  singular values {_few(found.singular_values)}",
        *ranks,
        f"  from rank {least} on it does not pay: {stops} a pixel",
        f"  {_seen(row)}",
    ]


def _rank_line(found: Separation, rank: int) -> str:
    before, after = found.products_before, products_after(rank, found.height, found.width)
    change = change_of(before, after)
    return f"  rank {rank}: error {found.errors[rank - 1]:.3g}, products a pixel {before} → {after} ({change})"


def _few(values: Sequence[float]) -> str:
    """The first of many numbers, and how many there are."""
    shown = " ".join(f"{value:.6g}" for value in values[:MAX_RANKS])
    return shown if len(values) <= MAX_RANKS else f"{shown} ... ({len(values)} of them)"


def _seen(row: KernelRow) -> str:
    """The difference of the outputs, and the speed-up beside the MAC ratio."""
    seen = row.agreement
    shown = (
        f"on an image of {format_sizes(seen.size)} kernel and factors differ by at most {seen.difference:.2g} "
        f"(outputs reach {seen.largest:.4g})"
    )
    timing = row.timing
    if timing is None or timing.kernel is None or timing.factors is None:
        return shown
    times = f"{human_time(timing.kernel.time_s)} → {human_time(timing.factors.time_s)}"
    ratio = (
        f"{human_ratio(row.macs_ratio)} fewer MACs" if row.macs_ratio >= 1 else f"{1 / row.macs_ratio:.1f}x the MACs"
    )
    layers = f"as torch layers by {timing.difference:.2g}"
    return f"{shown}, {layers}; {ratio}, {times}, speed-up {speedup_text(timing.factors)}"


@dataclass(frozen=True, slots=True)
class WeightsReport(Result[LayerRow]):
    """The convolutions of a network, one a row.

    Attributes:
        target: as the user named it.
        rows: one a convolution with K > 1.
        notes: what the reader should know.
        columns: of the table and the frame; the JSON object always has all.
    """

    SCHEMA: ClassVar = "convcost.kernel/1"
    target: str
    rows: tuple[LayerRow, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column[LayerRow], ...] = LAYER_COLUMNS

    @property
    def head(self) -> str:
        """One line that says what was looked at."""
        return f"{self.target}: {len(self.rows)} convolutions with K > 1; bars: 0 to 100 % of a kernel's energy"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """How many kernels are separable, and what the pairs would save."""
        seen = [row.spectrum for row in self.rows if row.spectrum is not None]
        if not seen:
            return ()
        kernels, separable = sum(one.kernels for one in seen), sum(one.rank1_kernels for one in seen)
        zeros = sum(one.zero_kernels for one in seen)
        own = [row for row in self.rows if row.spectrum is not None and not row.shares_weight]
        before, after = sum(row.params_before for row in own), sum(row.params_after or 0 for row in own)
        saving = sum((row.macs_ratio or 0.0) > 1 for row in self.rows)
        tolerances = sorted({one.tolerance for one in seen})
        stated = " to ".join(f"{value:.1e}" for value in dict.fromkeys((tolerances[0], tolerances[-1])))
        share = human_share(separable / kernels)
        ranks = (
            f"{thousands(separable)} of {thousands(kernels)} kernels ({share}) have rank 1, {thousands(zeros)} are "
            f"zeros (singular values up to {stated} of the largest count as 0)"
        )
        weights = f"{human_count(before)} → {human_count(after)} weights ({change_of(before, after)})"
        pairs = (
            f"pairs of K×1 and 1×K that keep {100 * ENERGY:.0f} % of the energy: {weights}; fewer MACs in "
            f"{saving} of {len(seen)} layers"
        )
        return ranks, pairs

    def _fields(self) -> dict[str, Any]:
        layers = records(LAYER_COLUMNS, self.rows)
        return {"target": self.target, "kernels": [], "layers": layers, "notes": list(self.notes)}

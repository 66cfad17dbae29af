"""The results of `convcost kernel`: for kernels, and for the convolutions of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.kernels.columns import KERNEL_COLUMNS, LAYER_COLUMNS
from convcost.kernels.factors import entry_text, rounding_share
from convcost.kernels.matrix import DOUBLE_EPS
from convcost.kernels.row import ENERGY, KernelRow, LayerRow
from convcost.kernels.separability import MAX_NUMBERS, products_after
from convcost.text.columns import records
from convcost.text.result import Result, grouped
from convcost.text.sizes import format_sizes
from convcost.text.units import change_of, human_count, human_share, human_time, thousands
from convcost.timing.columns import speed_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.kernels.separability import Separation
    from convcost.text.columns import Column
    from convcost.text.figure import Figure


MAX_RANKS: Final = 8
"""Ranks and singular values that are printed; JSON and CSV have all of them."""


@dataclass(frozen=True, slots=True, repr=False)
class KernelReport(Result[KernelRow]):
    """Rank, factors and savings of kernels.

    Attributes:
        rows: One row for each kernel.
        notes: Remarks on all kernels together.
        columns: Columns of the table and the frame; the JSON object always has all.
    """

    SCHEMA: ClassVar = "convcost.kernel/1"
    rows: tuple[KernelRow, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column[KernelRow], ...] = KERNEL_COLUMNS

    @property
    def head(self) -> str:
        """The input and the conditions, on one line."""
        parts = [f"each channel of {format_sizes(self.rows[0].input_shape)} alone"]
        timed = next((row.timing.conditions for row in self.rows if row.timing is not None), None)
        if timed is not None:
            parts += [timed.dtype, timed.summary()]
        return ", ".join(parts) + "; 1 MAC = 2 FLOPs"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The lines of a paragraph for each kernel."""
        return tuple(line for row in self.rows for line in _paragraph(row))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the kernels, each once."""
        return grouped((row.separation.name, [row.warning] if row.warning else []) for row in self.rows)

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """Each kernel as an image with its factors."""
        from convcost.kernels.figures import kernel_figures

        return kernel_figures(self.rows)

    def _fields(self) -> dict[str, Any]:
        return {"kernels": records(KERNEL_COLUMNS, self.rows)}


def _matrix_lines(row: KernelRow) -> list[str]:
    """The kernel's name and its numbers in columns; floats that may be rounding errors of 0 are 0."""
    matrix = row.matrix
    if max(row.size) > MAX_NUMBERS:
        return []
    largest = max(abs(float(entry)) for line in matrix.entries for entry in line)
    dust = 0.0 if matrix.exact else rounding_share(*row.size, DOUBLE_EPS) * largest
    cells = [
        [entry_text(0 if abs(float(entry)) < dust else entry, short=True) for entry in line] for line in matrix.entries
    ]
    width = max(len(cell) for line in cells for cell in line)
    lines = (f"  {' '.join(cell.rjust(width) for cell in line)}" for line in cells)
    return [f"{row.separation.name}, {format_sizes(row.size)}:", *lines]


def _paragraph(row: KernelRow) -> list[str]:
    """The kernel's matrix, rank and factors, the cost of each rank, and the measured result."""
    own = row.separation
    kind = "separable" if own.separable else "not separable"
    how = "exact" if own.exact else f"singular values up to {own.tolerance:.1e} of the largest count as 0"
    least = own.pays_up_to_rank + 1
    last = max(1, own.rank)
    ranks = [_rank_line(own, rank) for rank in range(1, last + 1) if rank <= min(least, MAX_RANKS) or rank == last]
    stops = f"{products_after(least, *row.size)} products against {own.products_before}"
    return [
        *_matrix_lines(row),
        f"{own.name}: rank {own.rank} ({how}), spatially {kind}",
        f"  = {own.short_factors}",
        f"  singular values {_few([*own.singular_values[: own.rank], *[0.0] * (len(own.singular_values) - own.rank)])}",
        *ranks,
        f"  factors of rank {least} or more do not pay: {stops} per pixel",
        f"  {_seen(row)}",
    ]


def _rank_line(kernel: Separation, rank: int) -> str:
    before, after = kernel.products_before, products_after(rank, kernel.height, kernel.width)
    change = change_of(before, after)
    return f"  rank {rank}: error {kernel.error_text(rank)}, products per pixel {before} → {after} ({change})"


def _few(values: Sequence[float]) -> str:
    """The first numbers of many, and how many there are."""
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
    ratio = f"{change_of(row.kernel.cost.macs, row.factors.cost.macs)} MACs"
    layers = f"as torch layers by {timing.difference:.2g}"
    return f"{shown}, {layers}; {ratio}, {times}, {speed_sentence(timing.factors)}"


@dataclass(frozen=True, slots=True, repr=False)
class WeightsReport(Result[LayerRow]):
    """Separability of the weights of a network.

    Attributes:
        target: Target as the user named it.
        rows: One row for each convolution with K > 1.
        notes: Remarks on the whole network.
        columns: Columns of the table and the frame; the JSON object always has all.
    """

    SCHEMA: ClassVar = "convcost.kernel/1"
    target: str
    rows: tuple[LayerRow, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column[LayerRow], ...] = LAYER_COLUMNS

    @property
    def head(self) -> str:
        """The target and the number of its convolutions, on one line."""
        return f"{self.target}: {len(self.rows)} convolutions with K > 1; bars: 0 to 100 % of a kernel's energy"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The number of separable kernels, and the savings of pairs of convolutions."""
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

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """The weights of each layer before and after."""
        from convcost.kernels.figures import weights_figures

        return weights_figures(self.rows)

    def _fields(self) -> dict[str, Any]:
        layers = records(LAYER_COLUMNS, self.rows)
        return {"target": self.target, "kernels": [], "layers": layers, "notes": list(self.notes)}

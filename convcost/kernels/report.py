"""The result of `convcost kernel` for matrices: rank, factors, what they would save, and that they do the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from convcost.kernels.columns import KERNEL_COLUMNS, LAYER_COLUMNS, speedup_of
from convcost.kernels.row import ENERGY
from convcost.kernels.separability import products_after
from convcost.text.columns import records
from convcost.text.sizes import format_sizes
from convcost.text.units import change_of, human_count, human_ratio, human_share, human_time, thousands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.kernels.row import KernelRow, LayerRow, Spectrum
    from convcost.kernels.separability import Separation
    from convcost.text.columns import Column


__all__ = ["SCHEMA", "KernelReport", "WeightsReport"]

SCHEMA: Final = "convcost.kernel/1"
MAX_RANKS: Final = 8
"""Lines and singular values beyond this are not printed; JSON and CSV have them."""


@dataclass(frozen=True, slots=True)
class KernelReport:
    """Kernels, one a row.

    Attributes:
        rows: one a kernel.
        notes: what concerns no single kernel.
        columns: of the table and the frame; the JSON object always has all.
    """

    rows: tuple[KernelRow, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = KERNEL_COLUMNS

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

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `convcost kernel --format json`."""
        fields = zip(records(KERNEL_COLUMNS, self.rows), self.rows, strict=True)
        return {"schema": SCHEMA, "kernels": [{**plain, **row.separation.to_dict()} for plain, row in fields]}

    def to_frame(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame; naming the type would import pandas
        """The rows as a pandas DataFrame with the columns of the CSV."""
        from convcost.text.export import frame

        return frame(self.columns, self.rows)


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
    return f"{shown}, {layers}; {ratio}, {times}, speed-up {speedup_of(timing.factors)}"


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """The convolutions of a network, one a row.

    Attributes:
        target: as the user named it.
        rows: one a convolution with K > 1.
        notes: what the reader should know.
        columns: of the table and the frame; the JSON object always has all.
    """

    target: str
    rows: tuple[LayerRow, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = LAYER_COLUMNS

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

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: what there is to say concerns the network as a whole."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `convcost kernel --model --format json`."""
        fields = zip(records(LAYER_COLUMNS, self.rows), self.rows, strict=True)
        layers = [{**plain, **({} if row.spectrum is None else _lists(row.spectrum))} for plain, row in fields]
        return {"schema": SCHEMA, "target": self.target, "kernels": [], "layers": layers, "notes": list(self.notes)}

    def to_frame(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame; naming the type would import pandas
        """The rows as a pandas DataFrame with the columns of the CSV."""
        from convcost.text.export import frame

        return frame(self.columns, self.rows)


def _lists(seen: Spectrum) -> dict[str, Any]:
    """The fields that are lists in JSON and text in a row."""
    return {
        "energy_q25": list(seen.energy_q25) or None,
        "energy_median": list(seen.energy_median) or None,
        "energy_q75": list(seen.energy_q75) or None,
        "energy_histogram": list(seen.histogram),
    }

"""The columns of `convcost kernel`, for kernels and for the layers of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.text.columns import Column
from convcost.text.sizes import format_sizes
from convcost.text.units import human_count, human_ratio, human_share, human_time, thousands
from convcost.timing.columns import condition_columns, speedup_text, timing_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.kernels.row import KernelRow, LayerRow, Spectrum
    from convcost.kernels.separability import Separation
    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Timing

BARS: Final = "▁▂▃▄▅▆▇█"


def _speedup(row: KernelRow) -> str:
    timing = None if row.timing is None else row.timing.factors
    return "-" if timing is None else speedup_text(timing) + (" !" if row.warning else "")


def _macs(row: KernelRow) -> str:
    return f"{human_count(row.kernel.cost.macs)} → {human_count(row.factors.cost.macs)}"


def _times(row: KernelRow) -> str:
    timing = row.timing
    if timing is None or timing.kernel is None or timing.factors is None:
        return "-"
    return f"{human_time(timing.kernel.time_s)} → {human_time(timing.factors.time_s)}"


def _energy(seen: Spectrum) -> str:
    """The energy of the first singular value: median, quartiles and a histogram."""
    bars = "".join(BARS[round((len(BARS) - 1) * count / max(seen.histogram))] for count in seen.histogram)
    low, middle, high = (human_share(values[0]) for values in (seen.energy_q25, seen.energy_median, seen.energy_q75))
    return f"{middle} ({low.removesuffix(' %')}–{high.removesuffix(' %')}) {bars}"


def _listed(entries: Sequence[float]) -> str:
    """Numbers as the text of one cell, such as `[1 2 1]`: brackets keep a leading minus from being a formula's."""
    return f"[{' '.join(map(str, entries))}]"


def _separation(row: KernelRow) -> Separation:
    return row.separation


def _spectrum(row: LayerRow) -> Spectrum | None:
    return row.spectrum


def _conditions(row: KernelRow) -> Conditions | None:
    return None if row.timing is None else row.timing.conditions


def _of_factors(row: KernelRow) -> Timing | None:
    return None if row.timing is None else row.timing.factors


_SEPARATION: Final[tuple[Column[Separation], ...]] = (
    Column("name", lambda one: one.name, "name of the kernel or its file, else its numbers", "kernel"),
    Column(
        "height",
        lambda one: one.height,
        "k_h: rows of the kernel",
        "size",
        cell=lambda one: format_sizes((one.height, one.width)),
    ),
    Column("width", lambda one: one.width, "k_w: columns of the kernel"),
    Column("rank", lambda one: one.rank, "least number of column x row products whose sum is the kernel", "rank"),
    Column(
        "separable",
        lambda one: one.separable,
        "whether one column times one row is the kernel: rank 1, or all zeros",
        "separable",
        cell=lambda one: "yes" if one.separable else "no",
        width=65,
    ),
    Column("tolerance", lambda one: one.tolerance, "singular values up to this share of the largest count as 0"),
    Column("exact", lambda one: one.exact, "whether the rank comes from exact elimination, without a tolerance"),
    Column("column", lambda one: one.column, "column of a separable kernel", flat=_listed),
    Column("row", lambda one: one.row, "row of a separable kernel", flat=_listed),
    Column("factors", lambda one: one.factors, "the kernel as a sum of column x row products"),
    Column("singular_values", lambda one: one.singular_values, "singular values, largest first", flat=_listed),
    Column(
        "rank1_error",
        lambda one: one.rank1_error,
        "error of the best column x row product: Frobenius norm, relative to the kernel's",
        "rank-1 error",
        cell=lambda one: one.error_text(1),
        width=75,
    ),
    Column("errors", lambda one: one.errors, "relative Frobenius errors of rank 1, 2, ...", flat=_listed),
    Column("products_before", lambda one: one.products_before, "products per pixel of the kernel"),
    Column(
        "products_after",
        lambda one: one.products_after,
        "products per pixel of the factors",
        "products",
        cell=lambda one: f"{one.products_before} → {one.products_after}",
        width=60,
    ),
    Column("pays_up_to_rank", lambda one: one.pays_up_to_rank, "largest rank whose factors take fewer products"),
)
_SPECTRUM: Final[tuple[Column[Spectrum], ...]] = (
    Column("kernels", lambda one: one.kernels, "number of k_h x k_w matrices of the layer: O x C/groups"),
    Column("zero_kernels", lambda one: one.zero_kernels, "number of these that are all zeros"),
    Column(
        "rank1_kernels",
        lambda one: one.rank1_kernels,
        "number of these with rank 1 within the tolerance",
        "rank 1",
        cell=lambda one: f"{thousands(one.rank1_kernels)} of {thousands(one.kernels)}",
    ),
    Column("tolerance", lambda one: one.tolerance, "singular values up to this share of the largest count as 0"),
    Column(
        "energy_q25",
        lambda one: one.energy_q25 or None,
        "share of a kernel's energy in its first 1, 2, ... singular values, lower quartile over the kernels",
        flat=_listed,
    ),
    Column(
        "energy_median",
        lambda one: one.energy_median or None,
        "share of a kernel's energy in its first 1, 2, ... singular values, median over the kernels",
        "energy of rank 1",
        cell=_energy,
        width=60,
        flat=_listed,
    ),
    Column(
        "energy_q75",
        lambda one: one.energy_q75 or None,
        "share of a kernel's energy in its first 1, 2, ... singular values, upper quartile over the kernels",
        flat=_listed,
    ),
    Column(
        "energy_histogram",
        lambda one: one.histogram,
        "number of kernels by the energy share of the first singular value: 0-10 %, ... 90-100 %",
        flat=_listed,
    ),
    Column(
        "pair_rank",
        lambda one: one.pair_rank,
        "channels per group between a k_h x 1 and a 1 x k_w convolution that together keep 99 % of the layer's energy",
        "99 % pair",
        cell=lambda one: f"{one.pair_rank} of {one.pair_full_rank}",
        width=70,
    ),
    Column("pair_full_rank", lambda one: one.pair_full_rank, "channels per group that keep all of the energy"),
)
KERNEL_COLUMNS: Final[tuple[Column[KernelRow], ...]] = (
    *(column.of(_separation) for column in _SEPARATION),
    Column(
        "matrix",
        lambda row: row.matrix.array().tolist(),
        "numbers of the kernel, row by row",
        flat=lambda rows: f"[{'; '.join(' '.join(f'{number:g}' for number in line) for line in rows)}]",
    ),
    Column("input_shape", lambda row: row.input_shape, "input shape of the layers: samples, channels, height, width"),
    Column("macs_before", lambda row: row.kernel.cost.macs, "MACs of the kernel"),
    Column("macs_after", lambda row: row.factors.cost.macs, "MACs of the factors", "MACs", cell=_macs, width=90),
    Column("macs_ratio", lambda row: row.macs_ratio, "kernel's MACs / factors' MACs", "fewer", human_ratio, width=72),
    Column(
        "difference", lambda row: row.agreement.difference, "largest difference of both outputs for one image, float64"
    ),
    Column("largest_output", lambda row: row.agreement.largest, "largest output of the kernel for that image"),
    Column("image_size", lambda row: row.agreement.size, "size of that image, height x width"),
    Column(
        "timed_difference",
        lambda row: row.timing and row.timing.difference,
        "largest difference of the timed outputs",
    ),
    *condition_columns(_conditions, device=None, dtype=None, threads=None, memory_format=None, allocator=None),
    Column(
        "kernel_time_s",
        lambda row: row.timing and row.timing.kernel and row.timing.kernel.time_s,
        "median seconds per call of the kernel's layer",
    ),
    Column(
        "time_s",
        lambda row: row.timing and row.timing.factors and row.timing.factors.time_s,
        "median seconds per call of the factors' layers",
        "time",
        cell=_times,
    ),
    *timing_columns(
        _of_factors, time_q25_s=None, time_q75_s=None, time_runs=None, dropped_share=None, faults_per_call=None
    ),
    Column(
        "speedup",
        lambda row: row.timing and row.timing.factors and row.timing.factors.speedup,
        "time of the kernel / time of its factors, median over interleaved pairs",
        "speed-up",
        cell=_speedup,
    ),
    *timing_columns(_of_factors, speedup_low=None, speedup_high=None, verdict=None, probe_drift=None),
    *condition_columns(_conditions, torch_version=None, cpu=None),
    Column("warning", lambda row: row.warning, "reasons not to trust the times"),
)
"""The fields of a kernel."""

LAYER_COLUMNS: Final[tuple[Column[LayerRow], ...]] = (
    Column("name", lambda row: row.name, "path of the module, or of the weight without .weight", "layer"),
    Column("op", lambda row: row.op, "class of the module; null in a file of weights", "op", width=130),
    Column("in_channels", lambda row: row.conv.in_channels, "C: input channels", "C", width=76),
    Column("out_channels", lambda row: row.conv.out_channels, "O: output channels", "O", width=75),
    Column("kernel_size", lambda row: row.conv.kernel_size, "kernel size, height x width", "kernel"),
    Column("groups", lambda row: row.conv.groups, "groups; in a file of weights C if a filter has one channel, else 1"),
    Column("stride", lambda row: None if row.op is None else row.conv.stride, "stride; null in a file of weights"),
    *(column.of(_spectrum) for column in _SPECTRUM),
    Column("params_before", lambda row: row.params_before, "weights of the layer", "params", human_count, width=92),
    Column("params_after", lambda row: row.params_after, "weights of the pair", "of the pair", human_count, width=90),
    Column(
        "macs_ratio",
        lambda row: row.macs_ratio,
        "MACs of the layer / MACs of the pair, per output pixel far from the edges",
        "fewer",
        human_ratio,
    ),
)
"""The fields of a layer of a network."""

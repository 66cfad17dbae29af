"""The columns of `convcost kernel`: of kernels, and of a network's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from convcost.text.columns import Column
from convcost.text.sizes import format_sizes
from convcost.text.units import human_count, human_ratio, human_share, human_time, thousands

if TYPE_CHECKING:
    from convcost.kernels.row import KernelRow, LayerRow
    from convcost.timing.statistics import Timing

__all__ = ["KERNEL_COLUMNS", "LAYER_COLUMNS", "speedup_of"]

BARS: Final = "▁▂▃▄▅▆▇█"


def speedup_of(timing: Timing) -> str:
    """A speed-up with its interval, such as `1.21x (1.16–1.26)`."""
    if timing.speedup is None:
        return "-"
    if timing.speedup_low is None or timing.speedup_high is None:
        return human_ratio(timing.speedup)
    return f"{timing.speedup:.2f}x ({timing.speedup_low:.2f}–{timing.speedup_high:.2f})"


def _speedup(row: KernelRow) -> str:
    timing = None if row.timing is None else row.timing.factors
    return "-" if timing is None else speedup_of(timing) + (" !" if row.warning else "")


def _size(row: KernelRow) -> str:
    return format_sizes(row.size)


def _products(row: KernelRow) -> str:
    return f"{row.separation.products_before} → {row.separation.products_after}"


def _macs(row: KernelRow) -> str:
    return f"{human_count(row.kernel.cost.macs)} → {human_count(row.factors.cost.macs)}"


def _times(row: KernelRow) -> str:
    timing = row.timing
    if timing is None or timing.kernel is None or timing.factors is None:
        return "-"
    return f"{human_time(timing.kernel.time_s)} → {human_time(timing.factors.time_s)}"


def _energy(row: LayerRow) -> str:
    """The share of the first singular value: median, quartiles and how it is spread."""
    seen = row.spectrum
    if seen is None or not seen.energy_median:
        return "-"
    bars = "".join(BARS[round((len(BARS) - 1) * count / max(seen.histogram))] for count in seen.histogram)
    low, middle, high = (human_share(values[0]) for values in (seen.energy_q25, seen.energy_median, seen.energy_q75))
    return f"{middle} ({low.removesuffix(' %')}–{high.removesuffix(' %')}) {bars}"


def _pair(row: LayerRow) -> str:
    return "-" if row.spectrum is None else f"{row.spectrum.pair_rank} of {row.spectrum.pair_full_rank}"


def _rank1(row: LayerRow) -> str:
    seen = row.spectrum
    return "-" if seen is None else f"{thousands(seen.rank1_kernels)} of {thousands(seen.kernels)}"


def _yes(value: Any) -> str:  # noqa: ANN401 - the raw value of a cell
    return "yes" if value else "no"


KERNEL_COLUMNS: Final = (
    Column("name", "separation.name", "of the kernel, its file, or its numbers", "kernel"),
    Column("height", "separation.height", "k_h", "size", cell=_size),
    Column("width", "separation.width", "k_w"),
    Column("rank", "separation.rank", "the least number of columns times rows that make the kernel", "rank"),
    Column(
        "separable",
        "separation.separable",
        "rank 1, or all zeros: one column times one row is the kernel",
        "separable",
        _yes,
        width=65,
    ),
    Column("tolerance", "separation.tolerance", "singular values up to this share of the largest are 0"),
    Column("exact", "separation.exact", "whether the rank was decided by elimination, without a tolerance"),
    Column("column", "column", "of a separable kernel"),
    Column("row", "row", "of a separable kernel"),
    Column("factors", "separation.factors", "the kernel as a sum of columns times rows"),
    Column("singular_values", "singular_values", "falling"),
    Column(
        "rank1_error",
        "separation.rank1_error",
        "of the best column times row: Frobenius norm, relative to the kernel's",
        "rank-1 error",
        "{:.3g}".format,
        width=75,
    ),
    Column("errors", "errors", "of the best approximation of rank 1, 2, ... , likewise"),
    Column("products_before", "separation.products_before", "products a pixel of the kernel"),
    Column(
        "products_after",
        "separation.products_after",
        "products a pixel of the factors",
        "products",
        cell=_products,
        width=60,
    ),
    Column("pays_up_to_rank", "separation.pays_up_to_rank", "the largest rank whose factors take fewer products"),
    Column("input_shape", "input_shape", "of the layers: samples, channels, height, width", show=format_sizes),
    Column("macs_before", "kernel.cost.macs", "multiply-accumulates of the kernel's layer"),
    Column(
        "macs_after", "factors.cost.macs", "multiply-accumulates of the factors' layers", "MACs", cell=_macs, width=90
    ),
    Column("macs_ratio", "macs_ratio", "MACs of the kernel / of its factors", "fewer", human_ratio, width=72),
    Column("difference", "agreement.difference", "largest between both outputs for one image, float64"),
    Column("largest_output", "agreement.largest", "of the kernel for that image"),
    Column("image_size", "agreement.size", "height x width of that image"),
    Column("timed_difference", "timing.difference", "largest between the outputs of the timed layers"),
    Column("device", "timing.conditions.device", "that was timed"),
    Column("dtype", "timing.conditions.dtype", "of the timed layers"),
    Column("threads", "timing.conditions.threads", "of torch, while timing"),
    Column("memory_format", "timing.conditions.memory_format", "of input and weights"),
    Column("allocator", "timing.conditions.allocator", "pinned: freed memory stays with the process; or default"),
    Column("kernel_time_s", "timing.kernel.time_s", "median time of the kernel's layer, seconds"),
    Column("time_s", "timing.factors.time_s", "median time of the factors' layers, seconds", "time", cell=_times),
    Column("time_q25_s", "timing.factors.time_q25_s", "lower quartile, seconds"),
    Column("time_q75_s", "timing.factors.time_q75_s", "upper quartile, seconds"),
    Column("time_runs", "timing.factors.time_runs", "timed calls in clean blocks"),
    Column("dropped_share", "timing.factors.dropped_share", "share of the blocks that were disturbed and dropped"),
    Column("faults_per_call", "timing.factors.faults_per_call", "minor page faults a call"),
    Column("speedup", "timing.factors.speedup", "time of the kernel / of its factors", "speed-up", cell=_speedup),
    Column("speedup_low", "timing.factors.speedup_low", "lower end of its 5-95 % interval, run-to-run term included"),
    Column("speedup_high", "timing.factors.speedup_high", "upper end of its 5-95 % interval, run-to-run term included"),
    Column("probe_drift", "timing.factors.probe_drift", "change of the reference probe while timing, share"),
    Column("torch_version", "timing.conditions.torch_version", "that was timed"),
    Column("cpu", "timing.conditions.cpu", "name of the processor"),
    Column("warning", "warning", "what to know before trusting the times"),
)
"""The fields of a kernel."""

LAYER_COLUMNS: Final = (
    Column("name", "name", "path of the module, or the name in a file of weights without .weight", "layer"),
    Column("op", "op", "class of the module; null in a file of weights", "op", width=130),
    Column("in_channels", "in_channels", "C", "C", width=76),
    Column("out_channels", "out_channels", "O", "O", width=75),
    Column("kernel_size", "kernel_size", "height x width", "kernel", format_sizes),
    Column("groups", "groups", "of the convolution; in a file of weights 1, or C where a filter has one channel"),
    Column("stride", "stride", "vertical x horizontal; null in a file of weights", show=format_sizes),
    Column("kernels", "spectrum.kernels", "k_h x k_w matrices of the layer: O times C/groups"),
    Column("zero_kernels", "spectrum.zero_kernels", "of these, matrices of zeros"),
    Column(
        "rank1_kernels",
        "spectrum.rank1_kernels",
        "of these, matrices of rank 1 within the tolerance",
        "rank 1",
        cell=_rank1,
    ),
    Column("tolerance", "spectrum.tolerance", "singular values up to this share of a kernel's largest count as 0"),
    Column(
        "energy_q25",
        "spectrum.q25",
        "share of a kernel's energy in its first 1, 2, ... singular values: lower quartile over the kernels",
    ),
    Column("energy_median", "spectrum.median", "likewise, median", "energy of rank 1", cell=_energy, width=60),
    Column("energy_q75", "spectrum.q75", "likewise, upper quartile"),
    Column(
        "energy_histogram", "spectrum.bins", "kernels by the share in the first singular value: 0-10 %, ... 90-100 %"
    ),
    Column(
        "pair_rank",
        "spectrum.pair_rank",
        "channels (in each group) between a k_h x 1 and a 1 x k_w convolution that keep 99 % of the layer's energy",
        "99 % pair",
        cell=_pair,
        width=70,
    ),
    Column("pair_full_rank", "spectrum.pair_full_rank", "channels (in each group) that keep all of it"),
    Column("params_before", "params_before", "weights of the layer", "params", human_count, width=92),
    Column("params_after", "params_after", "weights of the pair", "of the pair", human_count, width=90),
    Column(
        "macs_ratio",
        "macs_ratio",
        "MACs of the layer / of the pair, an output pixel far from the edges",
        "fewer",
        human_ratio,
    ),
)
"""The fields of a layer of a network."""

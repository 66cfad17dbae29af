"""A kernel and its factors as real torch layers, compared and timed next to each other."""

from __future__ import annotations

from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from convcost.kernels.demonstration import column_row_weights
from convcost.kernels.row import KernelTiming
from convcost.nn.build.tree_module import build
from convcost.nn.measure.clock import clock_for, interleave, seconds_of
from convcost.nn.measure.device import refusal, resolve_device
from convcost.nn.measure.session import LOOK_S, conditions_for, machine_notes, reference_probe, timing_settings
from convcost.text.units import human_time
from convcost.timing.statistics import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from convcost.kernels.demonstration import Candidate
    from convcost.kernels.row import KernelRow
    from convcost.nn.measure.clock import Clock
    from convcost.timing.options import TimingOptions
    from convcost.timing.statistics import Series

__all__ = ["measure_kernel"]

STRIPS: Final = 16
"""The image is this many times as high as the strip that tells how slow the layers are."""
LEAST_CALLS: Final = 2
"""Of both layers: one to compare the outputs, and one that is timed."""
KERNEL: Final = "kernel"
FACTORS: Final = "factors"


def measure_kernel(
    row: KernelRow, options: TimingOptions, budget_s: float, watch: Callable[[str], None]
) -> tuple[KernelTiming, tuple[str, ...]]:
    """Time a kernel and its factors by the protocol of `convcost compare`.

    Args:
        row: the kernel, its factors and both as layers.
        options: device, memory format, threads, allocator.
        budget_s: seconds, warm-up included.
        watch: is called with a line of progress.

    Returns:
        The timing, and what there is to say about the machine.

    Raises:
        ConvcostError: a device or a number of threads that this machine does not have.
    """
    conditions, pinned = conditions_for(options, options.devices[0])
    where = resolve_device(options.devices[0])
    most = max(row.kernel.cost.traffic_bytes, row.factors.cost.traffic_bytes)
    if reason := refusal(2 * most, where):
        return KernelTiming(conditions, refused=reason), ()
    watch("looking at the machine ...")
    notes = machine_notes(options, where, conditions.threads, pinned=pinned)
    with timing_settings(conditions.threads):
        probe, flop_per_s = reference_probe(where)
        least_s = (row.kernel.cost.flops + row.factors.cost.flops) / flop_per_s
        if least_s > budget_s:
            reason = f"not timed: a call of both takes {human_time(least_s)} or more; raise time_budget"
            return KernelTiming(conditions, refused=reason), notes
        layout = torch.channels_last if options.memory_format == "channels_last" else torch.contiguous_format
        data = torch.randn(*row.input_shape, device=where).to(memory_format=layout)
        layers = {name: _laid_out(module.to(where), layout) for name, module in _modules(row).items()}
        clock = clock_for(where, conditions.threads)
        if reason := _too_slow(layers.values(), data, clock, budget_s):
            return KernelTiming(conditions, refused=reason), notes
        outputs = [layer(data) for layer in layers.values()]
        difference = float((outputs[0] - outputs[1]).abs().max())
        del outputs
        if not isfinite(difference):
            reason = "not timed: the outputs leave the range of float32; scale the kernel"
            return KernelTiming(conditions, refused=reason), notes

        def call(layer: nn.Module) -> Callable[[], object]:
            return lambda: layer(data)

        def tell(series: Mapping[str, Series], probes: Mapping[int, float], line: str) -> None:
            del series, probes
            watch(f"{row.separation.name}: {line}")

        calls = {name: call(layer) for name, layer in layers.items()}
        left = max(0.01, budget_s - (LOOK_S if where.type == "cpu" else 0.0))
        series, probes = interleave(calls, probe, clock, left, tell)
    timings = summarise(series, probes, KERNEL, pinned=pinned)
    return KernelTiming(conditions, timings[KERNEL], timings[FACTORS], difference), notes


def _too_slow(layers: Iterable[nn.Module], data: torch.Tensor, clock: Clock, budget_s: float) -> str | None:
    """Why a timing would outlast its budget, seen on a strip of the image; None when it fits.

    The peak of the machine does not tell: depthwise layers are far below it.
    """
    rows = max(1, data.shape[2] // STRIPS)
    strip = data[:, :, :rows].contiguous()
    calls = [partial(layer, strip) for layer in layers]
    for call in calls:
        call()  # the first one takes longer
    seconds = sum(seconds_of(call, clock) for call in calls) * data.shape[2] / rows
    if LEAST_CALLS * seconds <= budget_s:
        return None
    return f"not timed: a call of both takes about {human_time(seconds)}; raise time_budget"


def _modules(row: KernelRow) -> dict[str, nn.Module]:
    """Both as modules in float32; every channel has the same kernel."""
    channels = row.kernel.layers[0].input.channels
    columns, rows = column_row_weights(row.separation)
    whole = row.matrix.array()[None, None]
    return {
        KERNEL: _filled(row.kernel, [whole.repeat(channels, 0)]),
        FACTORS: _filled(row.factors, [_tiled(columns, channels), rows.repeat(channels, 0)]),
    }


def _tiled(columns: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """All columns for the first channel, then all for the second: the order of a grouped convolution."""
    import numpy as np

    return np.tile(columns, (channels, 1, 1, 1))


def _filled(candidate: Candidate, weights: list[NDArray[np.float64]]) -> nn.Module:
    module = build(candidate.tree, candidate.layers[0].input, dtype=torch.float32)
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    with torch.no_grad():
        for conv, weight in zip(convs, weights, strict=True):
            conv.weight.copy_(torch.from_numpy(weight))
    return module


def _laid_out(module: nn.Module, layout: torch.memory_format) -> Any:
    return module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks this keyword

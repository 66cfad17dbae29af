"""A kernel and its factors as real torch layers, compared and timed next to each other."""

from __future__ import annotations

from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from convcost.kernels.demonstration import column_row_weights
from convcost.kernels.row import KernelTiming
from convcost.nn.build.tree_module import build
from convcost.nn.measure.clock import seconds_of
from convcost.nn.measure.device import LAYOUTS, laid_out, refusal, resolve_device
from convcost.nn.measure.session import conditions_for, timing_session
from convcost.text.units import human_time
from convcost.timing.statistics import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from convcost.kernels.demonstration import Candidate
    from convcost.kernels.row import KernelRow
    from convcost.nn.measure.clock import Clock
    from convcost.nn.measure.session import TimingSession
    from convcost.timing.conditions import TimingOptions

STRIPS: Final = 16
"""Height of the image, as a multiple of the strip on which the layers are tried first."""
TRIES: Final = 2
"""Number of calls of a layer on the strip, of which the fastest counts."""
MIN_CALLS: Final = 2
"""Minimum number of calls of a layer: one to compare the outputs, one to time."""
KERNEL: Final = "kernel"
FACTORS: Final = "factors"


def measure_kernel(
    row: KernelRow, options: TimingOptions, watch: Callable[[str], None]
) -> tuple[KernelTiming, tuple[str, ...]]:
    """Time a kernel and its factors by the protocol of `convcost compare`.

    Args:
        row: Kernel with its factors, both as layers.
        options: Conditions and time budget.
        watch: Called with a line of progress.

    Returns:
        The timing, and remarks about the machine.

    Raises:
        ConvcostError: A device or a number of threads that this machine does not have.
    """
    most = max(row.kernel.cost.traffic_bytes, row.factors.cost.traffic_bytes)
    if reason := refusal(2 * most, resolve_device(options.devices[0])):
        return KernelTiming(conditions_for(options), refused=reason), ()
    with timing_session(options, watch) as session:
        return _compared(row, session, options.time_budget, watch), session.notes


def _compared(row: KernelRow, session: TimingSession, budget_s: float, watch: Callable[[str], None]) -> KernelTiming:
    """The difference of the outputs on one image and the timings, or the reason why they are not timed."""
    conditions = session.conditions
    min_s = (row.kernel.cost.flops + row.factors.cost.flops) / session.flop_per_s
    if min_s > budget_s:
        reason = f"not timed: a call of both takes {human_time(min_s)} or more; raise time_budget"
        return KernelTiming(conditions, refused=reason)
    layout = LAYOUTS[conditions.memory_format]
    data = torch.randn(*row.input_shape, device=session.device).to(memory_format=layout)
    layers = {name: laid_out(module.to(session.device), layout) for name, module in _modules(row).items()}
    if slow := _too_slow(layers.values(), data, session.clock, budget_s):
        return KernelTiming(conditions, refused=slow)
    difference = float((layers[KERNEL](data) - layers[FACTORS](data)).abs().max())
    if not isfinite(difference):
        reason = "not timed: the outputs leave the range of float32; scale the kernel"
        return KernelTiming(conditions, refused=reason)
    calls = {name: partial(layer, data) for name, layer in layers.items()}
    series, probes = session.run(calls, lambda _, __, line: watch(f"{row.separation.name}: {line}"))
    timings = summarise(series, probes, KERNEL, pinned=session.pinned)
    return KernelTiming(conditions, timings[KERNEL], timings[FACTORS], difference)


def _too_slow(layers: Iterable[nn.Module], data: torch.Tensor, clock: Clock, budget_s: float) -> str | None:
    """The reason why a timing would exceed its budget, estimated from a strip of the image; None if it would not.

    The FLOPs are no estimate, since depthwise layers run far below the peak of the machine.
    """
    rows = max(1, data.shape[2] // STRIPS)
    strip = data[:, :, :rows].contiguous()
    calls = [partial(layer, strip) for layer in layers]
    for call in calls:
        call()  # the first one takes longer
    strip_s = sum(min(seconds_of(call, clock) for _ in range(TRIES)) for call in calls)
    seconds = strip_s * data.shape[2] / rows
    if MIN_CALLS * seconds <= budget_s:
        return None
    return f"not timed: a call of both takes about {human_time(seconds)}; raise time_budget"


def _modules(row: KernelRow) -> dict[str, nn.Module]:
    """Kernel and factors as modules in float32, with the same kernel for every channel."""
    channels = row.kernel.layers[0].input.channels
    columns, rows = column_row_weights(row.separation)
    whole = row.matrix.array()[None, None]
    return {
        KERNEL: _filled(row.kernel, [whole.repeat(channels, 0)]),
        FACTORS: _filled(row.factors, [_tiled(columns, channels), rows.repeat(channels, 0)]),
    }


def _tiled(columns: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """The columns repeated for each channel, in the order of a grouped convolution."""
    import numpy as np

    return np.tile(columns, (channels, 1, 1, 1))


def _filled(candidate: Candidate, weights: list[NDArray[np.float64]]) -> nn.Module:
    module = build(candidate.tree, candidate.layers[0].input, dtype=torch.float32)
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    with torch.no_grad():
        for conv, weight in zip(convs, weights, strict=True):
            conv.weight.copy_(torch.from_numpy(weight))
    return module

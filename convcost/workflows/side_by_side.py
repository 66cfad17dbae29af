"""Two counted models timed side by side: their forward passes, and the layers that differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from convcost.workflows.model import accounted, weights_dtype, with_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from convcost.models.report import ModelReport
    from convcost.nn.measure.models import Forward
    from convcost.timing.conditions import TimingOptions
    from convcost.timing.measured import PairTiming


@dataclass(frozen=True, slots=True)
class TimedPair:
    """Two models with their times.

    Attributes:
        a: Report of the first model, with the times of the layers that differ.
        b: Report of the second model; the speed-up of its forward pass is relative to the first.
        timing: The timings, those of pairs of layers included.
    """

    a: ModelReport
    b: ModelReport
    timing: PairTiming


def time_side_by_side(
    counted: tuple[ModelReport, ModelReport],
    forwards: tuple[Forward, Forward],
    pairs: Sequence[tuple[str | None, str | None]],
    options: TimingOptions,
    tell: Callable[[str], None],
) -> Iterator[TimedPair]:
    """Time two models next to each other; the pair with times, then after each account.

    Args:
        counted: Reports of the two models.
        forwards: The two models with real weights on the CPU, and their inputs.
        pairs: Names of the layers to time alone: each layer of the first model with its counterpart in the second,
            None without one.
        options: Device, threads and time budget of all together.
        tell: Called with lines of progress.

    Raises:
        ConvcostError: An unknown device, too little memory, or a model that does not run.
    """
    from convcost.nn.measure.device import resolve_device, resolve_threads
    from convcost.nn.measure.side_by_side import measure_side_by_side
    from convcost.nn.measure.this_machine import calibration_for
    from convcost.timing.machine import run_to_run_of

    options = replace(options, dtype=weights_dtype(forwards[0]))
    where, threads = resolve_device(options.devices[0]), resolve_threads(options.threads)
    machine, note = calibration_for(where, options.dtype, threads)
    timing = measure_side_by_side(forwards, pairs, options, tell, run_to_run=run_to_run_of(machine))
    a, b = (
        with_times(report, timed, machine, note, why=options.why)
        for report, timed in zip(counted, (timing.a, timing.b), strict=True)
    )
    yield TimedPair(a, b, timing)
    if options.why:
        for layers in accounted(a.layers, timing.a, tell):
            a = replace(a, layers=layers)
            yield TimedPair(a, b, timing)
        for layers in accounted(b.layers, timing.b, tell):
            b = replace(b, layers=layers)
            yield TimedPair(a, b, timing)

"""Blocks timed as real torch modules on one device: candidates made, conditions set and put back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from convcost.nn.build.tree_module import build
from convcost.nn.measure.clock import clock_for, interleave
from convcost.nn.measure.device import refusal, resolve_device
from convcost.nn.measure.session import LOOK_S, conditions_for, machine_notes, reference_probe, timing_settings
from convcost.text.errors import ConvcostError
from convcost.text.units import human_time
from convcost.timing.measured import Measured
from convcost.timing.statistics import RUN_TO_RUN, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.comparison.rows import Placed
    from convcost.timing.options import TimingOptions
    from convcost.timing.statistics import Series

    Watch = Callable[["Measured", str], None]

__all__ = ["measure"]


def measure(
    blocks: Sequence[Placed], baseline: str, options: TimingOptions, watch: Watch, run_to_run: float = RUN_TO_RUN
) -> Measured:
    """Time blocks on one device by the protocol of `convcost.nn.measure.clock`.

    Args:
        blocks: on one input shape; the first of a name counts.
        baseline: Name of the block that speed-ups are relative to.
        options: One device, the conditions and the time on it.
        watch: is called with what is known so far and a line of progress.
        run_to_run: standard deviation of a speed-up between processes, as a share.

    Raises:
        ConvcostError: a device or a number of threads that this machine does not have, or a module that torch cannot
            run under these conditions.
    """
    where, budget_s = resolve_device(options.devices[0]), options.time_budget
    conditions, pinned = conditions_for(options, options.devices[0])
    nothing = Measured(conditions, {}, {}, ())
    watch(nothing, "looking at the machine ...")
    notes = machine_notes(options, where, conditions.threads, pinned=pinned)
    with timing_settings(conditions.threads):
        probe, flop_per_s = reference_probe(where)
        fitting, refused = _choose(blocks, where, flop_per_s, budget_s)
        calls = _calls(fitting, options, where)
        if not calls:
            return replace(nothing, refused=refused, notes=notes)

        def result(series: Mapping[str, Series], probes: Mapping[int, float]) -> Measured:
            timings = summarise(series, probes, baseline, pinned=pinned, run_to_run=run_to_run)
            return Measured(conditions, timings, refused, notes)

        def tell(series: Mapping[str, Series], probes: Mapping[int, float], line: str) -> None:
            watch(result(series, probes) if probes else nothing, line)

        spent = LOOK_S if where.type == "cpu" else 0.0
        clock, left = clock_for(where, conditions.threads), max(0.01, budget_s - spent)
        return result(*interleave(calls, probe, clock, left, tell, compiles=options.compiled))


def _choose(
    blocks: Sequence[Placed], device: torch.device, flop_per_s: float, budget_s: float
) -> tuple[list[Placed], dict[str, str]]:
    """The blocks that fit the device and the budget; why the others do not."""
    fitting: list[Placed] = []
    refused: dict[str, str] = {}
    weights = 0
    for placed in {placed.block.name: placed for placed in blocks}.values():
        element = placed.cost.traffic_bytes  # inputs, weights and outputs of every stage
        reason = refusal(weights + 2 * element, device)
        least_s = placed.cost.flops / flop_per_s
        if reason is None and least_s > budget_s:
            reason = f"not timed: a call takes {human_time(least_s)} or more; raise time_budget"
        if reason is None:
            fitting.append(placed)
            weights += element
        else:
            refused[placed.block.name] = reason
    return fitting, refused


def _calls(blocks: Sequence[Placed], options: TimingOptions, device: torch.device) -> dict[str, Callable[[], object]]:
    """One call of each block, with fresh modules and one input for all."""
    if not blocks:
        return {}
    dtype = getattr(torch, options.dtype)
    layout = torch.channels_last if options.memory_format == "channels_last" else torch.contiguous_format
    data = torch.randn(*blocks[0].spec.input.sizes, device=device, dtype=dtype).to(memory_format=layout)
    calls: dict[str, Callable[[], object]] = {}
    for placed in blocks:
        module = build(placed.tree, placed.spec.input, device=device, dtype=dtype)
        module = module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks this keyword
        runnable = torch.compile(module) if options.compiled else module

        def call(runnable: Callable[[torch.Tensor], object] = runnable, name: str = placed.block.name) -> object:
            try:
                return runnable(data)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                step = "turn compile off" if options.compiled else "change dtype or device"
                msg = f"{name} could not run on {device} in {options.dtype}: {reason}; {step}."
                raise ConvcostError(msg) from error

        calls[placed.block.name] = call
    return calls

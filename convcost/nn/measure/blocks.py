"""Blocks timed next to each other, as real torch modules on one device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from convcost.nn.build.tree_module import build
from convcost.nn.measure.device import LAYOUTS, laid_out, refusal
from convcost.nn.measure.session import conditions_for, timing_session
from convcost.text.errors import ConvcostError
from convcost.text.units import human_time
from convcost.timing.measured import Measured
from convcost.timing.statistics import RUN_TO_RUN, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.comparison.rows import Placed
    from convcost.nn.measure.session import TimingSession
    from convcost.timing.conditions import TimingOptions
    from convcost.timing.statistics import Series

    Watch = Callable[["Measured", str], None]


def measure(
    blocks: Sequence[Placed], baseline: str, options: TimingOptions, watch: Watch, run_to_run: float = RUN_TO_RUN
) -> Measured:
    """Time blocks on the first device of the options, by the protocol of `convcost.nn.measure.clock`.

    Args:
        blocks: Blocks on one input shape; a repeated name is timed once.
        baseline: Name of the block that speed-ups are relative to.
        options: Conditions and time budget.
        watch: Called with the partial result and a line of progress.
        run_to_run: Standard deviation of a speed-up between processes, as a share.

    Raises:
        ConvcostError: A device or a number of threads that this machine does not have, or a module that torch cannot
            run under these conditions.
    """
    nothing = Measured(conditions_for(options), {}, {}, ())
    with timing_session(options, lambda line: watch(nothing, line)) as session:
        fitting, refused = _choose(blocks, session, options.time_budget)

        def result(series: Mapping[str, Series], probes: Mapping[int, float]) -> Measured:
            timings = summarise(series, probes, baseline, pinned=session.pinned, run_to_run=run_to_run)
            return Measured(session.conditions, timings, refused, session.notes)

        def show(series: Mapping[str, Series], probes: Mapping[int, float], line: str) -> None:
            watch(result(series, probes) if probes else nothing, line)

        return result(*session.run(_calls(fitting, session), show)) if fitting else result({}, {})


def _choose(blocks: Sequence[Placed], session: TimingSession, budget_s: float) -> tuple[list[Placed], dict[str, str]]:
    """The blocks that fit the device and the budget, and the reasons why others do not, by name."""
    fitting: list[Placed] = []
    refused: dict[str, str] = {}
    weights = 0
    for placed in {placed.block.name: placed for placed in blocks}.values():
        element = placed.cost.traffic_bytes  # inputs, weights and outputs of every stage
        reason = refusal(weights + 2 * element, session.device)
        min_s = placed.cost.flops / session.flop_per_s
        if reason is None and min_s > budget_s:
            reason = f"not timed: a call takes {human_time(min_s)} or more; raise time_budget"
        if reason is None:
            fitting.append(placed)
            weights += element
        else:
            refused[placed.block.name] = reason
    return fitting, refused


def _calls(blocks: Sequence[Placed], session: TimingSession) -> dict[str, Callable[[], object]]:
    """A call of each block, by name, with new modules and one input for all."""
    conditions, device = session.conditions, session.device
    dtype = getattr(torch, conditions.dtype)
    layout = LAYOUTS[conditions.memory_format]
    data = torch.randn(*blocks[0].spec.input.sizes, device=device, dtype=dtype).to(memory_format=layout)
    calls: dict[str, Callable[[], object]] = {}
    for placed in blocks:
        module = laid_out(build(placed.tree, placed.spec.input, device=device, dtype=dtype), layout)
        runnable = torch.compile(module) if conditions.compiled else module

        def call(runnable: Callable[[torch.Tensor], object] = runnable, name: str = placed.block.name) -> object:
            try:
                return runnable(data)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                step = "turn compile off" if conditions.compiled else "change dtype or device"
                msg = f"{name} could not run on {device} in {conditions.dtype}: {reason}; {step}."
                raise ConvcostError(msg) from error

        calls[placed.block.name] = call
    return calls

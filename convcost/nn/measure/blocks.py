"""Blocks timed next to each other, as real torch modules on one device."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final

import torch

from convcost.nn.build.tree_module import build
from convcost.nn.measure.clock import seconds_of
from convcost.nn.measure.device import LAYOUTS, laid_out, refusal
from convcost.nn.measure.session import conditions_for, timing_session
from convcost.text.errors import ConvcostError
from convcost.text.units import human_time
from convcost.timing.measured import Measured, Outcome
from convcost.timing.statistics import RUN_TO_RUN, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.comparison.rows import Placed
    from convcost.nn.measure.session import TimingSession
    from convcost.timing.conditions import Conditions, TimingOptions
    from convcost.timing.statistics import Series

    Watch = Callable[[tuple["Measured", ...], str], None]

WANTED_CALLS: Final = 16
"""Calls of each block in a sweep that a time of its own pays for, however long one takes: eight rounds of two."""
_NO_MEMORY: Final = re.compile(r"out of memory|allocate memory|not enough memory|_ALLOC_FAILED", re.IGNORECASE)
"""What torch and its libraries say of an allocation that failed, beside the exceptions that they have for it."""


@dataclass(frozen=True, slots=True)
class Run:
    """The blocks to time under one condition.

    Attributes:
        blocks: Blocks on one input shape; a repeated name is timed once.
        options: Conditions and time budget; only the first device counts.
        run_to_run: Standard deviation of a speed-up between processes, as a share.
    """

    blocks: Sequence[Placed]
    options: TimingOptions
    run_to_run: float = RUN_TO_RUN


def measure(runs: Sequence[Run], baseline: str, watch: Watch) -> tuple[Measured, ...]:
    """Time blocks under one or several conditions on one device, by the protocol of `convcost.nn.measure.clock`.

    Args:
        runs: Blocks by condition; their time budgets are added up, since all are timed next to each other.
        baseline: Name of the block that speed-ups are relative to, under the same condition.
        watch: Called with the partial results and a line of progress.

    Returns:
        The timings of each run.

    Raises:
        ConvcostError: A device or a number of threads that this machine does not have, or a module that torch cannot
            run under these conditions.
    """
    conditions = [conditions_for(run.options) for run in runs]
    nothing = tuple(Measured(one, {}, {}, ()) for one in conditions)
    budget_s = sum(run.options.time_budget for run in runs)
    widest = max(range(len(runs)), key=lambda index: conditions[index].threads)
    options = replace(runs[widest].options, time_budget=budget_s)
    with timing_session(options, lambda line: watch(nothing, line)) as session:
        fitting, refused = _choose(runs, session, budget_s)
        keys = {_key(placed, index, len(runs)): (placed, index) for placed, index in fitting}

        def result(series: Mapping[str, Series], probes: Mapping[int, float]) -> tuple[Measured, ...]:
            own: list[dict[str, Series]] = [{} for _ in runs]
            for key in series:
                placed, index = keys[key]
                own[index][placed.block.name] = series[key]
            return tuple(
                Measured(
                    one,
                    summarise(mine, probes, baseline, pinned=session.pinned, run_to_run=run.run_to_run),
                    left,
                    session.notes,
                )
                for one, mine, run, left in zip(conditions, own, runs, refused, strict=True)
            )

        def show(series: Mapping[str, Series], probes: Mapping[int, float], line: str) -> None:
            watch(result(series, probes) if probes else nothing, line)

        if not keys:
            return result({}, {})
        inputs = [_input(run.blocks[0], one, session.device) for run, one in zip(runs, conditions, strict=True)]
        calls = {key: _call(placed, conditions[index], inputs[index]) for key, (placed, index) in keys.items()}
        threads = {key: conditions[index].threads for key, (_, index) in keys.items()}
        return result(*session.run(calls, show, threads))


def _key(placed: Placed, index: int, count: int) -> str:
    """The name of a candidate."""
    return placed.block.name if count == 1 else f"{placed.block.name}, condition {index + 1} of {count}"


def _choose(
    runs: Sequence[Run], session: TimingSession, budget_s: float
) -> tuple[list[tuple[Placed, int]], list[dict[str, str]]]:
    """The blocks that fit the device and the budget, each with the index of its run, and by run why others do not."""
    fitting: list[tuple[Placed, int]] = []
    refused: list[dict[str, str]] = [{} for _ in runs]
    weights = 0
    for index, run in enumerate(runs):
        for name, placed in {placed.block.name: placed for placed in run.blocks}.items():
            element = placed.cost.traffic_bytes  # inputs, weights and outputs of every stage
            reason = refusal(weights + 2 * element, session.device)
            min_s = placed.cost.flops / session.flop_per_s
            if reason is None and min_s > budget_s:
                reason = f"not timed: a call takes {human_time(min_s)} or more; raise time_budget"
            if reason is None:
                fitting.append((placed, index))
                weights += element
            else:
                refused[index][name] = reason
    return fitting, refused


def _input(placed: Placed, conditions: Conditions, device: torch.device) -> torch.Tensor:
    """Random input, the same for all blocks of a run."""
    data = torch.randn(*placed.spec.input.sizes, device=device, dtype=getattr(torch, conditions.dtype))
    return data.to(memory_format=LAYOUTS[conditions.memory_format])


def _call(placed: Placed, conditions: Conditions, data: torch.Tensor) -> Callable[[], object]:
    """A call of a block as a new module."""
    tree_module = build(placed.tree, placed.spec.input, device=data.device, dtype=data.dtype)
    module = laid_out(tree_module, LAYOUTS[conditions.memory_format])
    runnable: Callable[[torch.Tensor], object] = torch.compile(module) if conditions.compiled else module

    def call() -> object:
        try:
            return runnable(data)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            step = "turn compile off" if conditions.compiled else "change dtype or device"
            msg = f"{placed.block.name} could not run on {data.device} in {conditions.dtype}: {reason}; {step}."
            raise ConvcostError(msg) from error

    return call


def measure_in(  # noqa: PLR0913, PLR0917 - the session, the blocks, and what one of them may take
    session: TimingSession,
    blocks: Sequence[Placed],
    baseline: str,
    seconds: float,
    max_call_s: float,
    run_to_run: float = RUN_TO_RUN,
) -> dict[str, Outcome]:
    """Time blocks on one input shape in an open session; what cannot be timed does not keep the others from it.

    Args:
        session: Session with the conditions of the timing.
        blocks: Blocks of different names.
        baseline: Name of the block that speed-ups are relative to.
        seconds: Seconds for each block; one of which 16 calls take longer gets the time for these.
        max_call_s: Seconds of a call beyond which a block is too slow.
        run_to_run: Standard deviation of a speed-up between processes, as a share.

    Returns:
        What became of each block, by name.
    """
    outcomes: dict[str, Outcome] = {}
    started: dict[str, _Started] = {}
    weights = 0
    data = cache(lambda: _input(blocks[0], session.conditions, session.device))  # made when it is known to fit
    for placed in blocks:
        one = _start(session, placed, data, weights, max_call_s)
        if isinstance(one, Outcome):
            outcomes[placed.block.name] = one
        else:
            started[placed.block.name] = one
            weights += placed.cost.traffic_bytes
    if not started:
        return outcomes
    budget_s = sum(max(seconds, WANTED_CALLS * one.call_s) for one in started.values())
    try:
        series, probes = replace(session, budget_s=budget_s).run({name: one.call for name, one in started.items()})
    except ConvcostError as error:
        return outcomes | dict.fromkeys(started, _failure(error))
    series = {name: replace(one, first_call_s=started[name].first_s) for name, one in series.items()}
    timings = summarise(series, probes, baseline, pinned=session.pinned, run_to_run=run_to_run)
    return outcomes | {name: Outcome("ok", None, timing) for name, timing in timings.items()}


@dataclass(frozen=True, slots=True)
class _Started:
    """A block that has run.

    Attributes:
        call: Call of the block.
        first_s: Seconds of its first call.
        call_s: Seconds of its fastest call so far.
    """

    call: Callable[[], object]
    first_s: float
    call_s: float


def _start(
    session: TimingSession, placed: Placed, data: Callable[[], torch.Tensor], weights: int, max_call_s: float
) -> _Started | Outcome:
    """Make a block and call it twice; an outcome if it does not fit, does not run or is too slow."""
    lack = refusal(weights + 2 * placed.cost.traffic_bytes, session.device)
    if lack is not None:
        return Outcome("out-of-memory", lack.removeprefix("not timed: "))
    min_s = placed.cost.flops / session.flop_per_s
    if min_s > max_call_s:
        return _too_slow(min_s, max_call_s)
    try:
        call = _call(placed, session.conditions, data())
        first_s = call_s = seconds_of(call, session.clock)
        if first_s < WANTED_CALLS * max_call_s:  # a first call takes several times as long as later ones
            call_s = min(first_s, seconds_of(call, session.clock))
    except (ConvcostError, RuntimeError, MemoryError) as error:
        return _failure(error)
    return _too_slow(call_s, max_call_s) if call_s > max_call_s else _Started(call, first_s, call_s)


def _too_slow(call_s: float, max_call_s: float) -> Outcome:
    took = f"a call takes {human_time(call_s)} or more, which is above the limit of {human_time(max_call_s)}"
    return Outcome("too-slow", f"{took}; raise time_budget, or take a smaller input")


def _failure(error: Exception) -> Outcome:
    """The outcome of a block that could not be made, or did not run."""
    cause = error.__cause__ if isinstance(error, ConvcostError) and error.__cause__ is not None else error
    if isinstance(cause, (MemoryError, torch.OutOfMemoryError)) or _NO_MEMORY.search(str(cause)):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        text = str(cause).partition("\n")[0]
        return Outcome("out-of-memory", f"{text or 'memory ran out'}; take a smaller input or batch")
    return Outcome("refused", str(error).partition("\n")[0].removesuffix("."))

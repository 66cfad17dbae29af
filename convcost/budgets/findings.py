"""What a counted model, its baseline and a timing hold for each limit: values for a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.budgets.changes import recounted
from convcost.budgets.finding import Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.budgets.changes import Change
    from convcost.budgets.layer_cost import Entry
    from convcost.budgets.limits import Limit
    from convcost.timing.forward_timing import ForwardTiming

__all__ = ["counted_found", "timing_found"]


def counted_found(limit: Limit, entry: Entry, before: Entry | None, changes: Sequence[Change], why: str) -> Found:
    """What was counted of a limit's metric, and what it was; the part that the counter alone changed is told apart."""
    metric = limit.metric
    baseline = None if before is None else getattr(before, metric)
    moved = 0
    if before is not None and any(change.kind == "recounted" for change in changes):
        only_the_counter = all(change.kind in {"recounted", "renamed"} for change in changes)
        moved = getattr(entry, metric) - baseline if only_the_counter else _recounted_part(metric, changes)
    return Found(
        getattr(entry, metric),
        baseline=baseline,
        recounted=moved,
        uncounted=entry.uncounted,
        uncounted_calls=entry.uncounted_calls,
        uncounted_calls_before=0 if before is None else before.uncounted_calls,
        why=why or None,
    )


def _recounted_part(metric: str, changes: Sequence[Change]) -> int:
    """Of the growth of a metric, what the counter alone added."""
    from convcost.convolution.cost import FLOPS_PER_MAC  # noqa: PLC0415 - beside its one use

    return {"macs": 1, "flops": FLOPS_PER_MAC}.get(metric, 0) * recounted(changes)


def timing_found(limit: Limit, timing: ForwardTiming | str | None, why: str) -> Found:
    """What a timing says of a latency limit: the median, its interval, and the growth over the base.

    Args:
        limit: of the latency.
        timing: the name of this machine where the limit is for another one, and nothing was timed; None for no time.
        why: the growth cannot be judged; empty where it can.
    """
    if timing is None or isinstance(timing, str):
        return Found(None, why="it was not timed" if timing is None else why or None, here=timing)
    head, base = timing.head, timing.base
    growth = None
    if base is not None and head.speedup and head.speedup_low and head.speedup_high:
        growth = (1 / head.speedup - 1, 1 / head.speedup_high - 1, 1 / head.speedup_low - 1)
    notes = list(timing.notes)
    if limit.max is not None and limit.machine is None:
        notes.append(
            f'latency: max is judged on this machine; say for which one it was set: machine = "{timing.machine}"'
        )
    return Found(
        head.time_s,
        timing.low,
        timing.high,
        None if base is None else base.time_s,
        growth=growth,
        why=why or None,
        machine=timing.machine,
        doubt=timing.doubt,
        growth_doubt=None if base is None else timing.growth_doubt,
        notes=tuple(notes),
    )

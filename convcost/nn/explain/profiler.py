"""Which ATen operators ran in a call and how long each took itself, as torch's profiler sees them on the CPU."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from torch.autograd import profiler

from convcost.system.streams import STDERR, taken_from

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["operator_seconds"]

PROFILERS_OWN: Final = re.compile(r"USDT:[^\n]*(?:\n|$)")
"""Lines that the profiler of torch 2.13 writes to stderr when it starts and stops."""


def operator_seconds(call: Callable[[], object], times: int = 5) -> dict[str, float]:
    """Seconds of each ATen operator itself, without those that it calls: the fastest of some calls.

    Args:
        call: to look at.
        times: how often it is made.
    """
    seen = profiler.profile(use_kineto=False)

    def look() -> None:
        with seen:
            for _ in range(times):
                call()

    taken_from(STDERR, look, lambda text: ("", PROFILERS_OWN.sub("", text)))
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    events: Any = seen.function_events
    for event in events:
        seconds[event.name].append(event.self_cpu_time_total * 1e-6)
    return {name: _fastest(each, times) for name, each in seconds.items()}


def _fastest(each: list[float], times: int) -> float:
    """Of the sums of each call; the mean where the calls differ."""
    count, rest = divmod(len(each), times)
    if rest:
        return sum(each) / times
    return min(sum(each[start : start + count]) for start in range(0, len(each), count))

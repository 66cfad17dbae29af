"""The figures of a comparison of blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.text.figure import Figure, panels
from convcost.timing.figures import MACS, PARAMS, TIME, TRAFFIC, Point, accounts, promise, speeds

if TYPE_CHECKING:
    from convcost.comparison.result import Comparison


def comparison_figures(result: Comparison) -> tuple[Figure, ...]:
    """The speed of each block against what its MACs promise, where the time goes, and what each block costs."""
    rows, names = result.rows, [result.name(row) for row in result.rows]
    costs = [row.placed.cost for row in rows]
    baseline = next((row.baseline.block.name for row in rows if row.baseline is not None), "the baseline")
    measured = [(name, row.macs_ratio, row.timing) for name, row in zip(names, rows, strict=True)]
    times = [row.timing.time_s if row.timing is not None else None for row in rows]
    points = [
        Point(name, cost.flop_per_byte, cost.flops, time_s, row.bound)
        for name, cost, time_s, row in zip(names, costs, times, rows, strict=True)
    ]
    chart = panels(
        names,
        {
            PARAMS: [{"": cost.params} for cost in costs],
            MACS: [{"": cost.macs} for cost in costs],
            TRAFFIC: [{"": cost.traffic_bytes} for cost in costs],
            TIME: [{"": one} for one in times],
        },
        "block",
    )
    is_timed = any(one is not None for one in times)
    return (
        promise(measured, f"Against {baseline}"),
        *accounts([(name, row.account) for name, row in zip(names, rows, strict=True)]),
        Figure("Which block costs the fewest parameters, MACs, traffic and time?", chart),
        *((speeds(points),) if is_timed else ()),
    )

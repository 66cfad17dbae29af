"""The figures of a comparison of blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.timing.figures import Costs, accounts, costs, promise
from convcost.timing.roofline_figure import Point, speeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.comparison.rows import Row
    from convcost.text.figure import Figure


def comparison_figures(rows: Sequence[tuple[str, Row]]) -> tuple[Figure, ...]:
    """The speed of each block against what its MACs promise, where the time goes, and what each block costs.

    Args:
        rows: Rows with their names.
    """
    baseline = next((row.baseline.block.name for _, row in rows if row.baseline is not None), "the baseline")
    bars, points = [], []
    for name, row in rows:
        cost, time_s = row.placed.cost, None if row.timing is None else row.timing.time_s
        bars.append(Costs(name, cost.params, cost.macs, cost.traffic_bytes, time_s))
        points.append(Point(name, cost.flop_per_byte, cost.flops, time_s, row.bound))
    return (
        promise([(name, row.macs_ratio, row.timing) for name, row in rows], f"Against {baseline}"),
        *accounts([(name, row.account) for name, row in rows]),
        costs(bars, "Which block costs the fewest parameters, MACs, traffic and time?", "block"),
        *(speeds(points) if any(one.time_s is not None for one in bars) else ()),
    )

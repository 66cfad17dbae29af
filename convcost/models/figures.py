"""The figures of a model, of several models, and of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.text.figure import Figure, front, largest, of_all, panels
from convcost.timing.figures import MACS, PARAMS, TIME, TRAFFIC, Point, accounts, promise, speeds

if TYPE_CHECKING:
    from convcost.models.model_table import ModelTable
    from convcost.models.report import ModelReport
    from convcost.models.sweep import Sweep


def model_figures(report: ModelReport) -> tuple[Figure, ...]:
    """What each layer costs, where its time goes, and how fast it is under its bound."""
    rows = report.rows
    is_timed = any(row.time_s is not None for row in rows)
    chosen = [rows[index] for index in largest([row.time_s or 0 if is_timed else row.macs for row in rows])]
    chart = panels(
        [row.name for row in chosen],
        {
            PARAMS: [{"": None if row.has_packed else row.params} for row in chosen],
            MACS: [{"": row.macs} for row in chosen],
            TRAFFIC: [{"": row.traffic_bytes} for row in chosen],
            TIME: [{"": row.time_s} for row in chosen],
        },
        "layer",
    )
    times = "" if is_timed else " Times need --time."
    rest = of_all(len(chosen), len(rows), "the longest times" if is_timed else "the most MACs")
    points = [Point(row.name, row.flop_per_byte, row.flops, row.time_s, row.bound) for row in rows]
    return (
        Figure(f"Which layers cost the most parameters, MACs, traffic and time?{times}{rest}", chart),
        *accounts([(row.name, row.account) for row in rows]),
        *((speeds(points),) if is_timed else ()),
    )


def table_figures(table: ModelTable) -> tuple[Figure, ...]:
    """What each model costs, and its speed against what the MACs promise."""
    rows = table.rows
    chart = panels(
        [row.report.target for row in rows],
        {
            PARAMS: [{"": row.report.totals.params} for row in rows],
            MACS: [{"": row.report.totals.macs} for row in rows],
            TRAFFIC: [{"": row.traffic_bytes} for row in rows],
            TIME: [{"": None if row.report.forward is None else row.report.forward.time_s} for row in rows],
        },
        "model",
    )
    first = table.reports[0].target
    speed = promise([(row.report.target, row.ratio("macs"), row.report.forward) for row in rows], f"Against {first}")
    return (Figure("Which model costs the most parameters, MACs, traffic and time?", chart), speed)


def sweep_figures(sweep: Sweep) -> tuple[Figure, ...]:
    """The MACs and parameters of each configuration, with those that no other one beats in both."""
    known = [
        (", ".join(f"{name}={value}" for name, value in row.arguments.items()), (row.report.totals.macs, params))
        for row in sweep.rows
        if row.report is not None and (params := row.report.totals.params) is not None
    ]
    if not known:
        return (Figure("No configuration has MACs and parameters to show."),)
    chart = front([name for name, _ in known], [point for _, point in known], MACS, PARAMS)
    return (Figure("Which configurations does no other beat in both MACs and parameters? Those on the line.", chart),)

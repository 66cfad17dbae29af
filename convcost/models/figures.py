"""The figures of a model, of several models, and of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.models.memory_figure import memory_figures
from convcost.text.figure import Choice, Figure, front, largest, of_all
from convcost.timing.figures import MACS, PARAMS, Costs, accounts, costs, promise
from convcost.timing.roofline_figure import Point, speeds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.models.call import Call
    from convcost.models.peak import Peak
    from convcost.timing.statistics import Timing


def model_figures(rows: Sequence[Call], layers: Sequence[Call], peak: Peak | None) -> tuple[Figure, ...]:
    """What each layer costs, the memory along the forward pass, where time goes, and how fast each is under its bound.

    Args:
        rows: Rows of the table.
        layers: Calls in the order of the forward pass.
        peak: The call during which most activations are alive; None if unknown.
    """
    is_timed = any(row.time_s is not None for row in rows)
    chosen = [rows[index] for index in largest([row.time_s or 0 if is_timed else row.macs for row in rows])]
    bars = [
        Costs(row.name, None if row.has_packed else row.params, row.macs, row.traffic_bytes, row.time_s)
        for row in chosen
    ]
    rest = of_all(len(chosen), len(rows), "the longest times" if is_timed else "the most MACs")
    points = [Point(row.name, row.flop_per_byte, row.flops, row.time_s, row.bound) for row in rows]
    return (
        costs(bars, "Which layers cost the most parameters, MACs, traffic and time?", "layer", rest),
        *memory_figures(layers, peak),
        *accounts([(row.name, row.account) for row in rows]),
        *(speeds(points) if is_timed else ()),
    )


def table_figures(rows: Sequence[tuple[Costs, float | None, Timing | None]]) -> tuple[Figure, ...]:
    """What each model costs, and its speed against what the MACs promise.

    Args:
        rows: Costs, MAC ratio and timing of each model, the one that ratios are relative to first.
    """
    return (
        costs([one for one, _, _ in rows], "Which model costs the most parameters, MACs, traffic and time?", "model"),
        promise([(one.name, ratio, timing) for one, ratio, timing in rows], f"Against {rows[0][0].name}"),
    )


def sweep_figures(points: Mapping[str, tuple[int, int]]) -> tuple[Figure, ...]:
    """The MACs and parameters of each configuration, with those that no other one beats in both.

    Args:
        points: MACs and parameters by configuration.
    """
    if not points:
        return (Figure("No configuration has MACs and parameters to show."),)
    choices = [Choice(name, *costs) for name, costs in points.items()]
    question = "Which configurations does no other beat in both MACs and parameters? Those on the line."
    return (front(question, choices, (MACS, PARAMS), len(choices)),)

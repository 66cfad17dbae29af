"""The figures of a diff and of a replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from convcost.text.figure import Choice, Figure, Quantity, front, largest, of_all, panels
from convcost.timing.figures import MACS, PARAMS, TIME, TRAFFIC, promise
from convcost.timing.roofline_figure import Point, speeds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convcost.changes.diff_row import DiffRow
    from convcost.changes.pareto import TradeOff
    from convcost.changes.replaced_layer import ReplacedLayer
    from convcost.models.call import Call
    from convcost.models.report import ModelReport
    from convcost.timing.statistics import Timing

BARS = "What does each layer cost before and after?"
SIDES = ("before", "after")
WHOLE: Final = "the whole model"
Models: TypeAlias = "tuple[ModelReport, ModelReport]"


def diff_figures(rows: Sequence[DiffRow], models: Models) -> tuple[Figure, ...]:
    """What each layer that differs costs in both models, its speed against what its MACs promise, and the roofline.

    Args:
        rows: Layers to draw.
        models: Both models.
    """
    if not rows:
        return (Figure("No layer differs, so there is nothing to draw."),)
    chosen = [rows[index] for index in largest([abs(row.delta("macs") or row.delta("params") or 0) for row in rows])]
    quantities = {PARAMS: "params", MACS: "macs", TRAFFIC: "traffic_bytes", TIME: "time_s"}
    chart = panels(
        [row.name for row in chosen],
        {one: [_calls(row, field) for row in chosen] for one, field in quantities.items()},
        "layer",
        SIDES,
    )
    rest = of_all(len(chosen), len(rows), "the largest differences")
    timed = [_whole(models), *((row.name, _macs_ratio(row), row.timing) for row in rows)]
    calls = [(call, side) for row in rows for call, side in zip((row.before, row.after), SIDES, strict=True) if call]
    return (
        Figure(f"{BARS}{rest}", chart),
        promise(timed, "Each layer against the one before"),
        *_roofline([_point(call, side) for call, side in calls]),
    )


def _roofline(points: Sequence[Point]) -> tuple[Figure, ...]:
    """The roofline of the layers before and after; none without times, which another figure says already."""
    return speeds(points) if any(one.time_s is not None for one in points) else ()


def _point(call: Call, side: str) -> Point:
    return Point(call.name, call.flop_per_byte, call.flops, call.time_s, call.bound, side)


def _calls(row: DiffRow, field: str) -> dict[str, float | None]:
    return {
        side: None if call is None else getattr(call, field)
        for side, call in zip(SIDES, (row.before, row.after), strict=True)
    }


def _whole(models: Models) -> tuple[str, float | None, Timing | None]:
    """The whole model as a row of the promise."""
    macs = [model.totals.macs for model in models]
    return WHOLE, macs[0] / macs[1] if macs[1] else None, models[1].forward


def _macs_ratio(row: DiffRow) -> float | None:
    if row.before is None or row.after is None or not row.after.macs:
        return None
    return row.before.macs / row.after.macs


def replace_figures(rows: Sequence[ReplacedLayer], trade: TradeOff | None, models: Models) -> tuple[Figure, ...]:
    """What each layer and its block cost, the speed against what the MACs promise, the roofline, and the front.

    Args:
        rows: Layers with their blocks.
        trade: Sets of replacements; None if none was looked for.
        models: The model before and after.
    """
    if not rows:
        return (Figure("No layer is replaced, so there is nothing to draw."),)
    chosen = [rows[index] for index in largest([row.macs_before for row in rows])]
    chart = panels([row.name for row in chosen], _costs(chosen), "layer", SIDES)
    rest = of_all(len(chosen), len(rows), "the most MACs")
    bars = Figure(f"{BARS}{rest}", chart)
    timed = [_whole(models), *((row.name, row.macs_ratio, row.timing) for row in rows)]
    speed = promise(timed, "Each block against its layer")
    return (bars, speed, *_roofline(list(_blocks(rows, models[0].layers))), *(() if trade is None else (_sets(trade),)))


def _sets(trade: TradeOff) -> Figure:
    """The front of costs and times."""
    quantity = PARAMS if trade.cost == "params" else MACS
    question = f"Which sets of replacements does no other beat in both {quantity.title} and time?"
    points = [Choice(one.text, getattr(one, trade.cost), one.seconds) for one in trade.front]
    return front(question, points, (quantity, TIME), len(points)) if points else Figure(question)


def _blocks(rows: Sequence[ReplacedLayer], before: Sequence[Call]) -> Iterator[Point]:
    """Each replaced layer, and its block under the same roofs."""
    calls = {call.name: call for call in before}
    for row in rows:
        if row.replacement is not None and row.name in calls:
            layer, cost = calls[row.name], row.replacement.placed.cost
            time_s = None if row.timing is None else row.timing.time_s
            roofs = None if layer.bound is None else layer.bound.roofs
            yield _point(layer, "before")
            yield Point(row.name, cost.flop_per_byte, cost.flops, time_s, None, "after", roofs)


def _costs(rows: Sequence[ReplacedLayer]) -> dict[Quantity, list[dict[str, float | None]]]:
    return {
        PARAMS: [dict(zip(SIDES, (row.params_before, row.params_after), strict=True)) for row in rows],
        MACS: [dict(zip(SIDES, (row.macs_before, row.macs_after), strict=True)) for row in rows],
        TIME: [dict(zip(SIDES, (row.change.before_s, row.change.after_s), strict=True)) for row in rows],
    }

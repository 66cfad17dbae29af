"""Figures of costs and times: bars, speed-ups against what the MACs promise, and accounts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convcost.text.figure import (
    BLUE,
    COLOURS,
    MAX_POINTS,
    SIDE,
    STEP,
    WIDTH,
    Figure,
    Quantity,
    data,
    distinct,
    is_known,
    largest,
    of_all,
    panels,
    pointed_at,
    shortened,
    tooltips,
)
from convcost.text.labels import HEIGHT, Box, line_boxes, names, width_of
from convcost.text.log_axis import LogAxis, is_on_log_axis
from convcost.text.units import human_bytes, human_count, human_ratio, human_share, human_time
from convcost.timing.account import PARTS
from convcost.timing.columns import speedup_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import altair as alt

    from convcost.timing.account import Account
    from convcost.timing.statistics import Timing

PROMISE: Final = "Is it as much faster as its MACs are fewer? On the line it is, below the line it is not."
PARAMS: Final = Quantity("parameters", human_count)
MACS: Final = Quantity("MACs", human_count)
TRAFFIC: Final = Quantity("traffic", human_bytes, "B")
TIME: Final = Quantity("time", human_time, "s", is_whole=False)
MAX_NAMED: Final = 12
"""Maximum number of points that have their names beside them."""


class Costs(NamedTuple):
    """What a row costs; None for what was not obtained.

    Attributes:
        name: Name of the row.
        params: Number of parameters.
        macs: Multiply-accumulates.
        traffic_bytes: Bytes of compulsory memory traffic.
        time_s: Median seconds.
    """

    name: str
    params: int | None
    macs: int
    traffic_bytes: int
    time_s: float | None


def costs(rows: Sequence[Costs], question: str, what: str, rest: str = "") -> Figure:
    """Bars of parameters, MACs, traffic and time side by side.

    Args:
        rows: Costs of each row.
        question: The question that they answer.
        what: What a row is, such as `layer`.
        rest: Remark on rows that are left out.
    """
    untimed = "" if any(row.time_s is not None for row in rows) else " No time was measured."
    values: dict[Quantity, list[dict[str, float | None]]] = {
        PARAMS: [{"": row.params} for row in rows],
        MACS: [{"": row.macs} for row in rows],
        TRAFFIC: [{"": row.traffic_bytes} for row in rows],
        TIME: [{"": row.time_s} for row in rows],
    }
    return Figure(f"{question}{untimed}{rest}", panels([row.name for row in rows], values, what))


def promise(rows: Sequence[tuple[str, float | None, Timing | None]], what: str) -> Figure:
    """The speed-up of each row against its MAC ratio, with the interval and the line of equal numbers.

    Args:
        rows: Name, MAC ratio and timing of each row.
        what: What is compared with what, such as `against standard`.
    """
    import altair as alt

    points: list[dict[str, Any]] = [
        {
            "name": name,
            "macs": ratio,
            "speed": timing.speedup,
            "low": timing.speedup_low,
            "high": timing.speedup_high,
            "MACs fewer": human_ratio(ratio),
            "speed-up": speedup_text(timing),
            "decided": timing.verdict != "undecided",
        }
        for (_, ratio, timing), name in zip(rows, distinct(row[0] for row in rows), strict=True)
        if timing is not None and is_on_log_axis(ratio) and is_on_log_axis(timing.speedup)
    ]
    if not points:
        is_timed = any(timing is not None for _, _, timing in rows)
        needed = "a speed-up and fewer MACs, which no row has" if is_timed else "times, which were not measured"
        return Figure(f"{PROMISE} This needs {needed}.")
    points.sort(key=lambda one: abs(math.log(one["speed"] / one["macs"])), reverse=True)
    rest = of_all(MAX_POINTS, len(points), "the largest distances from the line")
    del points[MAX_POINTS:]
    ends = [one[end] for one in points for end in ("macs", "speed", "low", "high")]
    axis = LogAxis.around([1, *ends], SIDE)
    ticks = alt.Axis(values=axis.ticks, format="~g")
    on_line = (alt.X("x:Q", scale=axis.scale), alt.Y("y:Q", scale=axis.scale))
    corner = alt.Chart(data([{"x": axis.high, "y": axis.high}]))
    diagonal = alt.Chart(data([{"x": end, "y": end} for end in (axis.low, axis.high)]))
    base = alt.Chart(data(points)).encode(alt.X("macs:Q", scale=axis.scale, title="MACs fewer, times", axis=ticks))
    y = alt.Y("speed:Q", scale=axis.scale, title="faster, times", axis=ticks)
    layers: list[alt.Chart] = [
        diagonal.mark_line(color="#808080", strokeDash=[5, 4]).encode(*on_line),
        corner.mark_text(align="right", dx=-22, dy=10, color="currentColor").encode(
            *on_line, text=alt.value("as promised")
        ),
    ]
    if any(one["low"] for one in points):
        layers.append(base.mark_rule(strokeWidth=2, color=BLUE).encode(alt.Y("low:Q", scale=axis.scale), y2="high:Q"))
    layers += names(
        [(one["name"], one["macs"], one["speed"]) for one in points],
        (axis, axis),
        _promise_taken(points, axis),
        MAX_NAMED,
    )
    hover = pointed_at()
    frame = alt.when(hover).then(alt.value("currentColor")).otherwise(alt.value(BLUE))
    fill = alt.when("datum.decided").then(alt.value(BLUE)).otherwise(alt.value("transparent"))
    dots = base.mark_point(size=70, opacity=1).add_params(hover)
    layers.append(dots.encode(y, stroke=frame, fill=fill, tooltip=tooltips("name", "MACs fewer", "speed-up")))
    marks = [f"{what}."]
    if any(one["low"] for one in points):
        marks.append("Bars are 5–95 % intervals.")
    if not all(one["decided"] for one in points):
        marks.append("Hollow points are not decided.")
    chart = alt.layer(*layers).properties(width=SIDE, height=SIDE)
    return Figure(f"{PROMISE} {' '.join(marks)}{rest}", chart)


def _promise_taken(points: Sequence[Mapping[str, Any]], axis: LogAxis) -> Iterator[Box]:
    """What no name may cover beside the points: the line, the words in its corner, and the intervals."""
    yield from line_boxes((0, 0), (SIDE, SIDE))
    yield Box(SIDE - 22 - width_of("as promised"), SIDE - 10 - HEIGHT, SIDE - 22, SIDE)
    for one in points:
        if is_on_log_axis(one["low"]) and is_on_log_axis(one["high"]):
            x = axis.pixel(one["macs"])
            yield Box(x - 2, axis.pixel(one["low"]), x + 2, axis.pixel(one["high"]))


def accounts(rows: Sequence[tuple[str, Account | None]]) -> tuple[Figure, ...]:
    """Where the time of each row goes, as stacked bars; empty without an account."""
    import altair as alt

    known = [(name, one) for name, one in rows if one is not None and is_known(one.time_s)]
    if not known:
        return ()
    chosen = largest([one.time_s for _, one in known])
    lines = distinct(name for name, _ in known)
    labels = shortened([lines[index] for index in chosen])
    parts = [
        {
            "name": lines[index],
            "label": label,
            "part": part.part,
            "order": PARTS.index(part.part),
            "seconds": part.seconds,
            "time": human_time(part.seconds) if part.seconds else "< 1 µs",
            "share": human_share(part.seconds / known[index][1].time_s),
            "kernel": part.kernel or "-",
        }
        for index, label in zip(chosen, labels, strict=True)
        for part in known[index][1].parts
    ]
    used = [part for part in PARTS if any(one["part"] == part for one in parts)]
    scale = alt.Scale(domain=used, range=[COLOURS[PARTS.index(part)] for part in used])
    chart = (
        alt.Chart(data(parts))
        .mark_bar()
        .encode(
            alt.X("seconds:Q", title=TIME.title, axis=alt.Axis(labelExpr=TIME.labels)),
            alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=0)),
            alt.Color("part:N", scale=scale, title=None, legend=alt.Legend(orient="top", columns=4)),
            order="order:Q",
            tooltip=tooltips("name", "part", "time", "share", "kernel"),
        )
        .properties(width=WIDTH, height=alt.Step(STEP + 5))
    )
    rest = of_all(len(chosen), len(known), "the longest times")
    return (Figure(f"Where does the time go?{rest}", chart),)

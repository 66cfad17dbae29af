"""The roofline as a figure: the attained speed of each layer, under the machine's roofs of arithmetic and memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convcost.text.figure import (
    BLUE,
    MAX_POINTS,
    ORANGE,
    WIDTH,
    Figure,
    data,
    distinct,
    largest,
    of_all,
    pointed_at,
    tooltips,
)
from convcost.text.labels import Box, along, line_boxes, names, place, point_box
from convcost.text.log_axis import LogAxis, is_on_log_axis
from convcost.text.units import human_bytes, human_count, human_time, number_of, three_digits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import altair as alt

    from convcost.text.labels import Label
    from convcost.timing.bound import Bound
    from convcost.timing.machine import Roofs

QUESTION: Final = "How fast is each layer, under the roofs of this machine?"
NO_ROOFS: Final = (
    "The roofs need a calibration of this machine for this dtype and these threads: run convcost calibrate."
)
NO_TIMES: Final = "This needs times, which were not measured."
HEIGHT: Final = 340
"""Height of the figure in pixels."""
MAX_NAMED: Final = 12
"""Maximum number of points that have their names beside them."""
SIDES: Final = {"": BLUE, "before": "#808080", "after": BLUE}
"""Colours of points by their side of a change."""
ENDS: Final = ("speed", "roof")


class Point(NamedTuple):
    """A timed row under the roofs.

    Attributes:
        name: Name of the row.
        flop_per_byte: FLOPs per byte of traffic.
        flops: Floating-point operations.
        time_s: Median seconds.
        bound: Least time on this machine; None where it is unknown.
        side: "before" or "after" for a change; empty otherwise.
        roofs: Roofs of this machine; None for those of the bound.
    """

    name: str
    flop_per_byte: float | None
    flops: int
    time_s: float | None
    bound: Bound | None
    side: str = ""
    roofs: Roofs | None = None

    @property
    def flop_per_s(self) -> float | None:
        """Attained speed; None without a time."""
        return self.flops / self.time_s if self.time_s else None

    @property
    def roof(self) -> float | None:
        """Speed at the bound; None without one that can be drawn."""
        speed = self.flops / self.bound.seconds if self.bound is not None and self.bound.seconds else None
        return speed if is_on_log_axis(speed) else None


class _Line(NamedTuple):
    """A roof as a straight line in the figure.

    Attributes:
        text: Name and figure.
        start: Values of its lower or left end.
        end: Values of its other end.
    """

    text: str
    start: tuple[float, float]
    end: tuple[float, float]

    def pixels(self, x: LogAxis, y: LogAxis) -> tuple[tuple[float, float], tuple[float, float]]:
        """The positions of both ends."""
        start, end = ((x.pixel(across), y.pixel(up)) for across, up in (self.start, self.end))
        return start, end


def speeds(rows: Sequence[Point]) -> tuple[Figure, ...]:
    """The attained FLOP/s of each row over its FLOPs per byte, a figure for each set of roofs."""
    known = [one for one in rows if is_on_log_axis(one.flop_per_byte) and is_on_log_axis(one.flop_per_s)]
    if not known:
        return (Figure(f"{QUESTION} {NO_TIMES}"),)
    groups: dict[Roofs | None, list[Point]] = {}
    for one in known:
        own = None if one.bound is None else one.bound.roofs
        groups.setdefault(one.roofs or own, []).append(one)
    return tuple(_figure(points, roofs) for roofs, points in groups.items())


def _figure(known: Sequence[Point], roofs: Roofs | None) -> Figure:
    import altair as alt

    order = sorted(largest([one.time_s or 0 for one in known], MAX_POINTS), key=lambda i: -(known[i].time_s or 0))
    chosen = [known[index] for index in order]
    own = {side: iter(distinct(one.name for one in chosen if one.side == side)) for side in SIDES}
    points = [_point(one, next(own[one.side])) for one in chosen]
    ridges = [] if roofs is None else [roofs.peak.flop_per_s / level.byte_per_s for level in roofs.levels]
    x = LogAxis.around([*ridges, *(one["intensity"] for one in points)], WIDTH, 6 if ridges else 1.5, 2)
    tops = [] if roofs is None else [roofs.peak.flop_per_s]
    y = LogAxis.around([*tops, *(one[end] for one in points for end in ENDS)], HEIGHT, 2, 2)
    lines = [] if roofs is None else list(_lines(roofs, x, y))
    rest = of_all(len(chosen), len(known), "the longest times")
    sentence = f"{QUESTION} {_legend(roofs, points)}{rest}"
    dots = [point_box(x.pixel(one["intensity"]), y.pixel(one[end])) for one in points for end in ENDS if one[end]]
    taken = [*dots, *(box for line in lines for box in line_boxes(*line.pixels(x, y)))]
    labels = place((along(*line.pixels(x, y), line.text) for line in lines), taken, Box(0, 0, WIDTH, HEIGHT))
    taken += [box for label in labels if label is not None for box in label.boxes]
    drawn = alt.layer(*_roof_layers(lines, labels, (x, y)), *_point_layers(points, (x, y), taken))
    return Figure(sentence, drawn.properties(width=WIDTH, height=HEIGHT))


def _legend(roofs: Roofs | None, points: Sequence[dict[str, Any]]) -> str:
    """The figures of the roofs, and what the marks mean."""
    if roofs is None:
        return NO_ROOFS
    peak = roofs.peak
    levels = ", ".join(_level_text(level.name, level.byte_per_s) for level in roofs.levels)
    where = [roofs.device, peak.dtype, *([number_of("thread", peak.threads)] if roofs.device == "cpu" else [])]
    lines = f"{', '.join(where)}: at most {human_count(peak.flop_per_s)}FLOP/s; {levels}."
    return f"{lines} Orange marks are bounds." if any(one["roof"] for one in points) else lines


def _level_text(name: str, byte_per_s: float) -> str:
    return f"{name} {human_bytes(round(byte_per_s))}/s"


def _lines(roofs: Roofs, x: LogAxis, y: LogAxis) -> Iterator[_Line]:
    """The compute roof from the ridge of the fastest memory on, and each memory roof up to it."""
    peak = roofs.peak.flop_per_s
    yield _Line(
        f"{roofs.peak.dtype} {human_count(peak)}FLOP/s",
        (peak / max(level.byte_per_s for level in roofs.levels), peak),
        (x.high, peak),
    )
    for level in roofs.levels:
        left = max(x.low, y.low / level.byte_per_s)
        text = _level_text(level.name, level.byte_per_s)
        yield _Line(text, (left, left * level.byte_per_s), (peak / level.byte_per_s, peak))


def _roof_layers(
    lines: Sequence[_Line], labels: Sequence[Label | None], axes: tuple[LogAxis, LogAxis]
) -> Iterator[alt.Chart]:
    """The roofs as lines, with their names."""
    import altair as alt

    x, y = axes
    if not lines:
        return
    ends = [
        {"name": line.text, "x": line.start[0], "y": line.start[1], "x2": line.end[0], "y2": line.end[1]}
        for line in lines
    ]
    base = alt.Chart(data(ends)).encode(alt.X("x:Q", scale=x.scale), alt.Y("y:Q", scale=y.scale))
    yield base.mark_rule(color="currentColor", opacity=0.6).encode(x2="x2:Q", y2="y2:Q", tooltip=tooltips("name"))
    rise = (y.length / math.log(y.high / y.low)) / (x.length / math.log(x.high / x.low))
    for line, label in zip(lines, labels, strict=True):
        if label is not None:
            row = {"name": line.text, "x": x.value(label.x), "y": y.value(label.y)}
            angle = 0 if line.start[1] == line.end[1] else -math.degrees(math.atan(rise))
            text = alt.Chart(data([row])).mark_text(
                align="left", baseline="middle", angle=angle % 360, color="currentColor"
            )
            yield text.encode(alt.X("x:Q", scale=x.scale), alt.Y("y:Q", scale=y.scale), text="name:N")


def _point_layers(
    points: Sequence[dict[str, Any]], axes: tuple[LogAxis, LogAxis], taken: Sequence[Box]
) -> Iterator[alt.Chart]:
    """The rows as points, each with a mark at its bound, and the names of those that take longest."""
    import altair as alt

    x, y = axes
    across = alt.Axis(format="~g", values=x.ticks)
    base = alt.Chart(data(points)).encode(
        alt.X("intensity:Q", scale=x.scale, title="FLOP per byte of traffic", axis=across)
    )
    up = alt.Axis(labelExpr="format(datum.value, '.3~s')", values=y.ticks)
    speed = alt.Y("speed:Q", scale=y.scale, title="FLOP/s", axis=up)
    tooltip = tooltips("label", "FLOP/B", "FLOP/s", "time", "bound", "attained")
    if any(one["roof"] for one in points):
        yield base.mark_rule(color="#8888", aria=False).encode(speed, y2="roof:Q")
        roofs = base.mark_tick(color=ORANGE, thickness=2, width=10, orient="horizontal")
        yield roofs.encode(alt.Y("roof:Q", scale=y.scale), tooltip=tooltip)
    yield from names([(one["label"], one["intensity"], one["speed"]) for one in points], axes, taken, MAX_NAMED)
    sides = [side for side in SIDES if any(one["side"] == side for one in points)]
    colour = alt.Color(
        "side:N",
        scale=alt.Scale(domain=sides, range=[SIDES[side] for side in sides]),
        legend=None if sides == [""] else alt.Legend(title=None, orient="top"),
    )
    hover = pointed_at()
    frame = alt.when(hover).then(alt.value("currentColor")).otherwise(alt.value(None))
    dots = base.mark_point(filled=True, size=45, opacity=0.9).add_params(hover)
    yield dots.encode(speed, colour, stroke=frame, tooltip=tooltip)


def _point(one: Point, name: str) -> dict[str, Any]:
    bound = one.bound
    return {
        "name": name,
        "label": " ".join(filter(None, (name, one.side))),
        "side": one.side,
        "intensity": one.flop_per_byte,
        "speed": one.flop_per_s,
        "roof": one.roof,
        "FLOP/B": three_digits(one.flop_per_byte or 0),
        "FLOP/s": human_count(one.flop_per_s or 0),
        "time": human_time(one.time_s or 0),
        "bound": "-" if bound is None else f"{human_time(bound.seconds)} {bound.level or bound.roof}",
        "attained": "-" if bound is None else bound.attained_text(bound.seconds / (one.time_s or math.inf)),
    }

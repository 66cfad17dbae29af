"""Figures of times: speed-ups against what the MACs promise, accounts as bars, and attained speed under its bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convcost.text.figure import (
    BLUE,
    COLOURS,
    MAX_POINTS,
    ORANGE,
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
    tooltips,
)
from convcost.text.units import human_bytes, human_count, human_ratio, human_share, human_time, three_digits
from convcost.timing.account import PARTS
from convcost.timing.columns import speedup_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from convcost.timing.account import Account
    from convcost.timing.bound import Bound
    from convcost.timing.statistics import Timing

SPEEDS: Final = "How fast is each layer, under the least time of this machine?"
PROMISE: Final = "Is it as much faster as its MACs are fewer? On the line it is, below the line it is not."
PARAMS: Final = Quantity("parameters", human_count)
MACS: Final = Quantity("MACs", human_count)
TRAFFIC: Final = Quantity("traffic", human_bytes, "B")
TIME: Final = Quantity("time", human_time, "s")
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


class Point(NamedTuple):
    """A timed row under its bound.

    Attributes:
        name: Name of the row.
        flop_per_byte: FLOPs per byte of traffic.
        flops: Floating-point operations.
        time_s: Median seconds.
        bound: Least time on this machine; None if it is not calibrated.
    """

    name: str
    flop_per_byte: float | None
    flops: int
    time_s: float | None
    bound: Bound | None


def costs(rows: Sequence[Costs], what: str) -> alt.HConcatChart | None:
    """Bars of parameters, MACs, traffic and time side by side.

    Args:
        rows: Costs of each row.
        what: What a row is, such as `layer`.
    """
    values: dict[Quantity, list[dict[str, float | None]]] = {
        PARAMS: [{"": row.params} for row in rows],
        MACS: [{"": row.macs} for row in rows],
        TRAFFIC: [{"": row.traffic_bytes} for row in rows],
        TIME: [{"": row.time_s} for row in rows],
    }
    return panels([row.name for row in rows], values, what)


def promise(rows: Sequence[tuple[str, float | None, Timing | None]], what: str) -> Figure:
    """The speed-up of each row against its MAC ratio, with the interval and the line of equal numbers.

    Args:
        rows: Name, MAC ratio and timing of each row.
        what: What is compared with what, such as `against standard`.
    """
    import altair as alt

    points = [
        {
            "name": name,
            "macs": ratio,
            "speed": timing.speedup,
            "low": timing.speedup_low,
            "high": timing.speedup_high,
            "MACs fewer": human_ratio(ratio),
            "speed-up": speedup_text(timing),
        }
        for (_, ratio, timing), name in zip(rows, distinct(row[0] for row in rows), strict=True)
        if ratio and timing is not None and timing.speedup and is_known(ratio) and is_known(timing.speedup)
    ]
    if not points:
        return Figure(f"{PROMISE} This needs times, which were not measured.")
    numbers = [one[end] for one in points for end in ("macs", "speed", "low", "high")]
    ends = [number for number in numbers if is_known(number)]
    least, most = min(ends) / 1.2, max(ends) * 1.2
    scale = alt.Scale(type="log", domain=[least, most], nice=False)
    corner = alt.Chart(data([{"x": most, "y": most}]))
    diagonal = alt.Chart(data([{"x": end, "y": end} for end in (least, most)]))
    on_line = (alt.X("x:Q", scale=scale), alt.Y("y:Q", scale=scale))
    base = alt.Chart(data(points)).encode(alt.X("macs:Q", scale=scale, title="MACs fewer, times"))
    y = alt.Y("speed:Q", scale=scale, title="faster, times")
    layers: list[alt.Chart] = [
        diagonal.mark_line(color="#808080", strokeDash=[5, 4]).encode(*on_line),
        corner.mark_text(align="right", dx=-22, dy=10, color="currentColor").encode(
            *on_line, text=alt.value("as promised")
        ),
        base.mark_point(filled=True, size=70, opacity=1, color=BLUE).encode(
            y, tooltip=tooltips("name", "MACs fewer", "speed-up")
        ),
    ]
    if any(one["low"] for one in points):
        layers.append(base.mark_rule(strokeWidth=2, color=BLUE).encode(alt.Y("low:Q", scale=scale), y2="high:Q"))
    if len(points) <= MAX_NAMED:
        layers.append(
            base.mark_text(align="left", dx=8, dy=-6, limit=180, color="currentColor").encode(y, text="name:N")
        )
    chart = alt.layer(*layers)
    return Figure(f"{PROMISE} {what}; bars are 5–95 % intervals.", chart.properties(width=SIDE, height=SIDE))


def accounts(rows: Sequence[tuple[str, Account | None]]) -> tuple[Figure, ...]:
    """Where the time of each row goes, as stacked bars; empty without an account."""
    import altair as alt

    known = [(name, one) for name, one in rows if one is not None and is_known(one.time_s)]
    if not known:
        return ()
    chosen = largest([one.time_s for _, one in known])
    names = distinct(name for name, _ in known)
    parts = [
        {
            "name": names[index],
            "part": part.part,
            "order": PARTS.index(part.part),
            "seconds": part.seconds,
            "time": human_time(part.seconds) if part.seconds else "< 1 µs",
            "share": human_share(part.seconds / known[index][1].time_s),
            "kernel": part.kernel or "-",
        }
        for index in chosen
        for part in known[index][1].parts
    ]
    used = [part for part in PARTS if any(one["part"] == part for one in parts)]
    scale = alt.Scale(domain=used, range=[COLOURS[PARTS.index(part)] for part in used])
    chart = (
        alt.Chart(data(parts))
        .mark_bar()
        .encode(
            alt.X("seconds:Q", title="time", axis=alt.Axis(labelExpr="format(datum.value, '.3~s') + 's'")),
            alt.Y("name:N", sort=[names[index] for index in chosen], title=None, axis=alt.Axis(labelLimit=220)),
            alt.Color("part:N", scale=scale, title=None, legend=alt.Legend(orient="top", columns=4)),
            order="order:Q",
            tooltip=tooltips("name", "part", "time", "share", "kernel"),
        )
        .properties(width=WIDTH, height=alt.Step(STEP + 5))
    )
    rest = of_all(len(chosen), len(known), "the longest times")
    return (Figure(f"Where does the time go?{rest}", chart),)


def speeds(rows: Sequence[Point]) -> Figure:
    """The attained FLOP/s of each row over its FLOPs per byte, with a mark at its bound."""
    import altair as alt

    known = [one for one in rows if is_known(one.time_s) and one.time_s and one.flops and one.flop_per_byte]
    if not known:
        return Figure(f"{SPEEDS} This needs times, which were not measured.")
    chosen = [known[index] for index in largest([one.time_s or 0 for one in known], MAX_POINTS)]
    points = [_point(one, name) for one, name in zip(chosen, distinct(one.name for one in chosen), strict=True)]
    log = alt.Scale(type="log", nice=False, padding=15)
    labels = alt.Axis(labelExpr="format(datum.value, '.3~s')", tickCount=6)
    numbers = alt.Axis(format="~g", tickCount=6)
    x = alt.X("intensity:Q", scale=log, title="FLOP per byte of traffic", axis=numbers)
    base = alt.Chart(data(points)).encode(x)
    y: dict[str, Any] = {"scale": log, "title": "FLOP/s", "axis": labels}
    tooltip = tooltips("name", "FLOP/B", "FLOP/s", "time", "bound", "attained")
    dots = base.mark_point(filled=True, size=45, opacity=0.8, color=BLUE)
    layers: list[alt.Chart] = [dots.encode(alt.Y("speed:Q", **y), tooltip=tooltip)]
    remark = "The bounds need convcost calibrate."
    if any(one["roof"] for one in points):
        remark = "Orange marks are the bounds."
        roofs = base.mark_tick(color=ORANGE, thickness=2, width=10, orient="horizontal")
        layers.insert(0, roofs.encode(alt.Y("roof:Q", **y), tooltip=tooltip))
        layers.insert(0, base.mark_rule(color="#8888", aria=False).encode(alt.Y("speed:Q", **y), y2="roof:Q"))
    rest = of_all(len(chosen), len(known), "the longest times")
    return Figure(f"{SPEEDS} {remark}{rest}", alt.layer(*layers).properties(width=WIDTH, height=320))


def _point(one: Point, name: str) -> dict[str, Any]:
    seconds, bound = one.time_s or 0.0, one.bound
    return {
        "name": name,
        "intensity": one.flop_per_byte,
        "speed": one.flops / seconds,
        "roof": None if bound is None else one.flops / bound.seconds,
        "FLOP/B": three_digits(one.flop_per_byte or 0),
        "FLOP/s": human_count(one.flops / seconds),
        "time": human_time(seconds),
        "bound": "-" if bound is None else f"{human_time(bound.seconds)} {bound.level or bound.roof}",
        "attained": "-" if bound is None else bound.attained_text(bound.seconds / seconds),
    }

"""The figure of the history: times over dates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from convcost.text.errors import one_line
from convcost.text.figure import COLOURS, MAX_POINTS, WIDTH, Figure, data, of_all, tooltips
from convcost.text.units import human_time, show_date
from convcost.timing.figures import TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.archive.rows import Stored

MAX_LINES: Final = len(COLOURS)
"""Maximum number of lines: one for each colour."""


def history_figures(rows: Sequence[Stored]) -> tuple[Figure, ...]:
    """The median time of each layer over the dates of its runs, with its quartiles."""
    import altair as alt

    lines = Counter(map(_name, rows))
    names = [name for name, _ in lines.most_common(MAX_LINES)]
    points = [
        {"name": _name(row), "date": row.session.measured_at, "time_s": one.time_s, "low": one.time_q25_s}
        | {"high": one.time_q75_s, "time": human_time(one.time_s), "measured": show_date(row.session.measured_at)}
        for row in rows
        for one in [row.entry.timing]
        if _name(row) in names and one.time_s > 0
    ][:MAX_POINTS]
    if not points:
        return (Figure("No timing is stored that could be drawn."),)
    axis = alt.Axis(labelExpr=TIME.labels, tickCount=6)
    scale = alt.Scale(domain=names, range=list(COLOURS[: len(names)]))
    base = alt.Chart(data(points)).encode(
        alt.X("date:T", title=None, scale=alt.Scale(type="utc", padding=20), axis=alt.Axis(format="%Y-%m-%d %H:%M")),
        alt.Color("name:N", scale=scale, legend=alt.Legend(title=None, orient="bottom", columns=2)),
    )
    y = alt.Y("time_s:Q", title="time", scale=alt.Scale(type="log", nice=False, padding=12), axis=axis)
    chart = alt.layer(
        base.mark_line(opacity=0.6).encode(y),
        base.mark_rule().encode(alt.Y("low:Q", axis=axis), y2="high:Q"),
        base.mark_point(filled=True, size=45, opacity=1).encode(y, tooltip=tooltips("name", "time", "measured")),
    ).properties(width=WIDTH, height=300)
    rest = of_all(len(names), len(lines), "the most timings")
    return (Figure(f"Did a time change from run to run? Bars are quartiles.{rest}", chart),)


def _name(row: Stored) -> str:
    """The name of what was timed, with its model."""
    return one_line(" ".join(filter(None, (row.session.target, row.name))))

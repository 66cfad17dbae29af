"""The figure of the history: times over dates."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from convcost.text.errors import one_line
from convcost.text.figure import COLOURS, MAX_POINTS, WIDTH, Figure, data, distinct, of_all, shortened, tooltips
from convcost.text.log_axis import LogAxis, is_on_log_axis
from convcost.text.sizes import format_sizes
from convcost.text.units import human_time, number_of, show_date
from convcost.timing.figures import TIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from convcost.archive.rows import Stored

QUESTION: Final = "Did a time change from run to run?"
MAX_LINES: Final = len(COLOURS)
"""Maximum number of lines: one for each colour."""
MAX_LABEL: Final = 45
"""Maximum number of characters of the name of a line."""
HEIGHT: Final = 300
"""Height of the figure in pixels."""


class _Line(NamedTuple):
    """What the timings of one line have in common: runs of other layers or conditions are not its drift.

    Attributes:
        name: Name of what was timed, with its model.
        layer: Identity of the layer.
        shape: Shape of its input.
        conditions: Device, dtype, memory format, threads, and whether it was compiled.
    """

    name: str
    layer: str
    shape: str
    conditions: tuple[str, ...]


def history_figures(rows: Sequence[Stored]) -> tuple[Figure, ...]:
    """The median time of each layer over the dates of its runs, with its quartiles."""
    import altair as alt

    drawable = [row for row in rows if is_on_log_axis(row.entry.timing.time_s)]
    if not drawable:
        return (Figure("No timing is stored that could be drawn."),)
    runs = Counter(map(_line, drawable))
    again = [line for line, count in runs.most_common() if count > 1]
    if not again:
        return (Figure(f"{QUESTION} This needs two runs of a layer under the same conditions, and each has one."),)
    chosen = again[:MAX_LINES]
    names = dict(zip(chosen, distinct(_labels(chosen)), strict=True))
    labels = dict(zip(names.values(), shortened(list(names.values()), MAX_LABEL), strict=True))
    points = [
        {"name": name, "label": labels[name], "date": row.session.measured_at, "time_s": one.time_s}
        | {
            "low": one.time_q25_s,
            "high": one.time_q75_s,
            "time": human_time(one.time_s),
            "measured": show_date(row.session.measured_at),
        }
        for row in drawable
        for one in [row.entry.timing]
        for name in [names.get(_line(row))]
        if name is not None
    ]
    newest = f" Of their {len(points)} runs the newest {MAX_POINTS} are drawn." if len(points) > MAX_POINTS else ""
    points = sorted(points, key=itemgetter("date"), reverse=True)[:MAX_POINTS]
    up = LogAxis.around([one[end] for one in points for end in ("time_s", "low", "high")], HEIGHT)
    axis = alt.Axis(labelExpr=TIME.labels, values=up.ticks)
    scale = alt.Scale(domain=list(labels.values()), range=list(COLOURS[: len(names)]))
    base = alt.Chart(data(points)).encode(
        alt.X("date:T", title=None, scale=alt.Scale(type="utc", padding=20), axis=alt.Axis(format="%Y-%m-%d %H:%M")),
        alt.Color("label:N", scale=scale, legend=alt.Legend(title=None, orient="bottom", columns=2)),
    )
    y = alt.Y("time_s:Q", title="time", scale=up.scale, axis=axis)
    chart = alt.layer(
        base.mark_line(opacity=0.6).encode(y),
        base.mark_rule().encode(alt.Y("low:Q", scale=up.scale, axis=axis), y2="high:Q"),
        base.mark_point(filled=True, size=45, opacity=1).encode(y, tooltip=tooltips("name", "time", "measured")),
    ).properties(width=WIDTH, height=HEIGHT)
    rest = of_all(len(chosen), len(again), "the most runs")
    return (Figure(f"{QUESTION} Bars are quartiles.{rest}{newest}", chart),)


def _line(row: Stored) -> _Line:
    one = row.session.conditions
    compiled = ("compiled",) if one.compiled else ()
    conditions = (one.device, one.dtype, one.memory_format, number_of("thread", one.threads), *compiled)
    name = one_line(" ".join(filter(None, (row.session.target, row.name))))
    return _Line(name, row.entry.layer, format_sizes(row.entry.input_shape), conditions)


def _labels(lines: Sequence[_Line]) -> Iterable[str]:
    """The names of the lines, with what tells those of one name apart."""
    for line in lines:
        others = [one for one in lines if one.name == line.name]
        shape = [line.shape] if len({one.shape for one in others}) > 1 else []
        common = set.intersection(*(set(one.conditions) for one in others))
        yield ", ".join([line.name, *shape, *(text for text in line.conditions if text not in common)])

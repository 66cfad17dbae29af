"""Figures of results: Altair charts with a sentence above each, and their files."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeGuard

from convcost.text.errors import ConvcostError, MissingPackageError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import altair as alt

INSTALL: Final = "pip install 'convcost[report]'"
"""The command that installs the libraries of figures."""
BLUE: Final = "#1f83c4"
ORANGE: Final = "#d55e00"
COLOURS: Final = (BLUE, "#e69f00", "#009e73", "#cc79a7", "#56b4e9", ORANGE, "#b2a43a", "#808080")
"""Colours that stay apart for the colour-blind, close to those of Okabe and Ito (2008); seen on white and on black."""
MAX_BARS: Final = 60
"""Maximum number of rows in a figure with a bar for each."""
MAX_POINTS: Final = 300
"""Maximum number of points in a figure."""
MAX_LINEAR: Final = 50
"""Ratio of the largest to the smallest value from which a scale is logarithmic."""
STEP: Final = 15
"""Height of a bar in pixels."""
SIDE_STEP: Final = 11
"""Height of each bar of a row with several, in pixels."""
SIDE: Final = 420
"""Width of a square figure in pixels."""
WIDTH: Final = 630
"""Width of a wide figure in pixels."""
MAX_LABEL: Final = 36
"""Maximum number of characters of a name at an axis; a limit in pixels would measure each several times."""
_PANEL: Final = {2: 330, 3: 240, 4: 190}
"""Widths of panels side by side in pixels, by their number."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a result.

    Attributes:
        sentence: The question that the figure answers, or why there is no figure.
        chart: Altair chart; None for a figure that needs what the result lacks.
        numbers: Its numbers in aligned lines, where the table of the result lacks them.
    """

    sentence: str
    chart: Any = None
    numbers: str = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity that bars or axes show.

    Attributes:
        title: Title of the axis.
        show: Function that formats a value.
        unit: Unit after the numbers of the axis.
        is_more_better: Whether a larger value is the better one.
        is_whole: Whether every value is a whole number.
    """

    title: str
    show: Callable[[Any], str]
    unit: str = ""
    is_more_better: bool = False
    is_whole: bool = True

    @property
    def labels(self) -> str:
        """The Vega expression for the numbers of the axis, such as `1.5ms`; only times have prefixes below 1."""
        if self.is_whole:
            return f"datum.value % 1 ? '' : format(datum.value, '.3~s') + '{self.unit}'"
        small = ".3~s" if self.unit == "s" else ".3~r"
        return f"format(datum.value, abs(datum.value) < 1 ? '{small}' : '.3~s') + '{self.unit}'"


def require_libraries(what: str) -> None:
    """Refuse what needs the libraries of figures, where one of them is not installed.

    Args:
        what: What is to be drawn, such as `export (=report.html)`.

    Raises:
        MissingPackageError: A library is not installed.
    """
    missing = [name for name in ("altair", "vl_convert") if not _is_installed(name)]
    if missing:
        raise MissingPackageError(f"{what} needs {' and '.join(missing)} to be drawn; install it with {INSTALL}.")


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except ValueError:  # it is kept from being imported
        return False


def is_known(value: object) -> TypeGuard[float]:
    """Whether it is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def tooltips(*fields: str) -> list[alt.Tooltip]:
    """The lines that are shown when a mark is pointed at."""
    import altair as alt

    return [alt.Tooltip(f"{field}:N") for field in fields]


def pointed_at() -> alt.Parameter:
    """The name of the mark that is pointed at; the page shows it in its other figures too."""
    import altair as alt

    return alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["name"], empty=False)


def data(rows: Iterable[Mapping[str, Any]]) -> alt.InlineData:
    """Rows as the data of a chart; numbers that JSON does not have are missing."""
    import altair as alt

    return alt.InlineData(
        values=[
            {name: None if isinstance(one, float) and not is_known(one) else one for name, one in row.items()}
            for row in rows
        ]
    )


def distinct(names: Iterable[str]) -> list[str]:
    """The names on one line each; one that comes again gets its number.

    >>> distinct(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    seen: dict[str, int] = {}
    lines: dict[str, None] = {}
    for name in map(one_line, names):
        line = name
        while line in lines:
            seen[name] = seen.get(name, 1) + 1
            line = f"{name} ({seen[name]})"
        lines[line] = None
    return list(lines)


def shortened(names: Sequence[str], most: int = MAX_LABEL) -> list[str]:
    """The names as labels; long ones are all cut at the same place: the one that leaves most of them different.

    Args:
        names: Names that differ.
        most: Number of characters beyond which a name is cut.

    >>> shortened(["backbone.stages.0.conv1", "backbone.stages.0.conv2"], 16)
    ['backb…es.0.conv1', 'backb…es.0.conv2']
    """
    letters = enumerate(zip(*(name for name in names if len(name) > most), strict=False))
    shared = next((place for place, ones in letters if len(set(ones)) > 1), 0)
    cuts = zip(*(_cuts(name, most, shared) for name in names), strict=True)
    return distinct(max(cuts, key=lambda labels: len(set(labels)), default=()))


def _cuts(name: str, most: int, shared: int) -> tuple[str, ...]:
    """A name without its middle, its start, its end, and without all but what follows the shared start."""
    head = most // 3
    return tuple(
        label if len(name) > most else name
        for label in (
            f"{name[:head]}…{name[head + 1 - most :]}",
            f"…{name[1 - most :]}",
            f"{name[: most - 1]}…",
            f"…{name[shared : shared + most - 2]}…",
        )
    )


def largest(sizes: Sequence[float], most: int = MAX_BARS) -> list[int]:
    """Positions of the largest values, in their order."""
    order = sorted(range(len(sizes)), key=lambda index: sizes[index], reverse=True)
    return sorted(order[:most])


def of_all(shown: int, count: int, what: str) -> str:
    """The remark that a figure leaves out rows; empty if it does not."""
    return f" The {shown} of {count} with {what}; the table has all." if shown < count else ""


def panels(
    names: Sequence[str],
    quantities: Mapping[Quantity, Sequence[Mapping[str, float | None]]],
    what: str,
    sides: Sequence[str] = ("",),
) -> alt.HConcatChart | None:
    """Bars of several quantities side by side, one line for each name, linked when a bar is pointed at or selected.

    Args:
        names: Names of the rows.
        quantities: Values of each row by side, for each quantity; those without any value are left out.
        what: Title of the names.
        sides: Names of the bars of each row, such as before and after; one empty name for a single bar.

    Returns:
        The chart; None without any value.
    """
    import altair as alt

    shown = {one: rows for one, rows in quantities.items() if any(map(is_known, (v for r in rows for v in r.values())))}
    if not names or not shown:
        return None
    lines = distinct(names)
    labels = shortened(lines)
    rows = [
        {"name": name, "label": label, "side": side}
        | _amounts(shown, {one: rows[index].get(side) for one, rows in shown.items()})
        for index, (name, label) in enumerate(zip(lines, labels, strict=True))
        for side in sides
    ]
    hover = pointed_at()
    picked = alt.selection_point(name="picked", fields=["name"])
    base = (
        alt.Chart(data(rows))
        .mark_bar()
        .encode(
            opacity=alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.25)),
            stroke=alt.when(hover).then(alt.value("currentColor")).otherwise(alt.value(None)),
            tooltip=[
                alt.Tooltip("name:N", title=what),
                *tooltips(*([] if len(sides) == 1 else ["side"]), *(one.title for one in shown)),
            ],
            **_side_encodings(sides),
        )
        .properties(width=_PANEL.get(len(shown), 420), height=alt.Step(STEP if len(sides) == 1 else SIDE_STEP))
    )
    charts, views = [], [f"panel{index}" for index in range(len(shown))]
    for index, one in enumerate(shown):
        x = alt.X(f"q{index}:Q", title=one.title, axis=alt.Axis(labelExpr=one.labels, tickCount=3, orient="top"))
        y = alt.Y("label:N", sort=labels, axis=alt.Axis(labels=not index, ticks=not index, title=None, labelLimit=0))
        charts.append(base.encode(x, y).properties(name=views[index]))
    parameters: list[Any] = [hover.param, picked.param]
    in_all = [alt.TopLevelSelectionParameter(**one.to_dict(), views=views) for one in parameters]
    return alt.hconcat(*charts, spacing=12, params=in_all)


def _amounts(shown: Iterable[Quantity], values: Mapping[Quantity, float | None]) -> dict[str, Any]:
    """The fields of one bar: a number and its text for each quantity."""
    amounts: dict[str, Any] = {}
    for index, one in enumerate(shown):
        value = values[one] if is_known(values[one]) else None
        amounts |= {f"q{index}": value, one.title: "-" if value is None else one.show(value)}
    return amounts


def _side_encodings(sides: Sequence[str]) -> dict[str, Any]:
    """The encodings that tell the bars of one row apart."""
    import altair as alt

    if len(sides) == 1:
        return {"color": alt.value(BLUE)}
    scale = alt.Scale(domain=list(sides), range=["#808080", BLUE])
    return {
        "color": alt.Color("side:N", scale=scale, title=None, legend=alt.Legend(orient="top")),
        "yOffset": alt.YOffset("side:N", sort=list(sides)),
    }


class Choice(NamedTuple):
    """A point of two quantities.

    Attributes:
        name: Name of the point.
        x: Value of the first quantity.
        y: Value of the second quantity.
        kind: Kind of the point; empty for none.
    """

    name: str
    x: float
    y: float
    kind: str = ""


def front(question: str, points: Sequence[Choice], axes: tuple[Quantity, Quantity], count: int) -> Figure:
    """Points of two quantities, with a line through those that no other point beats in both; of equal ones the first.

    Those on the line have a colour for each kind, if there are several and enough colours.

    Args:
        question: The question that the figure answers.
        points: At least one point.
        axes: Horizontal and vertical quantity.
        count: Number of points, with those that are not passed.
    """
    import altair as alt

    x, y = axes
    costs = [tuple(-v if axis.is_more_better else v for axis, v in zip(axes, (p.x, p.y), strict=True)) for p in points]
    best: set[int] = set()
    least = math.inf
    for index in sorted(range(len(points)), key=lambda index: costs[index]):
        if costs[index][1] < least:
            best.add(index)
            least = costs[index][1]
    shown = best.union(largest([-value for value, _ in costs], MAX_POINTS))
    equal = Counter(costs)
    rows = [
        {"name": one.name, "x": one.x, "y": one.y, "best": i in best, "kind": one.kind, "equal": equal[costs[i]] - 1}
        | {x.title: x.show(one.x), y.title: y.show(one.y)}
        for i, one in enumerate(points)
        if i in shown
    ]
    base = alt.Chart(data(rows)).encode(
        alt.X("x:Q", title=x.title, scale=_scale([one.x for one in points]), axis=_few_numbers(x)),
        alt.Y("y:Q", title=y.title, scale=_scale([one.y for one in points]), axis=_few_numbers(y)),
        tooltip=tooltips("name", x.title, y.title, *(["equal"] if any(one["equal"] for one in rows) else [])),
    )
    step: Literal["step-before", "step-after"] = "step-before" if x.is_more_better else "step-after"
    line = base.transform_filter("datum.best").mark_line(interpolate=step, color="#8888")
    others = base.transform_filter("!datum.best").mark_point(filled=True, size=55, opacity=0.9, color="#808080")
    on_line = base.transform_filter("datum.best").mark_point(filled=True, size=55, opacity=0.9, color=BLUE)
    if 1 < len(kinds := list(dict.fromkeys(points[index].kind for index in sorted(best)))) <= len(COLOURS):
        scale = alt.Scale(domain=kinds, range=COLOURS[: len(kinds)])
        on_line = on_line.encode(alt.Color("kind:N", scale=scale, title=None, legend=alt.Legend(orient="top")))
    rest = of_all(len(shown), count, "those on the line and some of the others")
    ties = sum(equal[costs[index]] - 1 for index in best)
    if ties and not rest:
        rest = f" {ties} more equal{'s' if ties == 1 else ''} one of them."
    return Figure(f"{question}{rest}", alt.layer(line, others, on_line).properties(width=SIDE, height=300))


def _few_numbers(quantity: Quantity) -> alt.Axis:
    import altair as alt

    return alt.Axis(labelExpr=quantity.labels, tickCount=6)


def _scale(values: Sequence[float]) -> alt.Scale:
    """The scale of an axis: logarithmic if most values would lie at one end of it."""
    import altair as alt

    least, greatest = min(values), max(values)
    return alt.Scale(type="log" if 0 < least * MAX_LINEAR < greatest else "linear", zero=False, padding=12)


def themed(chart: alt.TopLevelMixin, *, background: str | None = None) -> dict[str, Any]:
    """The Vega-Lite specification of a chart, in the colour of the text around it.

    Args:
        chart: Altair chart.
        background: Colour behind it; None for none.
    """
    spec: dict[str, Any] = chart.to_dict(validate=False)
    text = {"labelColor": "currentColor", "titleColor": "currentColor", "titleFontWeight": "normal"}
    lines = {"domainColor": "#8888", "tickColor": "#8888", "gridColor": "#8883"}
    spec["config"] = {
        "background": background,
        "font": "system-ui, DejaVu Sans, sans-serif",  # vl-convert measures with the second, a wide one: nothing is cut
        "axis": {**text, **lines, "labelFontSize": 11, "titleFontSize": 12},
        "legend": {**text, "labelLimit": 300},
        "title": {
            **dict.fromkeys(("color", "subtitleColor"), "currentColor"),
            "fontWeight": "normal",
            "fontSize": 12,
            "anchor": "start",
            "frame": "group",
        },
        "view": {"stroke": None},
        "range": {"category": list(COLOURS)},
    }
    return spec


def svg(chart: alt.TopLevelMixin, background: str | None = None) -> str:
    """A chart as SVG; arguments as of `themed`."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(themed(chart, background=background), vl_version=_version()))


def image(chart: alt.TopLevelMixin, kind: str) -> bytes:
    """The content of a file with a chart; the kind is "svg" or "png"."""
    if kind == "svg":
        return svg(chart, "white").encode()
    import vl_convert

    spec = themed(chart, background="white")
    return bytes(vl_convert.vegalite_to_png(spec, vl_version=_version(), ppi=144))


def first_chart(figures: Iterable[Figure]) -> alt.TopLevelMixin:
    """The chart of the first figure that has one.

    Raises:
        ConvcostError: None has.
    """
    known = list(figures)
    for figure in known:
        if figure.chart is not None:
            chart: alt.TopLevelMixin = figure.chart
            return chart
    reasons = " ".join(figure.sentence for figure in known) or "there is nothing to draw."
    raise ConvcostError(f"figure (=none) must have something to show: {reasons}")


def _version() -> str:
    """The version of Vega-Lite that Altair writes, as vl-convert names it."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.split(".")[:2])

"""The figure of a check: how much of each limit is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from convcost.text.figure import BLUE, MAX_BARS, ORANGE, SIDE, STEP, Figure, data, distinct, of_all, tooltips
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.budgets.columns import MetricRow

COLOURS: Final = {"pass": BLUE, "warn": "#e69f00", "fail": ORANGE, "inconclusive": "#cc79a7", "skipped": "#808080"}
"""Colour of each verdict."""


def check_figures(rows: Sequence[MetricRow]) -> tuple[Figure, ...]:
    """A bar for each limited metric: its value as a share of its tightest limit, those that are used most first."""
    import altair as alt

    names = distinct(f"{row.budget.name}: {row.judged.limit.metric}" for row in rows)
    used: list[dict[str, Any]] = [
        {"name": name, "share": share, "verdict": row.judged.verdict, "actual": row.actual_text}
        | {"limit": f"{key} {row.figure(limit)}", "used": human_percent(share), "reason": row.judged.reason or "-"}
        for name, row in zip(names, rows, strict=True)
        for share, key, limit in [max(_shares(row), default=(None, "", None))]
        if share is not None and limit is not None
    ]
    if not used:
        return (Figure("No limit has a value to be held against it."),)
    used.sort(key=lambda one: one["share"], reverse=True)
    shown = used[:MAX_BARS]
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    base = alt.Chart(data(shown)).encode(
        alt.X("share:Q", title="share of the limit", axis=alt.Axis(format="%", orient="top", tickCount=5)),
        alt.Y("name:N", sort=[one["name"] for one in shown], title=None, axis=alt.Axis(labelLimit=260)),
        tooltip=tooltips("name", "actual", "limit", "used", "verdict", "reason"),
    )
    bars = base.mark_bar().encode(alt.Color("verdict:N", scale=scale, legend=alt.Legend(title=None, orient="bottom")))
    words = base.mark_text(align="left", dx=5, color="currentColor").encode(text="verdict:N")
    limit = alt.Chart(data([{"at": 1}])).mark_rule(color="currentColor", strokeDash=[4, 3]).encode(alt.X("at:Q"))
    chart = alt.layer(bars, words, limit).properties(width=SIDE, height=alt.Step(STEP + 5))
    rest = of_all(len(shown), len(used), "the largest shares")
    return (Figure(f"How much of each limit is used? A bar beyond the line breaks it.{rest}", chart),)


def _shares(row: MetricRow) -> list[tuple[float, str, float]]:
    """The share of each limit that the value uses, its key and the limit in base units."""
    limit, actual, baseline = row.judged.limit, row.judged.reading.actual, row.judged.reading.baseline
    most, least, found = limit.bound("max"), limit.bound("min"), []
    if actual is None:
        return []
    if most:
        found.append((actual / most, "max", most))
    if least and actual:
        found.append((least / actual, "min", least))
    if limit.grow is not None and baseline:
        allowed = baseline + limit.allowance(baseline)
        found.append((baseline * (1 + (row.judged.growth or 0)) / allowed, "baseline and growth", allowed))
    return found

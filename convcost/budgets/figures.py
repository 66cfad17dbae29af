"""The figures of a check: how much of each limit is used, and how each figure moved from commit to commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from convcost.text.figure import BLUE, MAX_BARS, ORANGE, SIDE, STEP, Figure, data, distinct, of_all, shortened, tooltips
from convcost.text.quantities import BYTES
from convcost.text.table import aligned
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from convcost.budgets.columns import MetricRow
    from convcost.budgets.lock_history import LockedTotals

COLOURS: Final = {"pass": BLUE, "warn": "#e69f00", "fail": ORANGE, "inconclusive": "#cc79a7", "skipped": "#808080"}
"""Colour of each verdict."""
MAX_PANELS: Final = 12
"""Maximum number of figures whose history is drawn."""
WORD: Final = 9
"""Width of a character of a verdict in pixels, with its share of the gaps around it."""
MIN_COMMITS: Final = 2
"""Minimum number of commits for a line."""
PANEL: Final = 280
"""Width of the history of one figure in pixels."""
MAX_TITLE: Final = 40
"""Maximum number of characters of the name above it."""
MAX_SUBJECT: Final = 60
"""Maximum number of characters of a commit's subject among the numbers."""
NOW: Final = "now"
MOVED: Final = "How did each figure move over the commits that changed convcost.lock?"


def check_figures(rows: Sequence[MetricRow]) -> tuple[Figure, ...]:
    """A bar for each limited metric: its value as a share of its tightest limit, those that are used most first."""
    import altair as alt

    names = _names(rows)
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
    for one, label in zip(shown, shortened([one["name"] for one in shown]), strict=True):
        end = one["share"] + WORD * len(one["verdict"]) * max(1, shown[0]["share"]) / SIDE
        one |= {"label": label, "word": 1 if one["share"] < 1 < end else one["share"]}
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    base = alt.Chart(data(shown)).encode(
        alt.X("share:Q", title="share of the limit", axis=alt.Axis(format="%", orient="top", tickCount=5)),
        alt.Y("label:N", sort=[one["label"] for one in shown], title=None, axis=alt.Axis(labelLimit=0)),
        tooltip=tooltips("name", "actual", "limit", "used", "verdict", "reason"),
    )
    bars = base.mark_bar().encode(alt.Color("verdict:N", scale=scale, legend=alt.Legend(title=None, orient="bottom")))
    words = base.mark_text(align="left", dx=5, color="currentColor").encode(alt.X("word:Q"), text="verdict:N")
    limit = alt.Chart(data([{"at": 1}])).mark_rule(color="currentColor", strokeDash=[4, 3]).encode(alt.X("at:Q"))
    chart = alt.layer(bars, words, limit).properties(width=SIDE, height=alt.Step(STEP + 5))
    rest = of_all(len(shown), len(used), "the largest shares")
    return (Figure(f"How much of each limit is used? A bar beyond the line breaks it.{rest}", chart),)


def _names(rows: Sequence[MetricRow]) -> list[str]:
    return distinct(f"{row.budget.name}: {row.judged.limit.metric}" for row in rows)


def history_figure(rows: Sequence[MetricRow], commits: Sequence[LockedTotals]) -> Figure:
    """Each limited figure over the commits that changed the lock, with its tightest limit.

    Args:
        rows: Metrics of the check.
        commits: Totals in the lock, the oldest first.
    """
    import altair as alt

    if len(commits) < MIN_COMMITS:
        few = "none" if not commits else "one"
        return Figure(f"{MOVED} This needs two of them, and git has {few} here (a shallow clone lacks earlier ones).")
    known = [(name, row, _values(row, commits)) for name, row in zip(_names(rows), rows, strict=True)]
    known = sorted(
        ((name, row, values) for name, row, values in known if any(one is not None for one in values)),
        key=lambda one: max(_shares(one[1]), default=(0.0, "", 0.0))[0],
        reverse=True,
    )
    if not known:
        return Figure(f"{MOVED} None of them has a limited figure in the lock.")
    labels = [*distinct(one.commit for one in commits), NOW]
    shown = known[:MAX_PANELS]
    titles = shortened([name for name, _, _ in shown], MAX_TITLE)
    charts = [
        _panel(title, row, values, labels, commits) for title, (_, row, values) in zip(titles, shown, strict=True)
    ]
    rest = of_all(len(charts), len(known), "the largest shares of their limits")
    sentence = f"{MOVED} {NOW.capitalize()} is this check; dashed lines are the limits of today.{rest}"
    chart: alt.ConcatChart = alt.concat(*charts, columns=2, spacing=30)
    heads = ["commit", "subject", *(name for name, _, _ in known)]
    figures = [[row.figure(value) for value in values] for _, row, values in known]
    body = zip([one.commit for one in commits], [one.subject[:MAX_SUBJECT] for one in commits], *figures, strict=True)
    return Figure(sentence, chart, aligned(heads, list(body), left=2))


def _values(row: MetricRow, commits: Sequence[LockedTotals]) -> list[int | None]:
    """The value of a metric in each commit; None where the lock lacks it."""
    return [one.totals.get(row.budget.name, {}).get(row.judged.limit.metric) for one in commits]


def _panel(
    text: str, row: MetricRow, values: Sequence[int | None], labels: Sequence[str], commits: Sequence[LockedTotals]
) -> alt.LayerChart | alt.FacetChart:
    """A figure over the commits, and its limit."""
    import altair as alt

    subjects = [*(one.subject for one in commits), "this check"]
    points = [
        {"commit": commit, "subject": subject, "value": value, "figure": row.figure(value)}
        for commit, subject, value in zip(labels, subjects, [*values, row.judged.reading.actual], strict=True)
        if value is not None
    ]
    unit = "B" if row.judged.metric.kind is BYTES else ""
    axis = alt.Axis(labelExpr=f"datum.value % 1 ? '' : format(datum.value, '.4~s') + '{unit}'", tickCount=4)
    across = alt.X("commit:N", title=None, scale=alt.Scale(domain=list(labels)), axis=alt.Axis(labelAngle=-90))
    up = alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(zero=False, padding=8))
    base = alt.Chart(data(points)).encode(across, up)
    layers: list[Any] = [
        base.mark_line(color=BLUE, opacity=0.6),
        base.mark_point(filled=True, size=45, opacity=1, color=BLUE).encode(
            tooltip=tooltips("commit", "subject", "figure")
        ),
    ]
    subtitle = ""
    for _, key, limit in sorted(_shares(row))[-1:]:
        subtitle = f"dashed: {key} {row.figure(limit)}"
        rule = alt.Chart(data([{"limit": limit, "text": subtitle}])).encode(alt.Y("limit:Q"))
        layers.append(rule.mark_rule(color=ORANGE, strokeDash=[4, 3]).encode(tooltip=tooltips("text")))
    title = alt.Title(text, subtitle=subtitle)
    return alt.layer(*layers).properties(width=PANEL, height=110, title=title)


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

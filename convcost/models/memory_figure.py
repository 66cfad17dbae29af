"""The figure of the memory along a forward pass: the activations alive during each call, with the peak named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from convcost.text.errors import one_line
from convcost.text.figure import BLUE, ORANGE, WIDTH, Figure, Quantity, data, pointed_at, shortened, tooltips
from convcost.text.units import human_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from convcost.models.call import Call
    from convcost.models.peak import Peak

ALIVE: Final = Quantity("activations alive", human_bytes, "B")
MAX_STEPS: Final = WIDTH
"""Maximum number of steps along the forward pass: one for each pixel."""
MAX_NAME: Final = 48
"""Maximum number of characters of the name at the peak."""
HEADROOM: Final = 1.15
"""Height of the figure relative to the peak, which has its name above it."""
QUESTION: Final = "How much memory do activations take along the forward pass?"


def memory_figures(layers: Sequence[Call], peak: Peak | None) -> tuple[Figure, ...]:
    """The activations that are alive during each call; empty where none is known.

    Args:
        layers: Calls in the order of the forward pass.
        peak: The call during which most is alive; None if unknown.
    """
    known = [(one_line(layer.name), layer.alive_bytes) for layer in layers if layer.alive_bytes is not None]
    most = max((size for _, size in known), default=0)
    if not most:
        return ()
    wide = -(-len(known) // MAX_STEPS)
    starts = range(0, len(known), wide)
    steps = [_step(known, start, min(start + wide, len(known))) for start in starts]
    top = next(step for step in steps if step["bytes"] == most)
    where = "" if peak is None else f", {one_line(str(peak))}"
    joined = f" The {len(known)} calls are in steps of {wide}, each as high as its highest." if wide > 1 else ""
    return (Figure(f"{QUESTION} At most {human_bytes(most)}{where}.{joined}", _chart(steps, top, len(known))),)


def _step(known: Sequence[tuple[str, int]], start: int, end: int) -> dict[str, Any]:
    """Calls from a place up to another one, counted from 0, under the name of the one with most memory."""
    name, size = max(known[start:end], key=lambda call: call[1])
    return {
        "name": name,
        "bytes": size,
        "from": start + 0.5,
        "to": end + 0.5,
        "call": f"{start + 1}" if end == start + 1 else f"{start + 1} to {end}",
        "alive": human_bytes(size),
    }


def _chart(steps: Sequence[dict[str, Any]], top: dict[str, Any], count: int) -> alt.TopLevelMixin:
    """An area of steps, with the peak marked; a step that is pointed at or selected is a column of the full height."""
    import altair as alt

    hover = pointed_at()
    picked = alt.selection_point(name="picked", fields=["name"], empty=False)
    order = alt.Axis(labelExpr="datum.value % 1 ? '' : datum.value", tickMinStep=1, grid=False)  # a call at each number
    amounts = alt.Axis(labelExpr=ALIVE.labels, tickCount=5)
    x_scale = alt.Scale(domain=[0.5, count + 0.5], nice=False)
    y_scale = alt.Scale(domain=[0, top["bytes"] * HEADROOM], nice=False)
    x = alt.X("from:Q", title="calls in the order of the forward pass", scale=x_scale, axis=order)
    y = alt.Y("bytes:Q", title=ALIVE.title, scale=y_scale, axis=amounts)
    edges = [(step["from"], step["bytes"]) for step in steps]
    edges.append((steps[-1]["to"], steps[-1]["bytes"]))
    area = alt.Chart(data({"from": at, "bytes": size} for at, size in edges)).mark_area(
        interpolate="step-after", color=BLUE, opacity=0.35, line={"color": BLUE, "strokeWidth": 1}
    )
    columns = (
        alt.Chart(data(steps))
        .mark_rect(color="currentColor", aria=False)
        .encode(
            x,
            x2="to:Q",
            opacity=alt.when(picked).then(alt.value(0.45)).when(hover).then(alt.value(0.25)).otherwise(alt.value(0)),
            tooltip=[alt.Tooltip("name:N", title="layer"), *tooltips("call", "alive")],
        )
        .add_params(hover, picked)
    )
    middle = (top["from"] + top["to"]) / 2
    is_left = middle < count / 2
    (name,) = shortened([top["name"]], MAX_NAME)
    peak = alt.Chart(data([{**top, "from": middle, "label": f"{name}: {top['alive']}"}])).encode(x, y)
    layers = (
        area.encode(x, y),
        peak.mark_point(filled=True, size=60, opacity=1, color=ORANGE),
        peak.mark_text(
            align="left" if is_left else "right", dx=8 if is_left else -8, dy=-8, color="currentColor"
        ).encode(text="label:N"),
        columns,
    )
    return alt.layer(*layers).properties(width=WIDTH, height=220)

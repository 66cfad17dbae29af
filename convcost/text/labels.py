"""Places of labels in a figure, where none covers a point, a line or another label; in pixels from the lower left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from convcost.text.figure import data, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import altair as alt

    from convcost.text.log_axis import LogAxis

Align: TypeAlias = Literal["left", "center", "right"]
CHARACTER: Final = 7
"""Width of a character of a wide font in pixels, at the size of labels."""
HEIGHT: Final = 14
"""Height of a label in pixels."""
MAX_WIDTH: Final = 180
"""Maximum width of a label in pixels; the end of a longer one is cut off."""
NEAR: Final = 8
"""Distance between a point and the nearest place of its label in pixels."""
DISTANCES: Final = (NEAR, 14, 22, 32, 44, 58, 76, 98, 124)
RADIUS: Final = 6
"""Half the side of what a point covers in pixels."""


class Box(NamedTuple):
    """An area of a figure.

    Attributes:
        left: Left side.
        bottom: Lower side.
        right: Right side.
        top: Upper side.
    """

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Whether the two areas have a point in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def holds(self, other: Box) -> bool:
        """Whether the other area lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.bottom <= other.bottom and other.top <= self.top


class Label(NamedTuple):
    """A label at one place.

    Attributes:
        x: Horizontal position of its anchor.
        y: Vertical position of its middle.
        align: Side of the text that the anchor is at.
        boxes: Areas that it covers.
    """

    x: float
    y: float
    align: Align
    boxes: tuple[Box, ...]


def width_of(text: str) -> float:
    """The width of a label, rather too wide than too narrow."""
    return min(MAX_WIDTH, CHARACTER * len(text))


def point_box(x: float, y: float) -> Box:
    """What a point covers."""
    return Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)


def beside(x: float, y: float, text: str) -> Iterator[Label]:
    """The places of the label of a point, the best first: close to it, and on the right."""
    width = width_of(text)
    for far in DISTANCES:
        for across, up in ((1, 0.6), (1, 0), (1, -0.6), (-1, 0.6), (-1, 0), (-1, -0.6), (0, 1), (0, -1)):
            align: Align = "center" if not across else "left" if across > 0 else "right"
            at = x + far * across, y + far * up + (0 if across else math.copysign(HEIGHT / 2, up))
            left = at[0] - {"left": 0.0, "center": width / 2, "right": width}[align]
            yield Label(*at, align, (Box(left, at[1] - HEIGHT / 2, left + width, at[1] + HEIGHT / 2),))


def along(start: tuple[float, float], end: tuple[float, float], text: str) -> Iterator[Label]:
    """The places of the label of a straight line that rises or is level: along it from its start on, above it first."""
    width, length = width_of(text), math.dist(start, end)
    across, up = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    half = HEIGHT / 3
    steps = range(math.ceil(width / half))
    for side in (0.75 * HEIGHT, -0.75 * HEIGHT):
        for begin in range(4, max(5, int(length - width)), 8):
            x, y = start[0] + begin * across - side * up, start[1] + begin * up + side * across
            middles = [(x + k * half * across, y + k * half * up) for k in steps]
            yield Label(x, y, "left", tuple(Box(a - half, b - half, a + half, b + half) for a, b in middles))


def line_boxes(start: tuple[float, float], end: tuple[float, float]) -> Iterator[Box]:
    """What a straight line covers."""
    count = max(1, math.ceil(math.dist(start, end) / RADIUS))
    for index in range(count + 1):
        x, y = (first + (last - first) * index / count for first, last in zip(start, end, strict=True))
        yield Box(x - 1, y - 1, x + 1, y + 1)


def place(choices: Iterable[Iterable[Label]], taken: Iterable[Box], frame: Box) -> list[Label | None]:
    """The first place of each label that covers nothing and lies in the frame; None for a label without any.

    Args:
        choices: Places of each label, the best first.
        taken: What no label may cover.
        frame: Area of the figure.
    """
    covered = list(taken)
    placed: list[Label | None] = []
    for labels in choices:
        label = next((one for one in labels if _is_free(one, covered, frame)), None)
        covered += () if label is None else label.boxes
        placed.append(label)
    return placed


def names(
    points: Sequence[tuple[str, float, float]], axes: tuple[LogAxis, LogAxis], taken: Iterable[Box], most: int
) -> list[alt.Chart]:
    """The layers of a chart with the names of points, each with a line to its point.

    Args:
        points: Name and values of each point; of too many the first ones that lie apart from each other have names.
        axes: Both axes of the chart.
        taken: What no name may cover, apart from the points.
        most: Maximum number of names.
    """
    import altair as alt

    x, y = axes
    dots = [point_box(x.pixel(across), y.pixel(up)) for _, across, up in points]
    named = range(len(points)) if len(points) <= most else _apart(dots)[:most]
    texts = shortened([points[index][0] for index in named], MAX_WIDTH // CHARACTER)
    choices = (_reachable(dots[index], text, dots) for index, text in zip(named, texts, strict=True))
    labels = place(choices, [*taken, *dots], Box(0, 0, x.length, y.length))
    rows = [
        {"name": text, "x": x.value(label.x), "y": y.value(label.y), "align": label.align, "px": across, "py": up}
        for text, (_, across, up), label in zip(texts, [points[index] for index in named], labels, strict=True)
        if label is not None
    ]
    base = alt.Chart(data(rows)).encode(alt.X("x:Q", scale=x.scale), alt.Y("y:Q", scale=y.scale))
    lines = base.mark_rule(color="#8888", aria=False).encode(x2="px:Q", y2="py:Q")
    words = base.mark_text(align=alt.ExprRef("datum.align"), baseline="middle", limit=MAX_WIDTH, color="currentColor")
    return [lines, words.encode(text="name:N")] if rows else []


def _apart(dots: Sequence[Box]) -> list[int]:
    """Positions of the points that do not lie on an earlier one of them."""
    apart: list[int] = []
    for index, dot in enumerate(dots):
        if not any(dot.meets(dots[other]) for other in apart):
            apart.append(index)
    return apart


def _reachable(dot: Box, text: str, dots: Sequence[Box]) -> Iterator[Label]:
    """The places of the label of a point, whose line to it crosses no other point."""
    x, y = dot.left + RADIUS, dot.bottom + RADIUS
    others = [one for one in dots if not one.meets(dot)]
    for label in beside(x, y, text):
        if not any(any(map(box.meets, others)) for box in line_boxes((x, y), (label.x, label.y))):
            yield label


def _is_free(label: Label, covered: Sequence[Box], frame: Box) -> bool:
    return all(map(frame.holds, label.boxes)) and not any(any(map(box.meets, covered)) for box in label.boxes)

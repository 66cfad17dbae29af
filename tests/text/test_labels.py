"""Labels cover no point, no line and no other label, and stay inside the figure."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.text.labels import Box, LogAxis, along, beside, line_boxes, place, point_box, width_of

FRAME = Box(0, 0, 420, 420)
positions = st.tuples(st.floats(0, 420), st.floats(0, 420))


@given(st.lists(positions, min_size=1, max_size=12), st.sampled_from(["a", "spatially-separable", "x" * 1000]))
def test_no_label_covers_a_point_or_another_label(points: list[tuple[float, float]], text: str) -> None:
    dots = [point_box(*point) for point in points]
    labels = place((beside(*point, text) for point in points), dots, FRAME)
    boxes = [box for label in labels if label is not None for box in label.boxes]
    assert not any(box.meets(dot) for box in boxes for dot in dots)
    assert not any(first.meets(second) for first, second in combinations(boxes, 2))
    assert all(map(FRAME.holds, boxes))


def test_a_lonely_point_has_its_label_beside_it_on_the_right() -> None:
    (label,) = place([beside(100, 100, "stem")], [point_box(100, 100)], FRAME)
    assert label is not None
    assert (label.x, label.align) == (108, "left")


def test_a_point_at_the_right_edge_has_its_label_on_the_left() -> None:
    (label,) = place([beside(415, 100, "stem")], [point_box(415, 100)], FRAME)
    assert label is not None
    assert label.align == "right"


def test_a_label_without_room_has_no_place() -> None:
    assert place([beside(5, 5, "stem")], [], Box(0, 0, 10, 10)) == [None]


@pytest.mark.parametrize("end", [(300.0, 0.0), (300.0, 200.0)])
def test_the_label_of_a_line_does_not_touch_it(end: tuple[float, float]) -> None:
    line = list(line_boxes((0, 0), end))
    (label,) = place([along((0, 0), end, "memory 1.00 GB/s")], line, FRAME)
    assert label is not None
    assert not any(box.meets(other) for box in label.boxes for other in line)


def test_the_label_of_a_line_stands_below_it_if_another_line_is_close_above() -> None:
    lines = [*line_boxes((0, 100), (300, 100)), *line_boxes((0, 112), (300, 112))]
    (label,) = place([along((0, 100), (300, 100), "L2")], lines, FRAME)
    assert label is not None
    assert label.y < 100


def test_a_logarithmic_axis_has_its_values_at_equal_steps() -> None:
    axis = LogAxis.around([1, None, float("nan"), 100], 200, below=1, above=1)
    assert [axis.pixel(value) for value in (1, 10, 100)] == [0, 100, 200]
    assert axis.value(100) == pytest.approx(10)


def test_a_long_label_is_cut_off() -> None:
    assert width_of("x" * 1000) == width_of("x" * 999) > width_of("x")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1, 1e6, [1, 10, 100, 1e3, 1e4, 1e5, 1e6]),
        (0.9, 25, [1, 2, 5, 10, 20]),
        (2, 6, [2, 3, 4, 5, 6]),
        (0.83, 1.35, [0.85, 0.9, 0.95, 1, 1.1, 1.2, 1.3]),
        (3.15, 3.55, [3.2, 3.3, 3.4, 3.5]),
        (1e-6, 1e-6, [1e-6]),
    ],
)
def test_an_axis_has_round_values(low: float, high: float, ticks: list[float]) -> None:
    assert LogAxis(low, high, 100).ticks == ticks

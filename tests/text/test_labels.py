"""Labels cover no point, no line and no other label, and stay inside the figure."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.text.labels import Box, along, beside, line_boxes, place, point_box, width_of

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


def test_a_long_label_is_cut_off() -> None:
    assert width_of("x" * 1000) == width_of("x" * 999) > width_of("x")

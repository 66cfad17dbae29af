"""A logarithmic axis has round values, at the pixels where they belong."""

from __future__ import annotations

import pytest

from convcost.text.log_axis import LogAxis


def test_a_logarithmic_axis_has_its_values_at_equal_steps() -> None:
    axis = LogAxis.around([1, None, float("nan"), 100], 200, below=1, above=1)
    assert [axis.pixel(value) for value in (1, 10, 100)] == [0, 100, 200]
    assert axis.value(100) == pytest.approx(10)


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

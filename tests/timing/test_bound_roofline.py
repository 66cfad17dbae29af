"""The roofline: points where their figures put them, under roofs that they cannot pass."""

from __future__ import annotations

import pytest
from made_machine import machine

from convcost.timing.bound import roofline

HERE = machine()
PEAK, LEVELS = HERE.peaks[0], HERE.levels
POINTS = [("slow", 0.5, 1e8), ("fast", 50.0, 9e10)]


def cells(text: str) -> list[str]:
    """The lines of the plot alone, without their scale."""
    return [line.partition("|")[2] for line in text.splitlines() if "|" in line]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_of_the_plot_is_wider_than_asked_for(width: int) -> None:
    text = roofline(POINTS, PEAK, LEVELS, width)
    assert max(map(len, text.splitlines()[:-4])) <= width
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_faster_row_is_higher_and_a_denser_one_further_right() -> None:
    plot = cells(roofline(POINTS, PEAK, LEVELS))
    where = {
        letter: (index, line.index(letter)) for index, line in enumerate(plot) for letter in "AB" if letter in line
    }
    assert where["B"][0] < where["A"][0]
    assert where["B"][1] > where["A"][1]


def test_the_roof_is_flat_at_the_top_and_slanted_where_memory_is_slow() -> None:
    text = roofline([("a", 1.0, 1e9)], PEAK, LEVELS)
    plot = cells(text)
    assert plot[0].endswith("─")
    assert "  100 G |" in text
    slant = [line.index("/") for line in plot if "/" in line]
    assert slant == sorted(slant, reverse=True)
    assert len(slant) >= 5


def test_rows_on_one_spot_share_it_and_the_legend_names_both() -> None:
    text = roofline([("one", 1.0, 1e9), ("two", 1.0, 1e9)], PEAK, LEVELS)
    assert "*" in "".join(cells(text))
    assert "A  one: 1.00 GFLOP/s at 1.00 FLOP/byte *" in text
    assert "B  two: 1.00 GFLOP/s at 1.00 FLOP/byte *" in text


@pytest.mark.parametrize(("most", "label"), [(1e11, "100 G"), (1.1e11, "200 G"), (2.1e11, "500 G"), (6e11, "1.00 T")])
def test_the_scale_ends_at_1_2_or_5_times_a_power_of_ten(most: float, label: str) -> None:
    assert label in roofline([("a", 1.0, most), ("b", 1.0, 1e8)], PEAK, LEVELS).splitlines()[1]


def test_one_level_of_memory_is_enough() -> None:
    assert "/ memory" in roofline(POINTS, PEAK, LEVELS[-1:])


def test_rows_beyond_the_alphabet_are_counted() -> None:
    text = roofline([(f"row {index}", 1.0, 1e9) for index in range(30)], PEAK, LEVELS)
    assert text.endswith("… and 4 more rows")

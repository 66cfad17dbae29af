"""The sample of a grid: each row once, the same in every run, and spread over all axes."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest

from convcost.grids.configuration_file import read_configuration
from convcost.grids.grid import Grid
from convcost.grids.sample import sample, sample_of

BLOCKS = ["standard", "grouped", "inverted-residual"]
SMALL: dict[str, Any] = {
    "axes": {"c": [4, 8], "o": [4, 8, 12], "k": [1, 3], "groups": [1, 2, 4], "expansion": [1, 6]},
    "blocks": BLOCKS,
}


def groups_of(given: dict[str, Any]):
    configuration = read_configuration(given)
    return sample(Grid(configuration), configuration)


@pytest.mark.parametrize(
    "axes",
    [
        SMALL["axes"],
        {"c": [4], "o": [4], "k": [3]},
        {"c": [4], "o": {"from": 1, "to": 97, "step": 1}, "k": [3]},
        {"c": [4, 8], "o": [4, 8], "k": [3], "depth_multiplier": [1, 2]},  # an axis without effect on these blocks
    ],
)
def test_a_sample_without_end_has_every_row_once(axes: dict[str, Any]) -> None:
    given = {"axes": axes, "blocks": BLOCKS[:2]}
    rows = [row for group in groups_of(given) for row in group]
    assert sorted(rows) == list(range(Grid(read_configuration(given)).size))


def test_the_first_groups_of_a_long_sample_are_a_short_one() -> None:
    assert list(groups_of(SMALL))[:7] == list(islice(groups_of(SMALL), 7))


def test_a_group_has_one_shape_and_the_blocks_that_are_left_of_it() -> None:
    grid = Grid(read_configuration(SMALL))
    first, *others = groups_of(SMALL)
    assert [grid.layer(row)[0] for row in first] == BLOCKS
    for group in (first, *others):
        layers = [grid.layer(row) for row in group]
        assert len({(spec, dtype) for _, spec, _, dtype in layers}) == 1
        assert len({block for block, *_ in layers}) == len(layers)


def test_the_first_two_groups_have_both_ends_of_each_axis() -> None:
    configuration = read_configuration(SMALL)
    grid = Grid(configuration)
    shapes = [grid.layer(group[0])[1] for group in islice(groups_of(SMALL), 2)]
    assert {shape.in_channels for shape in shapes} == {4, 8}
    assert {shape.out_channels for shape in shapes} == {4, 12}
    assert {shape.kernel_size for shape in shapes} == {(1, 1), (3, 3)}
    assert list(sample_of([3, 5, 8], grid, configuration))[:2] == [(3,), (8,)]


def test_conditions_choose_which_corners_come_first() -> None:
    side = [4, 8, 12]
    configuration = read_configuration(
        {"axes": {"c": side, "o": side, "k": [1, 3], "h": [7, 14]}, "blocks": ["standard"]}
    )
    grid = Grid(configuration)
    shapes = [grid.layer(row)[1] for row in range(grid.size)]
    allowed = np.array([one.in_channels == one.out_channels for one in shapes])
    first = [shapes[group[0]] for group in islice(sample(grid, configuration, allowed), 2)]
    assert {one.out_channels for one in first} == {one.in_channels for one in first} == {4, 12}
    assert {one.height for one in first} == {7, 14}
    allowed[[number for number, one in enumerate(shapes) if one.height == 7 and one.in_channels != 8]] = False
    rows = [row for group in sample(grid, configuration, allowed) for row in group]  # no two corners are left
    assert sorted(rows) == list(np.flatnonzero(allowed))


def test_a_small_sample_is_spread_over_all_axes() -> None:
    side = {"from": 1, "to": 64, "step": 1}
    axes = {"c": side, "o": side, "k": [3]}
    grid = Grid(read_configuration({"axes": axes, "blocks": ["standard"]}))
    rows = [row for group in islice(groups_of({"axes": axes, "blocks": ["standard"]}), 64) for row in group]
    cells = {((row // 64) // 8, row % 64 // 8) for row in rows}
    assert len(rows) == 64
    assert grid.size == 64 * 64
    assert {cell[0] for cell in cells} == {cell[1] for cell in cells} == set(range(8))
    # 64 points at random leave a third of the 64 cells empty: 64 (1 - 1/64)^64 = 23
    assert len(cells) > 64 - 23 / 2


def test_the_sample_of_the_largest_grid_starts_at_once() -> None:
    far = {"from": 1, "to": 10**6, "step": 1}
    rows = [group[0] for group in islice(groups_of({"axes": {"c": far, "o": far, "k": 3}, "blocks": ["standard"]}), 9)]
    assert len(set(rows)) == 9
    assert max(rows) > 5 * 10**11 > min(rows)


def test_chosen_rows_of_one_input_are_a_group() -> None:
    configuration = read_configuration(SMALL)
    grid = Grid(configuration)
    rows = [row for row in range(grid.size) if row % 3]
    groups = list(sample_of(rows, grid, configuration))
    assert sorted(row for group in groups for row in group) == rows
    for group in groups:
        layers = [grid.layer(row) for row in group]
        assert len({(spec, dtype) for _, spec, _, dtype in layers}) == 1
        assert len({block for block, *_ in layers}) == len(layers)
    assert len(groups) < len(rows)
    assert list(sample_of([], grid, configuration)) == []

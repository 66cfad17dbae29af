from itertools import product
from math import prod

import pytest

from convcost.convolution.spec import Spec
from convcost.grids.configuration_file import read_configuration
from convcost.grids.grid import Grid

AXES = {"c": {"from": 8, "to": 56, "step": 8}, "o": [4, 8, 12], "groups": [1, 2], "k": [1, "3x5"], "m": [1, 2, 3]}


def grid(*blocks, baseline="standard", **axes):
    return Grid(read_configuration({"blocks": blocks, "baseline": baseline, "axes": AXES | axes}))


def test_each_block_has_the_axes_of_layers_and_its_own_parameters():
    assert grid("standard").size == 7 * 3 * 2
    assert grid("grouped").size == 7 * 3 * 2 * 2
    assert grid("standard", "grouped", "depthwise").size == 7 * 3 * 2 * (1 + 2 + 3)


def test_a_parameter_of_the_baseline_is_an_axis_of_every_block_since_ratios_depend_on_it():
    assert grid("standard", baseline="grouped").size == 7 * 3 * 2 * 2


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 50, 10**6])
def test_parts_are_boxes_that_follow_each_other(rows):
    whole = grid("depthwise", "standard")
    layers, first = [], 0
    for part in whole.parts(rows):
        assert part.first == first
        assert part.last - part.first + 1 == prod(part.shape) <= rows
        first = part.last + 1
        names = [axis.name for axis in part.axes]
        points = product(*(axis.values for axis in part.axes))
        layers += [(part.block, dict(zip(names, values, strict=True))) for values in points]
        assert whole.part_at(part.first, rows) == whole.part_at(part.last, rows) == part
    assert first == whole.size == len(layers)
    assert whole.part_count(rows) == sum(1 for _ in whole.parts(rows))
    for index, (block, values) in enumerate(layers):
        name, spec, parameters, dtype = whole.layer(index)
        sizes = (values["in_channels"], values["out_channels"], values["kernel_size"])
        assert (name, spec, dtype) == (block, Spec(*sizes), "float32")
        assert parameters == {name: value for name, value in values.items() if name == "depth_multiplier"}


def test_the_parts_of_an_axis_are_about_as_long_as_each_other():
    whole = grid("standard", c={"from": 1, "to": 101, "step": 1})
    assert [prod(part.shape) for part in whole.parts(100 * 6)] == [50 * 6, 51 * 6]


def test_spread_rows_meet_a_condition_about_as_often_as_all_rows():
    thousand = {"from": 1, "to": 1024, "step": 1}
    part = grid("standard", c=thousand, o=thousand, k=[1, 3], m=[1]).spread(2**17)
    (c, o, kernels) = (axis.values for axis in part.axes)
    assert len(kernels) == 2
    assert 2**16 < prod(part.shape) == part.last + 1 <= 2**17
    for values in (c, o):
        assert values == tuple(sorted(set(values)))
        assert abs(sum(one < 20 for one in values) - len(values) * 19 / 1024) < 1
        assert 0.8 / 8 < sum(one % 8 == 0 for one in values) / len(values) < 1.2 / 8
    equal = len({*c} & {*o})
    assert 0.5 / 1024 < equal / len(c) / len(o) < 1.5 / 1024


def test_spread_rows_of_a_small_grid_are_all_of_it():
    whole = grid("depthwise")
    [part] = whole.parts()
    assert [tuple(axis.values) for axis in whole.spread(10**4).axes] == [tuple(axis.values) for axis in part.axes]


def test_a_trillion_rows_start_at_once_and_keep_their_ranges():
    million = {"from": 1, "to": 10**6, "step": 1}
    huge = grid("standard", c=million, o=million, k=[3])
    assert huge.size == 10**12
    part = huge.part(huge.part_count(10**6) - 1, 10**6)
    assert part.last == huge.size - 1
    assert [axis.values for axis in part.axes] == [range(10**6, 10**6 + 1), range(1, 10**6 + 1), ((3, 3),)]
    _, spec, _, _ = huge.layer(huge.size - 2)
    assert (spec.in_channels, spec.out_channels) == (10**6, 10**6 - 1)


def test_sizes_without_an_axis_are_those_of_compare():
    _, spec, _, _ = grid("standard", h=[7, 14]).layer(1)
    assert spec == Spec(8, 4, (1, 1), 14, 14)
    _, spec, _, dtype = grid("standard", w=[5], dtype=["float64"]).layer(0)
    assert (spec, dtype) == (Spec(8, 4, (1, 1), 224, 5), "float64")


def test_an_index_outside_of_the_grid_is_refused():
    with pytest.raises(IndexError):
        grid("standard").part(10**6)

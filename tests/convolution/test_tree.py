import re
from typing import Any

import numpy as np
import pytest

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Add
from convcost.convolution.shape import Shape
from convcost.convolution.tree import Concat, Residual, Split, Stage, chain, place, stages
from convcost.text.errors import ShapeError

INPUT = Shape(2, 8, (6, 5))


def stage(name, channels=8, out_channels=8, stride=1):
    return Stage(name, Conv(channels, out_channels, 3, stride, "same"))


def test_an_empty_chain_is_the_identity():
    assert place(chain(), INPUT) == ((), INPUT)


def test_a_chain_hands_each_output_on():
    layers, output = place(chain(stage("a", 8, 4, stride=2), stage("b", 4, 16)), INPUT)
    assert [(layer.name, layer.input.sizes) for layer in layers] == [("a", (2, 8, 6, 5)), ("b", (2, 4, 3, 3))]
    assert output == Shape(2, 16, (3, 3))


def test_concat_joins_the_channels_of_parts_that_read_the_same_input():
    layers, output = place(Concat((chain(), stage("a", 8, 5))), INPUT)
    assert [layer.input for layer in layers] == [INPUT]
    assert output == Shape(2, 8 + 5, (6, 5))


def test_split_gives_each_part_its_own_channels():
    layers, output = place(Split((2, 6), (stage("a", 2, 7), chain())), INPUT)
    assert [layer.input.channels for layer in layers] == [2]
    assert output == Shape(2, 7 + 6, (6, 5))


def test_a_residual_ends_in_an_addition_of_two_equal_shapes():
    layers, output = place(Residual("add", stage("a")), INPUT)
    assert [layer.name for layer in layers] == ["a", "add"]
    assert layers[1].op == Add(2)
    assert layers[1].input == output == INPUT


def test_a_shortcut_may_be_a_convolution():
    tree = Residual("add", stage("a", 8, 4, stride=2), Stage("short", Conv(8, 4, 1, 2)))
    layers, output = place(tree, INPUT)
    assert [layer.name for layer in layers] == ["a", "short", "add"]
    assert output == Shape(2, 4, (3, 3))


def test_a_residual_of_two_shapes_is_refused():
    text = "the residual branch gives (2, 4, 6, 5) and the shortcut (2, 8, 6, 5); make them equal."
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        place(Residual("add", stage("a", 8, 4)), INPUT)


def test_branches_of_two_sizes_cannot_be_joined():
    text = "branches (=6x5 and 3x3) that are joined must keep one spatial size; take stride 1 and padding same."
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        place(Concat((chain(), stage("a", stride=2))), INPUT)


def test_a_stage_names_the_channels_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"^the input has 4 channels and in_channels is 8; make them equal\.$"):
        place(chain(stage("a", 8, 4), stage("b", 8, 8)), INPUT)


def test_stages_come_in_the_order_they_run():
    tree = Residual("add", chain(stage("a"), Concat((stage("b"), stage("c")))), stage("d"))
    assert [found.name for found in stages(tree)] == ["a", "b", "c", "d"]


def test_a_sweep_of_sizes_goes_through_joins_and_residuals():
    heights: Any = np.array([6, 7])
    sizes = Shape(1, 8, (heights, 5))
    layers, output = place(Residual("add", Concat((stage("a", 8, 4), stage("b", 8, 4)))), sizes)
    assert [layer.name for layer in layers] == ["a", "b", "add"]
    swept: Any = output.spatial[0]
    assert swept.tolist() == [6, 7]

import re
from fractions import Fraction

import pytest

from convcost.convolution.blocks import BLOCKS, find_block
from convcost.convolution.spec import Spec
from convcost.convolution.tree import place
from convcost.text.errors import ConvcostError, ShapeError

PLAIN = Spec(8, 16, (3, 3), 12, 10, batch=2)


def placed(name, spec, **given):
    """Layers and output shape of a block."""
    block = BLOCKS[name]
    return place(block.make(spec, **block.parameters(spec, given)), spec.input)


ILLEGAL = [
    (
        "partial",
        Spec(8, 8, (3, 3), 9, stride=(2, 1)),
        {},
        "stride (=2x1) must be 1 for partial: the untouched channels keep their size.",
    ),
    (
        "partial",
        PLAIN,
        {"partial": Fraction(5, 4)},
        "partial (=5/4) must be above 0 and at most 1; give a share such as 1/4.",
    ),
    (
        "partial",
        PLAIN,
        {"partial": Fraction(0)},
        "partial (=0) must be above 0 and at most 1; give a share such as 1/4.",
    ),
    ("ghost", Spec(8, 9, (3, 3), 9), {}, "out_channels (=9) must be divisible by ghost_ratio (=2)."),
    ("ghost", PLAIN, {"ghost_ratio": 1}, "ghost_ratio (=1) must be at least 2; give a larger number."),
    (
        "blueprint",
        Spec(8, 9, (3, 3), 9),
        {"depth_multiplier": 2},
        "out_channels (=9) must be divisible by depth_multiplier (=2).",
    ),
    ("grouped", PLAIN, {"groups": 3}, "in_channels (=8) must be divisible by groups (=3)."),
    ("grouped", Spec(6, 8, (3, 3), 9), {"groups": 3}, "out_channels (=8) must be divisible by groups (=3)."),
    ("depthwise", PLAIN, {"depth_multiplier": 0}, "depth_multiplier (=0) must be at least 1; give a larger number."),
    ("low-rank", PLAIN, {"rank": -1}, "rank (=-1) must be at least 1; give a larger number."),
    (
        "inverted-residual",
        PLAIN,
        {"expansion": 1.5},
        "expansion (=1.5) must be a whole number; give an integer of 1 or more.",
    ),
]


@pytest.mark.parametrize(("name", "spec", "given", "text"), ILLEGAL, ids=[case[-1] for case in ILLEGAL])
def test_an_illegal_block_is_refused_with_the_value_and_the_rule(name, spec, given, text):
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        placed(name, spec, **given)


ILLEGAL_SPECS = [
    (lambda: Spec(0, 8, (3, 3)), "in_channels (=0) must be at least 1; give a larger number."),
    (lambda: Spec(8, 0, (3, 3)), "out_channels (=0) must be at least 1; give a larger number."),
    (lambda: Spec(8, 8, (3, 3), height=-5), "height (=-5) must be at least 1; give a larger number."),
    (lambda: Spec(8, 8, (3, 3), batch=0), "batch (=0) must be at least 1; give a larger number."),
    (
        lambda: Spec(8, 8, (3, 5), 9, 4, padding="valid"),
        "kernel_size (=5, over 5 with dilation 1) must be at most the padded input width (=4); "
        "take a smaller kernel or more padding.",
    ),
]


@pytest.mark.parametrize(("make", "text"), ILLEGAL_SPECS, ids=[text for _, text in ILLEGAL_SPECS])
def test_a_layer_shape_that_no_block_can_fill_is_refused(make, text):
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        make()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "depthwise-seperable",
            "block (=depthwise-seperable) must be a name of the catalogue; did you mean depthwise-separable?",
        ),
        ("xyz", "block (=xyz) must be a name of the catalogue; see convcost compare --list-blocks."),
    ],
)
def test_an_unknown_block_is_answered_with_the_nearest_name(name, text):
    with pytest.raises(ConvcostError, match=f"^{re.escape(text)}$"):
        find_block(name)


def test_a_known_block_is_found():
    assert find_block("ghost") is BLOCKS["ghost"]

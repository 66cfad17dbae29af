import pytest

from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.layer import Add, Layer
from convcost.convolution.shape import Shape
from convcost.convolution.spec import Spec
from convcost.convolution.tree import Stage, place
from convcost.nn.count.size_limit import allow, effort, memory_bytes, smaller_shapes

STANDARD = Stage("conv", Conv(512, 512, 3, padding="same"))


def layer(conv, spatial=(10, 10)):
    return Layer("conv", conv, Shape(1, conv.in_channels, spatial))


def alone(node, shape):
    return allow({"block": (node, shape)})["block"]


def block(name, spec):
    return BLOCKS[name].make(spec, **BLOCKS[name].parameters(spec, {})), spec.input


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (Conv(8, 8, 1), 100 * 8 * 8),
        (Conv(8, 8, 1, groups=8), 8 * (100 * 8)),  # a depthwise one is slow
        (Conv(8, 8, (33, 1), padding="same"), 40 * (100 * 8 * 8 * 33)),  # a huge kernel is very slow
    ],
    ids=["plain", "depthwise", "huge kernel"],
)
def test_effort_is_macs_by_how_slow_they_are(conv, expected):
    assert effort(layer(conv)) == expected


def test_an_addition_is_no_effort():
    assert effort(Layer("add", Add(), Shape(1, 8, (10, 10)))) == 0


@pytest.mark.parametrize(
    ("conv", "elements"),
    [
        (Conv(8, 24, 3, padding=1), 800 + 2400 + 8 * 24 * 9 + 16 * 100 + 32 * 100),  # copies in blocks of 16 channels
        (
            Conv(8, 4, (2, 1), padding="same"),
            800 + 400 + 8 * 4 * 2 + 2 * 1600 + 8 * 11 * 10,
        ),  # a padded copy of the input
        (Conv(8, 16, 1, groups=8, tied=True), 800 + 1600 + 2 + 2 * 1600 + 16),  # the bank and its expansion
    ],
    ids=["plain", "two-sided padding", "tied"],
)
def test_memory_is_traffic_and_the_copies_that_running_needs(conv, elements):
    assert memory_bytes(layer(conv)) == 4 * elements


def test_a_small_block_is_counted_as_it_is():
    shape = Shape(1, 512, (28, 28))
    allowed = alone(STANDARD, shape)
    assert (allowed.shape, allowed.note) == (shape, None)


def test_a_block_of_19_gmacs_is_counted_as_it_is_and_one_of_21_is_not():
    # 512 × 512 × 9 = 2.36 M a pixel: 8100 pixels are 19.1 G, 8900 are 21.0 G
    assert alone(STANDARD, Shape(1, 512, (90, 90))).note is None
    assert alone(STANDARD, Shape(1, 512, (89, 100))).note is not None


def test_a_large_block_is_counted_at_a_smaller_input_with_the_same_channels():
    allowed = alone(STANDARD, Shape(8, 512, (1024, 512)))
    assert allowed.shape == Shape(1, 512, (8, 8))  # halved until at most 20 / 80 GMACs: 64 pixels are 0.15 G
    assert allowed.note == "counted at 1x512x8x8"


def test_more_than_2_gib_are_too_much_whatever_the_macs():
    # 16 channels in, out and copied, 4 bytes each: 256 bytes a pixel; 2^23 pixels fill 2 GiB, the weights overflow it
    node = Stage("conv", Conv(16, 16, 1))
    assert alone(node, Shape(1, 16, (2048, 4095))).note is None
    assert alone(node, Shape(1, 16, (2048, 4096))).note is not None


def test_weights_that_are_too_large_alone_cannot_be_counted():
    allowed = alone(Stage("conv", Conv(10**5, 10**5, 3, padding="same")), Shape(1, 10**5, (56, 56)))
    assert allowed.shape is None
    # 10^10 weights a tap, nine taps: 90 G products for one pixel, 360 GB = 335 GiB
    assert allowed.note == ("unavailable: counting it takes 90 GMACs and 335 GiB even at 1x100000x1x1, too much to run")


def test_the_largest_block_is_refused_in_words():
    huge = Stage("conv", Conv(10**18, 10**18, 1))
    assert alone(huge, Shape(1, 10**18, (1, 1))).note.startswith("unavailable: counting it takes 1e+27 GMACs")


def test_a_kernel_as_large_as_its_input_cannot_be_made_smaller_than_one_sample():
    node = Stage("conv", Conv(64, 64, 31, padding="valid"))
    assert alone(node, Shape(10**4, 64, (33, 33))).note == "counted at 1x64x33x33"


def test_all_blocks_together_stay_within_the_limits_and_the_smaller_ones_come_first():
    node, shape = STANDARD, Shape(1, 512, (70, 70))  # 11.6 GMACs: one fits, two do not
    allowed = allow({"large": (node, shape), "small": (node, Shape(1, 512, (60, 60)))})
    assert list(allowed) == ["large", "small"]
    assert allowed["small"].note is None
    assert allowed["large"].note == "counted at 1x512x8x8"  # 70 → 35 → 17 → 8 on each axis


SPECS = [
    Spec(8, 16, (3, 3), 225, 100, batch=4),
    Spec(8, 16, (4, 2), 224, 101, dilation=(2, 3)),
    Spec(8, 16, (5, 4), 99, 64, padding="valid"),
    Spec(8, 16, (5, 5), 99, 64, padding=(1, 7)),
]
LEGAL = [(name, spec) for name in BLOCKS for spec in SPECS if name != "partial" or spec.padding == "same"]


@pytest.mark.parametrize(("name", "spec"), LEGAL)
def test_a_smaller_input_meets_the_very_same_convolutions(name, spec):
    node, shape = block(name, spec)
    ops = [layer.op for layer in place(node, shape)[0]]
    smaller = list(smaller_shapes(node, shape))
    assert smaller[-1].numel * 100 < shape.numel
    for candidate in smaller:
        assert [layer.op for layer in place(node, candidate)[0]] == ops


@pytest.mark.parametrize("size", range(100, 107))
def test_same_padding_with_a_stride_stays_what_it_is(size):
    node = Stage("conv", Conv(8, 8, 5, stride=3, padding="same"))
    shape = Shape(1, 8, (size, size))
    pads = node.conv.explicit_padding(shape.spatial)
    smallest = list(smaller_shapes(node, shape))[-1]
    assert max(smallest.spatial) < 2 * 3
    assert node.conv.explicit_padding(smallest.spatial) == pads


def test_the_axes_shrink_on_their_own():
    node = Stage("conv", Conv(8, 8, (1, 9), padding="valid"))
    assert list(smaller_shapes(node, Shape(1, 8, (64, 12))))[-1].spatial == (1, 9)

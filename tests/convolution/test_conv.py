import re
from dataclasses import replace
from typing import Any, cast

import pytest

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Add, Layer
from convcost.convolution.shape import Shape
from convcost.text.errors import ConvcostError, ShapeError


def output(n, k, s=1, padding="same", d=1):
    """The output width of a 1-D convolution."""
    return Conv(1, 1, (k,), s, padding, d).output_shape(Shape(1, 1, (n,))).spatial[0]


ILLEGAL = [
    (lambda: Conv(0, 1, 3), "in_channels (=0) must be at least 1; give a larger number."),
    (lambda: Conv(1, -2, 3), "out_channels (=-2) must be at least 1; give a larger number."),
    (lambda: Conv(4, 4, 0), "kernel_size (=0) must be at least 1; give a larger number."),
    (lambda: Conv(4, 4, (3, -1)), "kernel_size (=-1) must be at least 1; give a larger number."),
    (lambda: Conv(4, 4, 3, stride=0), "stride (=0) must be at least 1; give a larger number."),
    (lambda: Conv(4, 4, 3, dilation=0), "dilation (=0) must be at least 1; give a larger number."),
    (lambda: Conv(4, 4, 3, padding=-1), "padding (=-1) must be at least 0; give a larger number."),
    (lambda: Conv(4, 4, 3, groups=0), "groups (=0) must be at least 1; give a larger number."),
    (lambda: Conv(cast("Any", 4.0), 4, 3), "in_channels (=4.0) must be a whole number; give an integer of 1 or more."),
    (lambda: Conv(True, 4, 3), "in_channels (=True) must be a whole number; give an integer of 1 or more."),
    (
        lambda: Conv(4, cast("Any", None), 3),
        "out_channels (=None) must be a whole number; give an integer of 1 or more.",
    ),
    (lambda: Conv(6, 8, 3, groups=4), "in_channels (=6) must be divisible by groups (=4)."),
    (lambda: Conv(8, 6, 3, groups=4), "out_channels (=6) must be divisible by groups (=4)."),
    (
        lambda: Conv(4, 4, (3, 3, 3, 3)),
        "kernel_size (=(3, 3, 3, 3)) must have 1 to 3 sizes; give one for each spatial axis.",
    ),
    (lambda: Conv(4, 4, ()), "kernel_size (=()) must have 1 to 3 sizes; give one for each spatial axis."),
    (lambda: Conv(4, 4, 3, stride=(1,)), "stride (=(1,)) must have 2 sizes, one for each axis of the kernel."),
    (
        lambda: Conv(4, 4, 3, padding=(1, 1, 1)),
        "padding (=(1, 1, 1)) must have 2 sizes, one for each axis of the kernel.",
    ),
    (
        lambda: Conv(4, 4, 3, padding=cast("Any", "full")),
        "padding (=full) must be same, valid, a size, or a size for each axis.",
    ),
    (
        lambda: Conv(4, 4, 3, padding="same", transposed=True),
        "padding (=same) is not defined for a transposed convolution; give (before, after) sizes.",
    ),
    (
        lambda: Conv(4, 4, 3, padding=((0, 1), (0, 1)), transposed=True),
        "padding (=0, 1) of a transposed convolution must be the same on both sides.",
    ),
    (lambda: Conv(4, 4, 3, output_padding=-1), "output_padding (=-1) must be at least 0; give a larger number."),
    (
        lambda: Conv(4, 4, 3, stride=2, output_padding=2, transposed=True),
        "output_padding (=2) must be 0, or below stride (=2) or dilation (=1) of a transposed convolution; "
        "give a smaller number.",
    ),
    (
        lambda: Conv(4, 4, 3, stride=2, output_padding=1),
        "output_padding (=1) must be 0, or below stride (=2) or dilation (=1) of a transposed convolution; "
        "give a smaller number.",
    ),
    (lambda: Shape(0, 3, (5, 5)), "batch (=0) must be at least 1; give a larger number."),
    (lambda: Shape(1, -3, (5, 5)), "channels (=-3) must be at least 1; give a larger number."),
    (lambda: Shape(1, 3, (5, 0)), "width (=0) must be at least 1; give a larger number."),
    (lambda: Shape(1, 3, (0, 5, 5)), "depth (=0) must be at least 1; give a larger number."),
    (lambda: Shape(1, 3, ()), "an input shape (=()) must have 1 to 3 spatial sizes; give (N, C, *spatial)."),
    (
        lambda: Layer("conv", Conv(4, 4, 3), Shape(1, 4, (9,))),
        "the input has 1 spatial sizes and kernel_size has 2; give as many.",
    ),
    (
        lambda: Layer("conv", Conv(4, 4, 3, padding="same"), Shape(1, 4, (9,))),
        "the input has 1 spatial sizes and kernel_size has 2; give as many.",
    ),
    (
        lambda: Layer("conv", Conv(4, 4, 3), Shape(1, 5, (9, 9))),
        "the input has 5 channels and in_channels is 4; make them equal.",
    ),
    (
        lambda: Layer("conv", Conv(4, 4, 5, padding=1, dilation=2), Shape(1, 4, (9, 6))),
        "kernel_size (=5, over 9 with dilation 2) must be at most the padded input width (=8); "
        "take a smaller kernel or more padding.",
    ),
    (
        lambda: Layer("conv", Conv(4, 4, (1,), padding=3, transposed=True), Shape(1, 4, (2,))),
        "output width (=-4) must be at least 1; give a larger number.",
    ),
]


@pytest.mark.parametrize(("make", "text"), ILLEGAL, ids=[text for _, text in ILLEGAL])
def test_an_illegal_value_is_refused_with_its_value_the_rule_and_the_next_step(make, text):
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        make()


def test_a_shape_error_is_a_convcost_error_and_a_value_error():
    assert issubclass(ShapeError, ConvcostError)
    assert issubclass(ConvcostError, ValueError)


@pytest.mark.parametrize("n", range(1, 12))
@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3)])
def test_same_padding_gives_the_input_size_over_the_stride_rounded_up(n, k, s, d):
    assert output(n, k, s, "same", d) == -(-n // s)


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "pads"),
    [
        (6, 3, 1, 1, (1, 1)),  # total (6−1)·1 + 1·2 + 1 − 6 = 2
        (6, 4, 1, 1, (1, 2)),  # total 3: the odd one at the end
        (6, 3, 2, 1, (0, 1)),  # total (3−1)·2 + 2 + 1 − 6 = 1
        (7, 3, 2, 1, (1, 1)),  # total (4−1)·2 + 2 + 1 − 7 = 2
        (7, 1, 2, 1, (0, 0)),  # total (4−1)·2 + 0 + 1 − 7 = 0
        (6, 1, 3, 1, (0, 0)),  # total (2−1)·3 + 0 + 1 − 6 = −2, never below 0
        (6, 3, 1, 2, (2, 2)),  # total 5 + 2·2 + 1 − 6 = 4
    ],
)
def test_same_padding_follows_tensorflows_rule(n, k, s, d, pads):
    assert Conv(1, 1, (k,), s, "same", d).explicit_padding((n,)) == (pads,)


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "padding", "expected"),
    [
        (12, 5, 1, 1, "valid", 8),  # 12 − 5 + 1
        (12, 5, 1, 1, 2, 12),  # 12 + 4 − 5 + 1
        (12, 5, 2, 1, "valid", 4),  # floor(7 / 2) + 1
        (12, 3, 1, 3, "valid", 6),  # reach 3·2 + 1 = 7; 12 − 7 + 1
        (4, 7, 1, 1, ((0, 3),), 1),  # 4 + 3 − 7 + 1
    ],
)
def test_explicit_padding_gives_the_floor_of_what_is_left_over_the_stride(n, k, s, d, padding, expected):
    assert output(n, k, s, padding, d) == expected


def test_a_transposed_convolution_undoes_the_size_of_a_strided_one():
    up = Conv(8, 4, 4, stride=2, padding=1, transposed=True)
    assert up.output_shape(Shape(2, 8, (7, 9))) == Shape(2, 4, (14, 18))  # (7 − 1)·2 − 2 + 4, (9 − 1)·2 − 2 + 4


def test_output_padding_is_added_at_the_end():
    up = Conv(8, 4, 3, stride=2, padding=1, output_padding=(1, 0), transposed=True)
    assert up.output_shape(Shape(1, 8, (7, 7))).spatial == (14, 13)  # (7 − 1)·2 − 2 + 3, plus 1 and 0


def test_a_plain_size_means_a_square_two_dimensional_kernel():
    assert Conv(1, 1, 3) == Conv(1, 1, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, False, output_padding=(0, 0))


def test_a_layer_holds_its_same_padding_as_numbers():
    layer = Layer("conv", Conv(3, 3, (4, 1), padding="same"), Shape(1, 3, (6, 6)))
    assert layer.op.padding == ((1, 2), (0, 0))
    assert layer.output == Shape(1, 3, (6, 6))


def test_an_addition_keeps_the_shape():
    shape = Shape(2, 3, (4, 5))
    assert Layer("add", Add(), shape).output == shape


def test_only_the_padding_changes():
    conv = Conv(4, 8, (3, 2), (2, 1), 1, (1, 2), 2, True, tied=True)
    assert replace(conv, padding=((0, 1), (2, 3))) == Conv(
        4, 8, (3, 2), (2, 1), ((0, 1), (2, 3)), (1, 2), 2, True, tied=True
    )


def test_the_size_of_a_shape_is_the_product_of_all_its_sizes():
    assert Shape(2, 3, (4, 5, 6)).numel == 2 * 3 * 4 * 5 * 6

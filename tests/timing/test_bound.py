"""The work that cannot be left out, against a count of every window, tap and pixel."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.convolution.conv import Conv
from convcost.convolution.cost import cost
from convcost.convolution.layer import Add, Layer
from convcost.convolution.shape import Shape
from convcost.timing.bound import least_work

if TYPE_CHECKING:
    from collections.abc import Sequence


def counted(layer: Layer) -> tuple[int, int, int]:
    """Pairs of a window and a tap that fall on a pixel, pixels used, taps used: by trying all of them."""
    conv = layer.op
    assert isinstance(conv, Conv)
    windows, pixels = layer.output.spatial, layer.input.spatial
    if conv.transposed:
        windows, pixels = pixels, windows
    pads = conv.explicit_padding(layer.input.spatial)
    pairs, used, taps = 0, set(), set()
    for window in product(*map(range, windows)):
        for tap in product(*map(range, conv.kernel_size)):
            at: Sequence[int] = [
                o * s + t * d - pad[0]
                for o, t, s, d, pad in zip(window, tap, conv.stride, conv.dilation, pads, strict=True)
            ]
            if all(0 <= place < size for place, size in zip(at, pixels, strict=True)):
                pairs += 1
                used.add(tuple(at))
                taps.add(tap)
    return pairs, len(used), len(taps)


@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dilation=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    groups=st.sampled_from([1, 2]),
    transposed=st.booleans(),
)
def test_the_closed_form_agrees_with_trying_every_window_and_tap(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: int,
    padding: tuple[int, int],
    groups: int,
    *,
    transposed: bool,
) -> None:
    conv = Conv(4, 6, kernel, stride, padding, dilation, groups, transposed=transposed)
    try:
        layer = Layer("c", conv, Shape(2, 4, size))
    except ValueError:
        return  # the kernel does not fit, or the output would be empty
    pairs, used, taps = counted(layer)
    work = least_work(layer, "float32")
    assert work.flops == 2 * pairs * 2 * 6 * 4 // groups
    read = layer.input.numel if transposed else 2 * 4 * used
    assert work.moved_bytes == 4 * (read + 6 * 4 // groups * taps + layer.output.numel)
    assert work.convolution


def test_without_padding_and_skips_nothing_can_be_left_out() -> None:
    layer = Layer("c", Conv(8, 16, 3), Shape(1, 8, (10, 10)))
    work, whole = least_work(layer, "bfloat16"), cost((layer,), "bfloat16")
    assert (work.flops, work.moved_bytes) == (whole.flops, whole.traffic_bytes)


def test_a_large_kernel_on_a_small_image_is_mostly_padding() -> None:
    layer = Layer("c", Conv(1, 1, 15, padding=7), Shape(1, 1, (28, 28)))
    inside = sum(min(o + 7, 27) - max(o - 7, 0) + 1 for o in range(28))
    assert least_work(layer, "float32").flops == 2 * inside**2
    assert 2 * inside**2 < 0.76 * cost((layer,)).flops


def test_a_pointwise_stage_of_stride_2_reads_a_quarter() -> None:
    layer = Layer("c", Conv(4, 8, 1, stride=2), Shape(1, 4, (8, 8)))
    assert least_work(layer, "float32").moved_bytes == 4 * (4 * 16 + 4 * 8 + 8 * 16)


@pytest.mark.parametrize("operands", [2, 3])
def test_an_addition_is_traffic_and_no_convolution(operands: int) -> None:
    layer = Layer("a", Add(operands), Shape(1, 4, (8, 8)))
    work = least_work(layer, "float32")
    assert (work.flops, work.moved_bytes, work.convolution) == (0, 4 * prod((4, 8, 8)) * (operands + 1), False)

"""The work that no implementation of a layer can leave out: what its bound on a machine is worked out from.

Taps on padding count as MACs by convention (`convcost.convolution.cost`), but a good kernel skips them, and a stride larger than
the kernel never reads some pixels; a bound must grant both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.convolution.conv import Conv
from convcost.convolution.cost import FLOPS_PER_MAC, ITEMSIZE, macs, params, traffic_elements
from convcost.timing.bound import Work

if TYPE_CHECKING:
    from convcost.convolution.conv import Layer

__all__ = ["least_work", "seen_inside"]


def least_work(layer: Layer, dtype: str) -> Work:
    """The arithmetic on real pixels, and the elements that it needs.

    Args:
        layer: placed, with plain sizes.
        dtype: of the elements.
    """
    conv, elements = layer.op, traffic_elements(layer).value
    if not isinstance(conv, Conv):
        return Work(0, elements * ITEMSIZE[dtype], convolution=False)
    products = macs(layer).value
    read, weights, spread = layer.input.numel, params(conv).value, layer.input.spatial
    unread, unused, around = read, weights, layer.output.spatial
    if not conv.transposed:
        spread, around = around, spread
    for axis, (before, _) in enumerate(conv.explicit_padding(layer.input.spatial)):
        kernel, dilation = conv.kernel_size[axis], conv.dilation[axis]
        offsets = range(-before, kernel * dilation - before, dilation)
        pairs, seen, taps = _inside(spread[axis], conv.stride[axis], offsets, around[axis])
        products = products * pairs // (spread[axis] * kernel)
        weights = weights * taps // kernel
        read = read if conv.transposed else read * seen // around[axis]
    moved = elements - (unread - read) - (unused - weights)
    return Work(FLOPS_PER_MAC * products, moved * ITEMSIZE[dtype])


def seen_inside(count: int, stride: int, offsets: range, limit: int) -> int:
    """Of an axis of `limit` pixels, those that a tap of `count` windows lies on; see `_inside`."""
    return _inside(count, stride, offsets, limit)[1]


def _inside(count: int, stride: int, offsets: range, limit: int) -> tuple[int, int, int]:
    """Of `count` windows along an axis of `limit` pixels: products on pixels, pixels that are used, taps that are used.

    Window o puts a tap on pixel o · stride + its offset, which is padding outside 0 … limit - 1.
    """
    pairs = taps = 0
    used = bytearray(limit)
    for offset in offsets:
        first, last = max(0, -(offset // stride)), min(count - 1, (limit - 1 - offset) // stride)
        if last >= first:
            pairs += last - first + 1
            taps += 1
            used[first * stride + offset : last * stride + offset + 1 : stride] = b"\1" * (last - first + 1)
    return pairs, sum(used), taps

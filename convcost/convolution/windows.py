"""Which pixels of an axis lie in the windows of a convolution or pooling."""

from __future__ import annotations


def inside(count: int, stride: int, offsets: range, limit: int) -> tuple[int, int, int]:
    """Numbers of products on real pixels, of pixels that are read, and of taps that are used, along one axis.

    The axis has `limit` pixels and `count` windows. Window o puts the tap of an offset on pixel o · stride + offset;
    outside 0 … limit - 1 that is padding.
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

"""The time that no layer can beat on a machine: of compute, memory or overhead, whichever is longest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.convolution.conv import Conv
from convcost.convolution.cost import FLOPS_PER_MAC, ITEMSIZE, macs, params, traffic_elements

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from convcost.convolution.layer import Layer
    from convcost.timing.machine import Level, Machine


__all__ = ["MOST_SPREAD", "Bound", "Roof", "Work", "bound_of", "least_work", "memory_seconds", "seen_inside"]

Roof: TypeAlias = Literal["compute", "memory", "overhead"]
MOST_SPREAD: Final = 0.25
"""More than this a figure does not excuse: whoever is faster by more has shown that it is wrong."""
ROOFS: Final[tuple[Roof, ...]] = ("compute", "memory", "overhead")


@dataclass(frozen=True, slots=True)
class Work:
    """What one call must do.

    Attributes:
        flops: of its arithmetic.
        moved_bytes: inputs, weights and outputs, each once.
        convolution: whether it costs at least what a convolution of nothing does, and not only an empty call.
    """

    flops: int
    moved_bytes: int
    convolution: bool = True


@dataclass(frozen=True, slots=True)
class Bound:
    """A time that cannot be beaten on a machine.

    Attributes:
        seconds: of all the work.
        roof: that takes most of them.
        level: of the memory hierarchy that decides, where memory does; else None.
        spread: of the calibration's figures for that roof, as a share.
    """

    seconds: float
    roof: Roof
    level: str | None
    spread: float

    def is_beaten(self, attained: float) -> bool:
        """Whether a share of more than 1 cannot be the spread: the calibration is wrong, or no longer right."""
        return attained > 1 + min(self.spread, MOST_SPREAD)

    def doubts(self, attained: float | None) -> tuple[str, ...]:
        """What to say of a row that attained this share: nothing, or that it beats its bound."""
        beaten = attained is not None and self.is_beaten(attained)
        return ("faster than its bound: calibrate again, on a quiet machine",) if beaten else ()


def bound_of(works: Iterable[Work], machine: Machine, dtype: str, threads: int) -> Bound | None:
    """The least time for calls that run one after the other.

    Each call takes at least its arithmetic at the peak, its traffic at the speed of the caches that could hold it, and
    the overhead of a call; what is repeated is warm, so each level is taken to hold as much of the traffic as fits.

    Args:
        works: one a call.
        machine: with its roofs.
        dtype: of the elements.
        threads: that run.

    Returns:
        None where the machine was not measured with this dtype or these threads, or where there is no work.
    """
    peak, levels = machine.peak(dtype, threads), machine.hierarchy(threads)
    if peak is None or not levels:
        return None
    total = dict.fromkeys(ROOFS, 0.0)
    slowest: dict[str, float] = {}
    spreads: dict[Roof, float] = {"compute": peak.spread, "overhead": machine.overhead.spread, "memory": 0.0}
    for work in works:
        by_level = memory_seconds(work.moved_bytes, levels)
        times: dict[Roof, float] = {
            "compute": work.flops / peak.flop_per_s,
            "memory": sum(by_level.values()),
            "overhead": machine.overhead.convolution_call_s if work.convolution else machine.overhead.empty_call_s,
        }
        roof = max(times, key=lambda name: times[name])
        total[roof] += times[roof]
        if roof == "memory":
            level = max(by_level, key=lambda name: by_level[name])
            slowest[level] = slowest.get(level, 0.0) + times[roof]
    seconds = sum(total.values())
    if not seconds:
        return None
    decides: Roof = max(ROOFS, key=lambda name: total[name])
    decisive = max(slowest, key=lambda name: slowest[name]) if decides == "memory" else None
    spreads["memory"] = next((one.spread for one in levels if one.name == decisive), 0.0)
    return Bound(seconds, decides, decisive, spreads[decides])


def memory_seconds(moved_bytes: int, levels: Sequence[Level]) -> dict[str, float]:
    """Seconds in each level for traffic of which every level holds as much as fits, the fastest first."""
    left, said, inside = moved_bytes, {}, 0
    for level in levels:
        room = left if level.capacity_bytes is None else min(left, max(0, level.capacity_bytes - inside))
        said[level.name] = room / level.byte_per_s
        left -= room
        inside += room
    return said


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

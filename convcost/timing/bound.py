"""The bound of a layer's time on a machine, from its least work and the machine's roofs, and the roofline plot.

A bound is a time that no implementation of the layer can beat on the machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.convolution.conv import Conv
from convcost.convolution.cost import FLOPS_PER_MAC, ITEMSIZE, macs, params, traffic_elements
from convcost.convolution.windows import inside
from convcost.text.units import human_count, human_share, three_digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from convcost.convolution.layer import Layer
    from convcost.timing.machine import Level, Machine, Peak, Roofs


Roof: TypeAlias = Literal["compute", "memory", "overhead"]
MAX_SPREAD: Final = 0.25
"""Cap on the calibration's spread; beating the bound by more means a stale calibration."""
MAX_DISTURBED: Final = 1.0
"""Largest spread of a calibrated figure that is one."""
ROOFS: Final[tuple[Roof, ...]] = ("compute", "memory", "overhead")


@dataclass(frozen=True, slots=True)
class Work:
    """The least work of one call: what no implementation can leave out.

    Attributes:
        flops: Floating point operations.
        moved_bytes: Bytes of inputs, weights and outputs, each counted once.
        convolution: Whether the call has the overhead of a convolution; else that of an empty call.
    """

    flops: int
    moved_bytes: int
    convolution: bool = True


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound of a time on one machine.

    Attributes:
        seconds: Least seconds for all calls together.
        roof: Roof that accounts for most of the seconds.
        level: Memory level that accounts for most of the seconds; None where the roof is not memory.
        spread: Spread of the calibrated figure of that roof, as a share.
        roofs: Roofs of the machine that it comes from.
    """

    seconds: float
    roof: Roof
    level: str | None
    spread: float
    roofs: Roofs | None = field(default=None, compare=False, repr=False)

    @property
    def is_disturbed(self) -> bool:
        """Whether the calibrated figure is none, since other programs disturbed its measurement."""
        return self.spread > MAX_DISTURBED

    def is_beaten(self, attained: float) -> bool:
        """Whether a time beats the bound by more than the spread, so that the calibration is wrong or stale.

        Args:
            attained: Bound ÷ measured time.
        """
        return attained > 1 + min(self.spread, MAX_SPREAD)

    def attained_text(self, attained: float | None) -> str:
        """The attained share for a table; a time that beats its bound has attained none."""
        if attained is None:
            return "-"
        shown = "beaten" if self.is_beaten(attained) else human_share(attained)
        return f"{shown} ?" if self.is_disturbed else shown

    def doubts(self, attained: float | None) -> tuple[str, ...]:
        """A warning if the bound comes from a disturbed calibration, or if the time beats it."""
        if self.is_disturbed:
            return ("the bound is of a calibration that other programs disturbed: calibrate again",)
        beaten = attained is not None and self.is_beaten(attained)
        return ("faster than its bound: calibrate again, on a quiet machine",) if beaten else ()


def bound_of(works: Iterable[Work], machine: Machine, dtype: str, threads: int) -> Bound | None:
    """The bound for calls that run one after the other.

    Each call takes at least the largest of three times: its arithmetic at the peak, its traffic at the speed of the
    caches, and the overhead of a call. Data of repeated calls lie in the caches, each of which holds as much as fits.

    Args:
        works: Work of each call.
        machine: Calibrated machine.
        dtype: Data type of the elements.
        threads: Threads of torch.

    Returns:
        The bound; None where the machine was not measured with this dtype or these threads, or without any work.
    """
    roofs = machine.roofs(dtype, threads)
    if roofs is None:
        return None
    peak, levels = roofs.peak, roofs.levels
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
    return Bound(seconds, decides, decisive, spreads[decides], roofs)


def memory_seconds(moved_bytes: int, levels: Sequence[Level]) -> dict[str, float]:
    """Seconds of traffic by memory level; each level, the fastest first, holds as much of it as fits."""
    left, seconds, inside = moved_bytes, {}, 0
    for level in levels:
        room = left if level.capacity_bytes is None else min(left, max(0, level.capacity_bytes - inside))
        seconds[level.name] = room / level.byte_per_s
        left -= room
        inside += room
    return seconds


def least_work(layer: Layer, dtype: str) -> Work:
    """The least work of a layer: the arithmetic on real pixels, without padding, and the bytes that it needs.

    Args:
        layer: Placed layer with plain sizes.
        dtype: Data type of the elements.
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
        pairs, seen, taps = inside(spread[axis], conv.stride[axis], offsets, around[axis])
        products = products * pairs // (spread[axis] * kernel)
        weights = weights * taps // kernel
        read = read if conv.transposed else read * seen // around[axis]
    moved = elements - (unread - read) - (unused - weights)
    return Work(FLOPS_PER_MAC * products, moved * ITEMSIZE[dtype])


HEIGHT: Final = 14
LEFT: Final = 9
"""Width of the scale on the left, characters."""
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def roofline(points: Sequence[tuple[str, float, float]], peak: Peak, levels: Sequence[Level], width: int = 80) -> str:
    """Draw rows as a text plot under the roofs of compute and memory.

    Args:
        points: Name, FLOP per byte and FLOP/s of each row.
        peak: Compute roof.
        levels: Memory roofs, the fastest first; the first and the last are drawn.
        width: Width of the text, characters.

    Returns:
        The plot with its legend, without spaces at the ends of lines.
    """
    columns = max(20, width - LEFT - 1)
    low_x, high_x = _around([x for _, x, _ in points], [peak.flop_per_s / level.byte_per_s for level in levels])
    low_y, high_y = _around([y for _, _, y in points], [peak.flop_per_s])
    grid = [[" "] * columns for _ in range(HEIGHT)]

    def column(x: float) -> int:
        return round((math.log10(x) - low_x) / (high_x - low_x) * (columns - 1))

    def line(y: float) -> int:
        return HEIGHT - 1 - round((math.log10(y) - low_y) / (high_y - low_y) * (HEIGHT - 1))

    drawn = list(zip("·/", (levels[0], levels[-1]), strict=True)) if len(levels) > 1 else [("/", levels[-1])]
    for mark, level in drawn:
        for at in range(columns):
            x = 10 ** (low_x + at / (columns - 1) * (high_x - low_x))
            roof = min(peak.flop_per_s, level.byte_per_s * x)
            row = line(roof)
            if 0 <= row < HEIGHT:
                grid[row][at] = "─" if roof == peak.flop_per_s else mark
    placed = [(line(y), column(x)) for _, x, y in points[: len(LETTERS)]]
    letters = []
    for (name, x, y), letter, (row, at) in zip(points, LETTERS, placed, strict=False):
        alone = placed.count((row, at)) == 1
        grid[row][at] = letter if alone else "*"
        letters.append(
            f"  {letter}  {name}: {human_count(y)}FLOP/s at {three_digits(x)} FLOP/byte{'' if alone else ' *'}"
        )
    rows = [f"{_scale(low_y, high_y, index)}{''.join(cells)}".rstrip() for index, cells in enumerate(grid)]
    first, last = f"{10**low_x:.3g}", f"{10**high_x:.3g} FLOP/byte"
    axis = " " * LEFT + first + last.rjust(columns - len(first))
    marks = [f"{mark} {level.name}" for mark, level in drawn]
    roofs = f"roofs: ─ {human_count(peak.flop_per_s)}FLOP/s, {', '.join(marks)}"
    hidden = [f"  … and {len(points) - len(LETTERS)} more rows"] if len(points) > len(LETTERS) else []
    return "\n".join(["FLOP/s", *rows, axis, roofs, *letters, *hidden])


def _around(*series: Sequence[float]) -> tuple[float, float]:
    """Decimal logarithms of the two numbers 1, 2 or 5 times a power of ten that enclose the values."""
    values = [value for one in series for value in one if value > 0]
    least, most = math.log10(min(values)), math.log10(max(values))
    low = max(step for step in _steps(least) if step <= least)
    high = min(step for step in _steps(most) if step >= most)
    return low, max(high, low + 1)


def _steps(exponent: float) -> list[float]:
    """Logarithms of 1, 2 and 5 in this decade and the ones next to it."""
    decade = math.floor(exponent)
    return [power + math.log10(figure) for power in (decade - 1, decade, decade + 1) for figure in (1, 2, 5)]


def _scale(low: float, high: float, index: int) -> str:
    """The label of a line: a number on the top and the bottom line."""
    label = f"{human_count(10**high)}" if index == 0 else f"{human_count(10**low)}" if index == HEIGHT - 1 else ""
    return f"{label.rjust(LEFT - 2)} |"

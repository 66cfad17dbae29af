"""A roofline plot as text: FLOP/s against arithmetic intensity, both logarithmic, under the roofs of the machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from convcost.text.units import human_count, three_digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.timing.machine import Level, Peak

HEIGHT: Final = 14
LEFT: Final = 9
"""Width of the scale on the left, characters."""
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def roofline(points: Sequence[tuple[str, float, float]], peak: Peak, levels: Sequence[Level], width: int = 80) -> str:
    """Draw rows under the compute roof and the slanted roofs of memory.

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

"""The logarithmic axis of a figure: its range, its round values, and the pixels of its values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeGuard

from convcost.text.figure import is_known

if TYPE_CHECKING:
    from collections.abc import Iterable

    import altair as alt

MAX_VALUE: Final = 1e100
"""Largest value that is drawn, and 1 ÷ the smallest."""
STEPS: Final = ((10,), (10, 20, 50), range(10, 100, 10), (*range(10, 20), *range(20, 100, 5)), range(10, 100))
"""First two digits of the values at an axis, from few to many."""
MIN_TICKS: Final = 4
MAX_TICKS: Final = 12
"""Numbers of values at an axis."""


@dataclass(frozen=True, slots=True)
class LogAxis:
    """A logarithmic axis.

    Attributes:
        low: Smallest value.
        high: Largest value.
        length: Length in pixels.
    """

    low: float
    high: float
    length: int

    @property
    def scale(self) -> alt.Scale:
        """The scale of the axis."""
        import altair as alt

        return alt.Scale(type="log", domain=[self.low, self.high], nice=False)

    @property
    def ticks(self) -> list[float]:
        """Values to write at the axis: powers of ten, or values between them where these are too few."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        ticks: list[float] = []
        for steps in STEPS:
            values = (float(f"{step}e{power - 1}") for power in powers for step in steps)
            ticks = [value for value in values if self.low <= value <= self.high]
            if len(ticks) >= MIN_TICKS:
                break
        return ticks[:: math.ceil(len(ticks) / MAX_TICKS) or 1]

    @classmethod
    def around(cls, values: Iterable[object], length: int, below: float = 1.2, above: float = 1.2) -> LogAxis:
        """The axis of all values that can be drawn on it, with margins.

        Args:
            values: Values, at least one of them a number above zero.
            length: Length in pixels.
            below: Smallest value ÷ the end of the axis.
            above: End of the axis ÷ the largest value.
        """
        known = list(filter(is_on_log_axis, values))
        return cls(min(known) / below, max(known) * above, length)

    def pixel(self, value: float) -> float:
        """The position of a value."""
        return self.length * math.log(value / self.low) / math.log(self.high / self.low)

    def value(self, pixel: float) -> float:
        """The value at a position."""
        return float(self.low * (self.high / self.low) ** (pixel / self.length))


def is_on_log_axis(value: object) -> TypeGuard[float]:
    """Whether a logarithmic axis can have the value."""
    return is_known(value) and 1 / MAX_VALUE < value < MAX_VALUE

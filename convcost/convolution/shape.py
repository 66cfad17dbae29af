"""The shape of an activation, and the check of sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from convcost.convolution.formula import holds, multiply
from convcost.text.errors import ShapeError, as_text

if TYPE_CHECKING:
    from fractions import Fraction

    from convcost.convolution.formula import Int

    Sizes: TypeAlias = tuple[Int, ...]

AXES: Final = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}
"""The names of the spatial axes, by their number."""


MAX_SIZE: Final = 10**18
"""The largest size: products of ten such sizes still have ratios as floats."""


def require_at_least(least: int, **sizes: Int | Fraction | Sizes) -> None:
    """Refuse sizes below `least` or above `MAX_SIZE`, by their names.

    Args:
        least: Smallest size that is allowed.
        sizes: Sizes, or tuples of sizes.

    Raises:
        ShapeError: The first size that is too small, too large or no whole number.
    """
    for name, size in sizes.items():
        for value in size if isinstance(size, tuple) else (size,):
            if type(value) is type(least) is int and least <= value <= MAX_SIZE:
                continue
            if isinstance(value, (bool, float, str, list, dict)) or value is None:
                raise ShapeError(f"{name} (={value!r}) must be a whole number; give an integer of {least} or more.")
            if not holds((value >= least) & (value <= MAX_SIZE)):
                if holds(value > MAX_SIZE):
                    msg = f"{name} (={as_text(value)}) must be at most {MAX_SIZE:.0e}; give a smaller number."
                    raise ShapeError(msg)
                raise ShapeError(f"{name} (={as_text(value)}) must be at least {least}; give a larger number.")


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of an activation: N samples, C channels, and 1 to 3 spatial sizes."""

    batch: Int
    channels: Int
    spatial: Sizes

    def __post_init__(self) -> None:
        """Refuse sizes below 1."""
        if len(self.spatial) not in AXES:
            raise ShapeError(
                f"an input shape (={as_text(self.spatial)}) must have 1 to 3 spatial sizes; give (N, C, *spatial)."
            )
        spatial = dict(zip(AXES[len(self.spatial)], self.spatial, strict=True))
        require_at_least(1, batch=self.batch, channels=self.channels, **spatial)

    @property
    def sizes(self) -> Sizes:
        """(N, C, *spatial)."""
        return (self.batch, self.channels, *self.spatial)

    @property
    def numel(self) -> Int:
        """The number of elements."""
        return multiply(self.sizes)

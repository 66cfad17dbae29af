"""The columns of a timing, which several tables share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.text.units import human_ratio

if TYPE_CHECKING:
    from convcost.timing.statistics import Timing


__all__ = ["timing_speedup_text"]


def timing_speedup_text(timing: Timing | None) -> str:
    """The same, of a timing."""
    if timing is None or timing.speedup is None:
        return "-"
    if timing.speedup_low is None or timing.speedup_high is None:
        return human_ratio(timing.speedup)
    digits = 2 if timing.speedup < 2 else 1  # noqa: PLR2004 - near 1 the second digit decides
    low, high = f"{timing.speedup_low:.{digits}f}", f"{timing.speedup_high:.{digits}f}"
    return f"{timing.speedup:.{digits}f}x ({low}–{high})"

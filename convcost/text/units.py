"""The only place that knows M, µs and MB: quantities as people read them.

Counts go by powers of ten (k M G T P E Z Y R Q), bytes by powers of ten (MB) when printed, times by s, ms, µs, ns.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BINARY_PREFIXES",
    "DECIMAL_PREFIXES",
    "TIMES",
    "change_of",
    "human_bytes",
    "human_count",
    "human_percent",
    "human_ratio",
    "human_share",
    "human_time",
    "number_of",
    "thousands",
    "three_digits",
]

DECIMAL_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
"""The prefix of 1000**index."""

BINARY_PREFIXES: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
"""The prefix of 1024**(index + 1); read, never printed."""

TIMES: Final = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
"""Units of time and their seconds, largest first."""


def three_digits(value: float) -> str:
    """Three significant digits without an exponent: 1.23, 12.3, 123."""
    magnitude = abs(value)
    decimals = 2 if magnitude < 9.995 else 1 if magnitude < 99.95 else 0  # noqa: PLR2004 - where rounding adds a digit
    return f"{value:.{decimals}f}"


def human_count(count: float, unit: str = "") -> str:
    """A count with a decimal prefix, such as `86.7 M`; below 1000 it is exact.

    >>> human_count(86_704_128), human_count(219), human_count(10**20)
    ('86.7 M', '219', '100 E')
    """
    count = round(count)
    if abs(count) < 1000:  # noqa: PLR2004 - the step of the prefixes
        return f"{count} {unit}".rstrip()
    power = min((len(str(abs(count))) - 1) // 3, len(DECIMAL_PREFIXES) - 1)
    scaled = count / 1000**power
    if abs(scaled) >= 999.5 and power + 1 < len(DECIMAL_PREFIXES):  # noqa: PLR2004 - 999,950 is 1.00 M, not 1000 k
        power += 1
        scaled = count / 1000**power
    return f"{three_digits(scaled)} {DECIMAL_PREFIXES[power]}{unit}"


def human_bytes(count: int) -> str:
    """Bytes by powers of ten, such as `13.5 MB`."""
    return human_count(count, "B")


def human_time(seconds: float) -> str:
    """A time such as `4.21 ms`; the unit is the largest that leaves a figure of 1 or more."""
    for unit, size in TIMES:
        if abs(seconds) >= size * 0.9995:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{seconds * 1e9:.2f} ns"


def human_ratio(ratio: float) -> str:
    """A ratio such as `7.9x`, with as many decimals as tell it from 1."""
    if ratio == 1:
        return "1x"
    return f"{ratio:.2f}x" if ratio < 0.995 else f"{ratio:.1f}x" if ratio < 99.95 else f"{ratio:.0f}x"  # noqa: PLR2004


def human_share(share: float, sign: str = "") -> str:
    """A share as a percentage, such as `12.5 %`; `sign` "+" shows one."""
    return f"{100 * share:{sign}.1f} %"


def change_of(before: float, after: float) -> str:
    """How many times fewer, or as many: `1.5x fewer`, `2.0x as many`."""
    return f"{human_ratio(before / after)} fewer" if after <= before else f"{human_ratio(after / before)} as many"


def human_percent(share: float, sign: str = "") -> str:
    """A share of any size as a percentage of three digits or more, without an exponent; `sign` "+" shows one.

    >>> human_percent(0.0123), human_percent(62.95, "+"), human_percent(1.5e-7)
    ('1.23 %', '+6295 %', '0.000015 %')
    """
    from decimal import Decimal

    percent = 100 * share
    digits = Decimal(f"{percent:.0f}" if abs(percent) >= 100 else f"{percent:.3g}")  # noqa: PLR2004 - three digits
    return f"{digits:{sign}f} %"


def number_of(noun: str, count: int) -> str:
    """A count with its noun: `1 thread`, `2 threads`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def thousands(count: int) -> str:
    """An exact count with thousands separators."""
    return f"{count:,}"

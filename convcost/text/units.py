"""Quantities and dates as people read them: the only place that knows M, µs and MB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from convcost.text.errors import ConvcostError, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime


AGE_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def now() -> str:
    """The current time as a stored date."""
    from datetime import UTC, datetime

    return as_stored_date(datetime.now(UTC))


def as_stored_date(moment: datetime) -> str:
    """A date with a time zone as a stored date; stored dates sort by time."""
    from datetime import UTC

    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_moment(name: str, text: str) -> str:
    """`2026-07-01`, `2026-07-01T12:30` (local time, or with a zone), or an age: `90m`, `12h`, `7d`, `2w`.

    Returns:
        A stored date.

    Raises:
        ConvcostError: The text has another form.
    """
    from datetime import UTC, datetime, timedelta

    age = re.fullmatch(r"(\d{1,5})([mhdw])", text.strip(), re.ASCII)
    try:
        if age:
            return as_stored_date(datetime.now(UTC) - timedelta(**{AGE_UNITS[age[2]]: int(age[1])}))
        return as_stored_date(datetime.fromisoformat(text.strip()).astimezone())
    except (OverflowError, ValueError, OSError):
        raise ConvcostError(
            f"{name} (={as_text(text)}) must be a date or an age; write it as 2026-07-01, 2026-07-01T12:30, 12h or 7d."
        ) from None


def show_date(stored: str) -> str:
    """A stored date in local time, as `2026-07-01 14:30`; a text that is no date stays as it is."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(stored).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return stored


DECIMAL_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
"""The prefix of 1000**n at index n."""
BINARY_PREFIXES: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
"""The prefix of 1024**(n + 1) at index n; accepted in input, never printed."""
TIMES: Final = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
"""Units of time and their seconds, largest first."""
STEP: Final = 1000
"""Factor between two prefixes."""


def _rounded(value: float, decimals: tuple[tuple[float, int], ...]) -> str:
    """A number with the decimals of the first (limit, decimals) pair with a larger limit, else without any."""
    return f"{value:.{next((digits for below, digits in decimals if abs(value) < below), 0)}f}"


def three_digits(value: float) -> str:
    """Three significant digits without an exponent: 1.23, 12.3, 123."""
    return _rounded(value, ((9.995, 2), (99.95, 1)))


def human_count(count: float, unit: str = "") -> str:
    """A count with a decimal prefix, such as `86.7 M`; below 1000 it is exact.

    >>> human_count(86_704_128), human_count(219), human_count(10**20)
    ('86.7 M', '219', '100 E')
    """
    count = round(count)
    if abs(count) < STEP:
        return f"{count} {unit}".rstrip()
    last = len(DECIMAL_PREFIXES) - 1
    power = min((len(str(abs(count))) - 1) // 3, last)
    if power < last and round(abs(count) / STEP**power) == STEP:  # 999,950 is 1.00 M, not 1000 k
        power += 1
    return f"{three_digits(count / STEP**power)} {DECIMAL_PREFIXES[power]}{unit}"


def human_bytes(count: int) -> str:
    """Bytes with a decimal prefix, such as `13.5 MB`."""
    return human_count(count, "B")


def human_time(seconds: float) -> str:
    """A time such as `4.21 ms`, in the largest unit that gives 1 or more."""
    for unit, size in TIMES:
        if abs(seconds) >= size * 0.9995:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{seconds * 1e9:.2f} ns"


def human_duration(seconds: float) -> str:
    """A time of work, such as `45 s`, `12 min`, `3 h 20 min` or `5 days`.

    >>> human_duration(0.2), human_duration(44.6), human_duration(750), human_duration(12_000), human_duration(400_000)
    ('1 s', '45 s', '12 min', '3 h 20 min', '5 days')
    """
    minutes = round(seconds / 60)
    if seconds < 90:  # noqa: PLR2004 - a minute and a half
        return f"{max(1, round(seconds))} s"
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes / 1440:,.0f} days"


def human_ratio(ratio: float) -> str:
    """A ratio such as `7.9x`, with enough decimals to differ from 1."""
    return "1x" if ratio == 1 else f"{_rounded(ratio, ((0.995, 2), (99.95, 1)))}x"


def human_share(share: float, sign: str = "") -> str:
    """A share as a percentage, such as `12.5 %`; `sign` "+" shows one."""
    return f"{100 * share:{sign}.1f} %"


def change_of(before: float, after: float) -> str:
    """The factor between two counts: `1.5x fewer`, `2.0x as many`, `as many`, `none`."""
    if after in {0, before}:
        return "as many" if after == before else "none"
    return f"{human_ratio(before / after)} fewer" if after <= before else f"{human_ratio(after / before)} as many"


def human_percent(share: float, sign: str = "") -> str:
    """A share of any size as a percentage of at least three digits, without an exponent; `sign` "+" shows one.

    >>> human_percent(0.0123), human_percent(62.95, "+"), human_percent(1.5e-7)
    ('1.23 %', '+6295 %', '0.000015 %')
    """
    from decimal import Decimal

    percent = 100 * share
    digits = max(3, len(f"{abs(percent):.0f}"))
    return f"{Decimal(f'{percent:.{digits}g}'):{sign}f} %"


def number_of(noun: str, count: int, show: Callable[[int], str] = str) -> str:
    """A count with its noun: `1 thread`, `2 threads`; `show` formats the count."""
    return f"{show(count)} {noun}{'' if count == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence: `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def thousands(count: int) -> str:
    """An exact count with thousands separators."""
    return f"{count:,}"

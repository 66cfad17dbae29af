"""Dates as users write and read them. Stored dates are in UTC, as 2026-07-01T12:30:00Z."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from datetime import datetime

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


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
        ConvcostError: the text has another form.
    """
    from datetime import UTC, datetime, timedelta

    age = re.fullmatch(r"(\d{1,5})([mhdw])", text.strip(), re.ASCII)
    try:
        if age:
            return as_stored_date(datetime.now(UTC) - timedelta(**{UNITS[age[2]]: int(age[1])}))
        return as_stored_date(datetime.fromisoformat(text.strip()).astimezone())
    except (OverflowError, ValueError, OSError):
        raise ConvcostError(
            f"{name} (={text}) must be a date or an age; write it as 2026-07-01, 2026-07-01T12:30, 12h or 7d."
        ) from None


def show_date(stored: str) -> str:
    """A stored date in local time, as `2026-07-01 14:30`; a text that is no date stays as it is."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(stored).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return stored

"""Claims: published numbers of operations, beside what conventions of counting give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convcost.text.errors import ConvcostError, as_text
from convcost.text.quantities import Kind, quantity
from convcost.text.sizes import format_sizes
from convcost.text.units import human_count, human_percent, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

CLAIM: Final = Kind(
    "a number of operations", ("", "mac", "macs", "flop", "flops", "madds", "mult-adds", "multiply-adds"), "4.5 G"
)
MAX_CUT: Final = Decimal("0.03")
"""Share of a claim by which a figure that is cut to its digits may be larger."""
MAX_ROUNDED: Final = Decimal("0.1")
"""Share of a claim by which a figure that is rounded to its digits may differ, which matters for one digit alone."""
MAX_PERCENT: Final = 9
"""Relative error up to which it is written as a percentage."""
MIN_PERCENT: Final = -0.99
"""Relative error from which on it is written as a percentage."""
MAX_WITHOUT_PREFIX: Final = 1000
"""Number from which on a claim without a prefix, such as G, is not one whose prefix was forgotten."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed number, beside what one convention gives.

    Attributes:
        claim: Claim as the user wrote it.
        convention: What is counted, and how.
        resolution: Height and width of the input; None where it is no image.
        value: Operations by the convention.
        relative_error: value / claim - 1.
        matches: Whether the value is the claim at the digits that it gives, rounded or cut.
        cut: Whether it is the claim only if its further digits are cut, not rounded.
        counters: Other counters whose total is this value.
        is_elsewhere: Whether the input has another size than that of the count.
        meant: Claim with a prefix that would match, and the convention then; empty without one.
    """

    claim: str
    convention: str
    resolution: tuple[int, ...] | None
    value: int
    relative_error: float
    matches: bool
    cut: bool = False
    counters: tuple[str, ...] = ()
    is_elsewhere: bool = False
    meant: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """The claim as a JSON object."""
        record = {name: getattr(self, name) for name in ("claim", "convention", "value", "relative_error", "matches")}
        return {**record, "resolution": self.resolution and list(self.resolution), "counters": list(self.counters)}

    @property
    def text(self) -> str:
        """The convention and the input size."""
        size = "" if self.resolution is None else f" at {format_sizes(self.resolution)}"
        return f"{self.convention}{size}"

    @property
    def distance(self) -> str:
        """The relative error as a percentage; of a value that is ten times the claim or 1/100 of it, the factor."""
        share = 1 + self.relative_error  # 0 where the value is too small beside the claim
        if self.relative_error < MIN_PERCENT and share:
            return f"1/{human_count(1 / share)} of it"
        far = self.relative_error >= MAX_PERCENT
        return f"{human_count(1 + self.relative_error)} times" if far else human_percent(self.relative_error, "+")


class Number(NamedTuple):
    """A claimed number, and the unit of its last digit."""

    value: Decimal
    unit: Decimal

    def is_rounded(self, value: int) -> bool:
        """Whether a value is the claim when it is rounded to its digits, and not far from it."""
        return abs(value - self.value) <= min(self.unit / 2, self.value * MAX_ROUNDED)

    def is_cut(self, value: int) -> bool:
        """Whether a value is the claim when its further digits are cut, and not much larger."""
        return 0 <= value - self.value < min(self.unit, self.value * MAX_CUT)

    def gives(self, value: int) -> bool:
        """Whether a value is the claim at its digits."""
        return self.is_rounded(value) or self.is_cut(value)


def parse_claim(text: str) -> Number:
    """The number of a claim such as `4.5G`, `569 M MACs`, `8.2 GFLOPs` or `0.39B`, and the unit of its last digit.

    A number without a prefix has as many digits as it has before its trailing zeros.

    Raises:
        ConvcostError: The text is no number of operations above 0.

    >>> parse_claim("4.50G").unit == 10**7, parse_claim("569000000").unit == 10**6
    (True, True)
    """
    plain = re.sub(r"(?<=[\d\s])B(?=\s|$)", "G", text.strip())  # papers have B for billions
    try:
        value = quantity(plain, CLAIM)
    except ConvcostError as error:
        raise ConvcostError(f"claim {error}") from None
    if not value:
        raise ConvcostError(f"claim (={as_text(text)}) must be above 0; write it as 4.5G.")
    digits = re.match(r"[\d_]+(\.\d+)?([eE][+-]?\d+)?", plain, re.ASCII)
    written = Decimal(digits[0].replace("_", "")) if digits else value
    last = written.normalize() if written == value and digits and not digits[1] and not digits[2] else written
    return Number(value, value / written * Decimal(10) ** int(last.as_tuple().exponent))


def claim_lines(claims: Iterable[Claim]) -> list[str]:
    """One sentence for each claim: the convention that gives it, or the closest ones."""
    by_text: dict[str, list[Claim]] = {}
    for claim in claims:
        by_text.setdefault(claim.claim, []).append(claim)
    return [_line(text, *each) for text, each in by_text.items()]


def _line(text: str, best: Claim, *more: Claim) -> str:
    if best.meant:
        return f"claim {text}: no convention gives it; did you mean {best.meant[0]}? That is {best.meant[1]}"
    if not best.matches:
        nearest = ", ".join(f"{one.text} ({one.value:,}, {one.distance})" for one in (best, *more[:2]))
        return f"claim {text}: no convention gives it; the nearest are {nearest}"
    how = "cut" if best.cut else "rounded" if best.relative_error else "exactly"
    printed = f", as {listed(best.counters)} print{'s' if len(best.counters) == 1 else ''} it" if best.counters else ""
    names = [one.convention if one.resolution == best.resolution else one.text for one in more[:3]]
    also = f"; {len(more)} more with the same digits: {', '.join(names)}" if more else ""
    name = " called FLOPs" if "FLOP" in text.upper() and best.convention.startswith("MACs") else ""
    also += ", ..." if more[3:] else ""
    chance = "; another input size than that of the count, so it may be chance" if best.is_elsewhere else ""
    return f"claim {text}: {best.text}{name}, {how} ({best.value:,}{printed}){also}{chance}"

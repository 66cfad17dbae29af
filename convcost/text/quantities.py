"""Quantities with units as users type them: `580 M`, `1.9 GMACs`, `47 MB`, `45 MiB`, `60 ms`, `1 %`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from convcost.text.errors import ConvcostError, as_text
from convcost.text.units import BINARY_PREFIXES, DECIMAL_PREFIXES, TIMES, human_count


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of quantity.

    Attributes:
        noun: Name of the kind in messages.
        words: Units after the prefix, in lower case; an empty one if the unit may be left out.
        example: Quantity of this kind, for messages.
    """

    noun: str
    words: tuple[str, ...]
    example: str


PARAMS: Final = Kind("a number of parameters", ("", "param", "params", "parameter", "parameters"), "4.3 M")
MACS: Final = Kind("a number of MACs", ("", "mac", "macs"), "580 M")
FLOPS: Final = Kind("a number of FLOPs", ("", "flop", "flops"), "1.2 G")
BYTES: Final = Kind("a number of bytes", ("b", "byte", "bytes"), "47 MB")
SECONDS: Final = Kind("a time", tuple(unit for unit, _ in TIMES), "60 ms")
MEANS_ANOTHER: Final = {
    "b": "b means bits, B bytes",
    "FLOPS": "FLOPS means a rate, FLOPs a number",
}
"""Spellings of a unit that have another meaning."""
_TEXT: Final = re.compile(r"(\d[\d_]{0,39}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,2})?)\s*([^\d.]*)", re.ASCII)
EXACT: Final = Context(prec=200)
"""Arithmetic without rounding: a text has at most 80 digits, a power of two 19."""
_PREFIXES: Final[dict[str, int]] = {
    **{prefix: 1000**power for power, prefix in enumerate(DECIMAL_PREFIXES)},
    **{prefix: 1024**power for power, prefix in enumerate(BINARY_PREFIXES, start=1)},
    "K": 1000,
}


def quantity(text: str | int, kind: Kind) -> Decimal:
    """The number in base units, exactly: MACs, FLOPs, bytes or seconds.

    Args:
        text: A number, a prefix (k M G T … are powers of ten, Ki Mi Gi … of two) and a unit. A bare integer is in base
            units; a time must have a unit.
        kind: Kind of the quantity.

    Raises:
        ConvcostError: The text is no quantity, or one of another kind.

    >>> quantity("1.9 GMACs", MACS), quantity("45 MiB", BYTES), quantity("60 ms", SECONDS)
    (Decimal('1900000000.0'), Decimal('47185920'), Decimal('0.060'))
    """
    if isinstance(text, int) and kind is not SECONDS and 0 <= text < 10**40:
        return Decimal(text)
    match = _TEXT.fullmatch(text.strip() if isinstance(text, str) else as_text(text))
    if match is None:
        raise ConvcostError(
            f'(={as_text(text)}) must be {kind.noun} of at least 0 and at most 40 digits; write it as "{kind.example}".'
        )
    number, unit = Decimal(match[1]), "".join(match[2].split())
    if kind is SECONDS:
        sizes = {**dict(TIMES), "us": 1e-6, "μs": 1e-6}
        if unit in sizes:
            return EXACT.multiply(number, Decimal(str(sizes[unit])))
    elif (size := _size(unit, kind)) is not None:
        return EXACT.multiply(number, size)
    raise ConvcostError(_wrong_unit(text, number, unit, kind))


def generous(value: int, kind: Kind) -> str:
    """The value plus 10 %, rounded up to three digits, as a text for `quantity`.

    >>> generous(4_231_976, PARAMS), generous(999, MACS), generous(16_927_904, BYTES)
    ('4.66 M', '1.1 k', '18.7 MB')
    """
    wanted = -(-value * 11 // 10)
    unit = 10 ** max(0, len(str(wanted)) - 3)
    rounded = -(-wanted // unit) * unit
    power = min((len(str(rounded)) - 1) // 3, len(DECIMAL_PREFIXES) - 1)
    number = Decimal(rounded).scaleb(-3 * power).normalize()
    return f"{number:f} {DECIMAL_PREFIXES[power]}{'B' if kind is BYTES else ''}".rstrip()


def parse_percent(text: str) -> float:
    """`1 %` as 0.01.

    Raises:
        ConvcostError: The text is no percentage.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,20})?)\s*%", text.strip(), re.ASCII)
    if match is None:
        number = text.strip() if re.fullmatch(r"\d{1,9}(\.\d{1,20})?", text.strip(), re.ASCII) else "1"
        raise ConvcostError(f'(={as_text(text)}) must be a percentage of at least 0; write it as "{number} %".')
    return float(Decimal(match[1]) / 100)


def _size(unit: str, kind: Kind) -> int | None:
    """The size of a unit in base units; None for a unit of another kind."""
    for word in kind.words:
        prefix, written = unit[: len(unit) - len(word)], unit[len(unit) - len(word) :]
        if written.lower() == word and written not in MEANS_ANOTHER and prefix in _PREFIXES:
            return _PREFIXES[prefix]
    return None


def _wrong_unit(text: str | int, number: Decimal, unit: str, kind: Kind) -> str:
    """The message for a number whose unit is of another kind."""
    rule = f"(={as_text(text)}) must be {kind.noun}"
    if kind is MACS and (size := _size(unit, FLOPS)) is not None:
        half = human_count(float(number) * size / 2)
        return f'{rule}, and 1 MAC = 2 FLOPs; write "{half}", or limit flops instead.'
    if kind is FLOPS and (size := _size(unit, MACS)) is not None:
        double = human_count(float(number) * size * 2)
        return f'{rule}, and 1 MAC = 2 FLOPs; write "{double}", or limit macs instead.'
    another = next(
        (why for word, why in MEANS_ANOTHER.items() if word.lower() in kind.words and unit.endswith(word)), ""
    )
    unit_is = another or (f"{unit} is no unit of it" if unit else "has no unit")
    return f'{rule}, and {unit_is}; write it as "{kind.example}".'

"""Sizes as users type them: `3`, `3x5` (height x width), `same`, `1/4`."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

__all__ = ["format_sizes", "pair", "parse_padding", "parse_share", "parse_sizes", "plain"]


def parse_sizes(name: str, text: str) -> tuple[int, int]:
    """`3` as (3, 3), `3x5` as (3, 5).

    Raises:
        ConvcostError: anything else.
    """
    if not re.fullmatch(r"\d{1,4000}(x\d{1,4000})?", text.strip(), re.ASCII):
        msg = f"{name} (={text}) must be a whole number or HEIGHTxWIDTH; write it as 3 or 3x5."
        raise ConvcostError(msg)
    return pair([int(size) for size in text.strip().split("x")])


def plain(size: Any) -> Any:  # noqa: ANN401 - of any library
    """A whole number of any library as Python's own; what is none stays as it is, and is refused where it is used.

    >>> import numpy as np
    >>> plain(np.int64(3)), type(plain(np.int64(3))).__name__
    (3, 'int')
    """
    return operator.index(size) if isinstance(size, SupportsIndex) and not isinstance(size, bool) else size


def pair(sizes: int | Sequence[int]) -> tuple[int, int]:
    """One size for both axes, or (height, width).

    Raises:
        ConvcostError: a sequence of any other length.
    """
    listed: Any = sizes if hasattr(sizes, "__len__") else (sizes, sizes)
    values = tuple(map(plain, listed))
    if len(values) == 1:
        values *= 2
    if len(values) != 2:  # noqa: PLR2004 - height and width
        msg = f"sizes (={values}) must be one number or (height, width)."
        raise ConvcostError(msg)
    return values[0], values[1]


def parse_padding(name: str, text: str) -> tuple[int, int] | Literal["same", "valid"]:
    """`same`, `valid`, `1` or `1x2`.

    Raises:
        ConvcostError: anything else.
    """
    if text == "same":
        return "same"
    if text == "valid":
        return "valid"
    try:
        return parse_sizes(name, text)
    except ConvcostError:
        msg = f"{name} (={text}) must be same, valid, a whole number or HEIGHTxWIDTH; write it as same, 1 or 1x2."
        raise ConvcostError(msg) from None


def parse_share(name: str, text: str) -> Fraction:
    """A share such as `1/4` or `0.25`.

    Raises:
        ConvcostError: anything else.
    """
    if not re.fullmatch(r"\d{1,9}(/\d{1,9}|\.\d{1,9})?", text, re.ASCII) or re.fullmatch(r"\d+/0+", text):
        msg = f"{name} (={text}) must be a share; write it as 1/4 or 0.25."
        raise ConvcostError(msg)
    from fractions import Fraction  # noqa: PLC0415 - 2 ms of every start that does not need it

    return Fraction(text)


def format_sizes(sizes: Sequence[int]) -> str:
    """(3, 5) as `3x5`."""
    return "x".join(map(str, sizes))

"""Errors that the user can correct; each message has the value, the rule and the next step on one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_BREAKS: Final = r"[\t-\r\x1c-\x1e\x85\u2028\u2029]+"
_CONTROLS: Final = r"[\x00-\x1f\x7f-\x9f]"
HIDDEN: Final = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Bidirectional control characters and lone surrogates, as the inside of a character class."""


class ConvcostError(ValueError):
    """An error that the caller can correct. The command line prints the message and exits with 2."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The message, with one line for each mistake."""
        return (str(self),)


class ShapeError(ConvcostError):
    """A hyper-parameter or a size breaks a rule of the convolution or of the block."""


class NeedsValuesError(ConvcostError):
    """A model reads the values of its tensors, which meta tensors do not have."""


class MissingPackageError(ConvcostError):
    """An optional package that the user named is not installed."""


def one_line(text: str) -> str:
    r"""A text that stays on its line, moves no cursor, and reads in the order in which it is stored.

    A space stands for line breaks, � for other control characters, an escape for bidirectional controls and surrogates.

    >>> one_line("two\r\nlines, \x1b[31mred")
    'two lines, �[31mred'
    >>> print(one_line("safe \u202eevil"))
    safe \u202eevil
    """
    if text.isprintable():
        return text
    return re.sub(f"[{HIDDEN}]", as_escape, re.sub(_CONTROLS, "\ufffd", re.sub(_BREAKS, " ", text)))


def as_escape(character: re.Match[str]) -> str:
    """The escape of one character as Python and JSON write it."""
    return f"\\u{ord(character[0]):04x}"


def encodable(text: str) -> str:
    """A text that UTF-8 can hold: escapes stand for lone surrogates, as in a file name that is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def text_of(error: BaseException) -> str:
    """The text of an exception; empty where its own class fails to make one."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a class of the user's may raise anything here
        return ""


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, at most 200 characters; its class where it has no text."""
    line = text_of(error).strip().partition("\n")[0]
    return " ".join(line.split())[:200] or type(error).__name__


def as_text(value: object) -> str:
    """A value as in TOML, short enough for one line of a message."""
    if value is None:
        return "missing"
    try:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        text = (
            f"a number of {value.bit_length()} bits"
            if isinstance(value, int)
            else "something with a number too long to show"
        )
    line = " ".join(one_line(text).split())
    return line if len(line) <= 60 else f"{line[:57]}..."  # noqa: PLR2004 - the rule must fit on the line too


def did_you_mean(word: str, known: Collection[str], otherwise: str | None = None) -> str:
    """The next step for an unknown word: the nearest known word, else `otherwise`, by default all known words.

    >>> did_you_mean("MobileNet-V1", ["mobilenet_v1", "resnet18"])
    'did you mean mobilenet_v1?'
    """
    from difflib import get_close_matches

    alike = {_without_case(one): one for one in known}
    near = get_close_matches(_without_case(word), alike, n=1)
    return f"did you mean {alike[near[0]]}?" if near else otherwise or f"known: {', '.join(known)}."


def _without_case(word: str) -> str:
    return word.casefold().replace("_", "-")

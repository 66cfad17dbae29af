"""A table of a TOML file, read key by key: each refusal names file, key, value, rule and next step on one line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from convcost.text.errors import ConvcostError, as_text, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Table"]

Word = TypeVar("Word", bound=str)

_SHARE: Final = r"\d{1,9}(/0{0,8}[1-9]\d{0,8}|\.\d{1,17})?"
"""A number without an exponent, or a fraction whose denominator is not 0."""


@dataclass(frozen=True, slots=True)
class Table:
    """Keys and values with the place they come from.

    Attributes:
        where: the file, and the table in it, such as `net.toml: layers[3]` (counted from 1).
        values: as tomllib reads them.
    """

    where: str
    values: Mapping[str, object]

    def refuse(self, key: str, rule: str) -> NoReturn:
        """Say what is wrong with a key's value.

        Raises:
            ConvcostError: always.
        """
        msg = f"{self.where}: {key} (={as_text(self.values.get(key))}) {rule}"
        raise ConvcostError(msg)

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Refuse keys that nothing reads.

        Raises:
            ConvcostError: the first one, with the nearest known key.
        """
        for key in self.values:
            if key not in known:
                self.refuse(key, f"is no key of this table; {did_you_mean(key, known)}")

    def text(self, key: str, default: str) -> str:
        """A text that is not empty."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or not (value or not default):
            self.refuse(key, f'must be a text; write {key} = "{default or "..."}".')
        return value

    def choice(self, key: str, default: Word, choices: Collection[Word]) -> Word:
        """One of these words."""
        value = self.values.get(key, default)
        found = next((word for word in choices if word == value), None)
        if found is None:
            hint = did_you_mean(value, choices) if isinstance(value, str) else f"known: {', '.join(choices)}."
            self.refuse(key, f"must be one of its words; {hint}")
        return found

    def flag(self, key: str) -> bool:
        """True or false; false when it is not there."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            self.refuse(key, f"must be true or false; write {key} = true.")
        return value

    def integer(self, key: str, default: int, least: int = 1, most: int | None = None) -> int:
        """A whole number from `least` to `most`."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least or (most and value > most):
            upper = f" and at most {most}" if most else ""
            self.refuse(key, f"must be a whole number of at least {least}{upper}; write {key} = {max(default, least)}.")
        return value

    def share(self, key: str, default: Fraction) -> Fraction:
        """A number above 0, exactly as it is written: 0.75, or "3/4"."""
        value = self.values.get(key, default)
        text = "" if isinstance(value, bool) else str(value)
        exact = Fraction(text) if re.fullmatch(_SHARE, text, re.ASCII) else Fraction(0)
        if exact <= 0:
            self.refuse(key, f'must be a number above 0; write {key} = 0.5 or "1/2".')
        return exact

    def pair(self, key: str, default: int, least: int = 1) -> tuple[int, int]:
        """One size for both axes, or [height, width]."""
        value = self.values.get(key, default)
        sizes = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
        if len(sizes) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < least for n in sizes):  # noqa: PLR2004 - height and width
            again = max(default, least)
            self.refuse(key, f"must be a whole number of at least {least}, or [height, width]; write {key} = {again}.")
        return sizes

    def tables(self, key: str) -> list[Table]:
        """A list of tables that is not empty."""
        value = self.values.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
            self.refuse(key, f"must be a list of tables; write {key} = [{{ ... }}, {{ ... }}].")
        return [Table(f"{self.where}: {key}[{i}]", entry) for i, entry in enumerate(value, start=1)]

"""Sizes, targets, inputs and arguments as users write them: `3x5`, `same`, `1/4`, `name=1x16:int64`, `key=value`."""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, SupportsIndex

from convcost.text.errors import ConvcostError, as_text, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction


def parse_threads(text: str) -> int | Literal["all"]:
    """`4` or `all`.

    Raises:
        ConvcostError: The text has another form.
    """
    if text == "all":
        return "all"
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ConvcostError(f"threads (={as_text(text)}) must be 1 or more, or all.")
    return int(text)


TARGET_RULE: Final = (
    "must be package.module:callable, file.py:callable, FILE.toml, network:NAME, torchvision:NAME, timm:NAME or "
    "FILE.pt2; give one that is there."
)
"""The rule for a target, for messages."""
DTYPES: Final = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
)
"""The dtypes that an input may have, by torch's names."""
_SHORT: Final = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "short": "int16",
    "int": "int32",
    "long": "int64",
}
"""Torch's other names of dtypes."""
_INPUT: Final = r"(?:(?P<name>[^=:]*)=)?(?P<sizes>[^=:]*)(?::(?P<dtype>[^=:]*))?"
_SIZES: Final = r"\d{1,18}(x\d{1,18})*"
_PAIR: Final = r"\d{1,40}(x\d{1,40})?"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a model.

    Attributes:
        sizes: Sizes in torch's order, such as (1, 3, 224, 224); empty for a single number (`scalar`).
        dtype: Data type, one of `DTYPES`.
        name: Name of the keyword argument; None for a positional one.
    """

    sizes: tuple[int, ...]
    dtype: str = "float32"
    name: str | None = None

    def __str__(self) -> str:
        """The text of the input, as users write it.

        >>> print(Input((1, 16), "int64", "tokens"))
        tokens=1x16:int64
        """
        sizes = "x".join(map(str, self.sizes)) or "scalar"
        name = "" if self.name is None else f"{self.name}="
        return f"{name}{sizes}" + ("" if self.dtype == "float32" else f":{self.dtype}")


def is_target(text: str) -> bool:
    """Whether a text has the form of a target; the target need not exist.

    >>> is_target("models.py:net"), is_target("net.pt2"), is_target("net"), is_target("network:")
    (True, True, False, False)
    """
    where, _, name = text.rpartition(":")
    return bool((where and name) or (not where and PurePath(name).suffix))


def parse_input(text: str) -> Input:
    """`1x3x224x224`, `1x16:int64`, `tokens=1x16:int64`, or `scalar` for a number without axes.

    Raises:
        ConvcostError: The text has another form, a size of 0 or an unknown dtype.
    """
    match = re.fullmatch(_INPUT, text.strip())
    sizes = match["sizes"] if match else ""
    if match is None or not (sizes == "scalar" or re.fullmatch(_SIZES, sizes, re.ASCII)):
        raise ConvcostError(
            f"input (={as_text(text)}) must be sizes with x between them; write it as 1x3x224x224 or name=1x16:int64."
        )
    name, dtype = match["name"], _SHORT.get(match["dtype"], match["dtype"])
    if name is not None and not name.isidentifier():
        raise ConvcostError(
            f"input (={as_text(text)}) must name a keyword argument before =; write it as name=1x16:int64."
        )
    if dtype is not None and dtype not in DTYPES:
        raise ConvcostError(
            f"input (={as_text(text)}) must have a dtype of torch after the colon; {did_you_mean(dtype, DTYPES)}"
        )
    numbers = () if sizes == "scalar" else tuple(int(size) for size in sizes.split("x"))
    if 0 in numbers:
        raise ConvcostError(f"input (={as_text(text)}) must have sizes of at least 1; give larger numbers.")
    return Input(numbers, dtype or "float32", name)


def parse_arg(text: str) -> tuple[str, object]:
    """`key=value` as the key and the value: a Python literal, else the text itself.

    >>> parse_arg("alpha=0.5"), parse_arg("layers=[3, 4]"), parse_arg("act=relu")
    (('alpha', 0.5), ('layers', [3, 4]), ('act', 'relu'))

    Raises:
        ConvcostError: The text has no `=`, or the key cannot be the name of an argument.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        raise ConvcostError(
            f"arg (={as_text(text)}) must be KEY=VALUE with the name of an argument; write it as width=1.0."
        )
    try:
        return key.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return key.strip(), value


def parse_sizes(name: str, text: str) -> tuple[int, int]:
    """`3` as (3, 3), `3x5` as (3, 5).

    Raises:
        ConvcostError: The text has another form.
    """
    if not re.fullmatch(_PAIR, text.strip(), re.ASCII):
        raise ConvcostError(f"{name} (={as_text(text)}) must be a whole number or HEIGHTxWIDTH; write it as 3 or 3x5.")
    return pair([int(size) for size in text.strip().split("x")])


def plain(size: Any) -> Any:  # noqa: ANN401 - a number of any library, or a mistake of the caller
    """An integer of any library as a Python int; any other value is returned unchanged, and is refused later.

    >>> import numpy as np
    >>> plain(np.int64(3)), type(plain(np.int64(3))).__name__
    (3, 'int')
    """
    return operator.index(size) if isinstance(size, SupportsIndex) and not isinstance(size, bool) else size


def is_number(value: object) -> bool:
    """Whether a value is a finite real number of any library.

    >>> import numpy as np
    >>> is_number(np.float32(0.5)), is_number(2), is_number(True), is_number("0.5"), is_number(float("nan"))
    (True, True, False, False, False)
    """
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # an integer that is too large for a float
        return False


def pair(sizes: int | Sequence[int]) -> tuple[int, int]:
    """One size for both axes, or (height, width).

    Raises:
        ConvcostError: A sequence of any other length.
    """
    listed: Any = sizes if hasattr(sizes, "__len__") else (sizes, sizes)
    values = tuple(map(plain, listed))
    if len(values) == 1:
        values *= 2
    if len(values) != 2:  # noqa: PLR2004 - a pair is a height and a width
        raise ConvcostError(f"sizes (={as_text(sizes)}) must be one number or (height, width).")
    return values[0], values[1]


def parse_padding(name: str, text: str) -> tuple[int, int] | Literal["same", "valid"]:
    """`same`, `valid`, `1` or `1x2`.

    Raises:
        ConvcostError: The text has another form.
    """
    if text == "same":
        return "same"
    if text == "valid":
        return "valid"
    try:
        return parse_sizes(name, text)
    except ConvcostError:
        raise ConvcostError(
            f"{name} (={as_text(text)}) must be same, valid, a whole number or HEIGHTxWIDTH; "
            "write it as same, 1 or 1x2."
        ) from None


def parse_share(name: str, text: str) -> Fraction:
    """A share such as `1/4` or `0.25`.

    Raises:
        ConvcostError: The text has another form.
    """
    if not re.fullmatch(r"\d{1,9}(/\d{1,9}|\.\d{1,9})?", text, re.ASCII) or re.fullmatch(r"\d+/0+", text):
        raise ConvcostError(f"{name} (={as_text(text)}) must be a share; write it as 1/4 or 0.25.")
    from fractions import Fraction

    return Fraction(text)


def format_sizes(sizes: Sequence[int]) -> str:
    """(3, 5) as `3x5`."""
    return "x".join(map(str, sizes))

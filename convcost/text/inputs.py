"""A model's target, inputs and arguments as users type them: `file.py:net`, `name=1x16:int64`, `key=value`."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from convcost.text.errors import ConvcostError, did_you_mean

__all__ = ["DTYPES", "TARGET_RULE", "Input", "is_target", "parse_arg", "parse_input"]

TARGET_RULE: Final = (
    "must be package.module:callable, file.py:callable, FILE.toml, network:NAME, torchvision:NAME, timm:NAME or "
    "FILE.pt2; give one that is there."
)
"""What a target must be."""

DTYPES: Final = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
)
"""The dtypes that an input may have, by torch's names."""

_INPUT: Final = r"(?:(?P<name>[^=:]*)=)?(?P<sizes>[^=:]*)(?::(?P<dtype>[^=:]*))?"
_SIZES: Final = r"\d{1,18}(x\d{1,18})*"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a model.

    Attributes:
        sizes: in torch's order, such as (1, 3, 224, 224); empty for a single number (`scalar`).
        dtype: one of `DTYPES`.
        name: of the keyword argument; None for a positional one.
    """

    sizes: tuple[int, ...]
    dtype: str = "float32"
    name: str | None = None

    def __str__(self) -> str:
        """As the user types it.

        >>> print(Input((1, 16), "int64", "tokens"))
        tokens=1x16:int64
        """
        sizes = "x".join(map(str, self.sizes)) or "scalar"
        name = "" if self.name is None else f"{self.name}="
        return f"{name}{sizes}" + ("" if self.dtype == "float32" else f":{self.dtype}")


def is_target(text: str) -> bool:
    """Whether a text has the form of a target, whatever there is of that name.

    >>> is_target("models.py:net"), is_target("net.pt2"), is_target("net"), is_target("network:")
    (True, True, False, False)
    """
    where, _, name = text.rpartition(":")
    return bool((where and name) or (not where and PurePath(name).suffix))


def parse_input(text: str) -> Input:
    """`1x3x224x224`, `1x16:int64`, `tokens=1x16:int64`, or `scalar` for a number without axes.

    Raises:
        ConvcostError: anything else, a size of 0, an unknown dtype.
    """
    match = re.fullmatch(_INPUT, text.strip())
    sizes = match["sizes"] if match else ""
    if match is None or not (sizes == "scalar" or re.fullmatch(_SIZES, sizes, re.ASCII)):
        msg = f"input (={text}) must be sizes with x between them; write it as 1x3x224x224 or name=1x16:int64."
        raise ConvcostError(msg)
    name, dtype = match["name"], match["dtype"]
    if name is not None and not name.isidentifier():
        msg = f"input (={text}) must name a keyword argument before =; write it as name=1x16:int64."
        raise ConvcostError(msg)
    if dtype is not None and dtype not in DTYPES:
        msg = f"input (={text}) must have a dtype of torch after the colon; {did_you_mean(dtype, DTYPES)}"
        raise ConvcostError(msg)
    numbers = () if sizes == "scalar" else tuple(int(size) for size in sizes.split("x"))
    if 0 in numbers:
        msg = f"input (={text}) must have sizes of at least 1; give larger numbers."
        raise ConvcostError(msg)
    return Input(numbers, dtype or "float32", name)


def parse_arg(text: str) -> tuple[str, object]:
    """`key=value` as the key and the value: a Python literal, else the text itself.

    >>> parse_arg("alpha=0.5"), parse_arg("layers=[3, 4]"), parse_arg("act=relu")
    (('alpha', 0.5), ('layers', [3, 4]), ('act', 'relu'))

    Raises:
        ConvcostError: there is no `=`, or the key is no name of an argument.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        msg = f"arg (={text}) must be KEY=VALUE with the name of an argument; write it as width=1.0."
        raise ConvcostError(msg)
    try:
        return key.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return key.strip(), value

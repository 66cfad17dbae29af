"""A convolution kernel as a matrix of numbers, exact where it was written exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from convcost.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DOUBLE_EPS", "MOST_SIDE", "Entry", "Matrix", "matrix_of", "parse_matrix"]

Entry: TypeAlias = int | Fraction | float

MOST_SIDE: Final = 127
"""The largest height or width: deciding an exact matrix takes the cube of it."""
DOUBLE_EPS: Final = 2.0**-52
EXACT_DIGITS: Final = 12
"""A decimal with more significant digits was printed from a float64 and is taken as one."""
SMALLEST, LARGEST = 1e-100, 1e100

_NUMBER = re.compile(r"[+-]?(?:(\d{1,400})/(\d{1,400})|(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][+-]?\d{1,3})?)")


@dataclass(frozen=True, slots=True)
class Matrix:
    """A kernel of height × width numbers.

    Attributes:
        name: of a named kernel or a file, else the numbers as text.
        entries: rows of ints and Fractions (exact), or of floats.
        eps: the spacing of the floating point numbers next to 1; 0 for an exact matrix.

    Raises:
        ConvcostError: an empty matrix, ragged rows, 1×1, too large, or an entry that is no finite number.
    """

    name: str
    entries: tuple[tuple[Entry, ...], ...]
    eps: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no kernel."""
        if not self.entries or not all(self.entries):
            msg = "the matrix (=empty) must have at least two numbers; write it as '1 0 -1; 2 0 -2; 1 0 -1'."
            raise ConvcostError(msg)
        for number, row in enumerate(self.entries, 1):
            if len(row) != self.width:
                msg = (
                    f"row {number} (={len(row)} numbers) must have as many as row 1 (={self.width}); "
                    "separate rows by ; or a new line."
                )
                raise ConvcostError(msg)
        if self.height * self.width == 1:
            msg = (
                f"the matrix (={self.entries[0][0]}, 1x1) must be larger than 1x1; "
                "put a matrix in quotes, as '1 0 -1; 2 0 -2; 1 0 -1'."
            )
            raise ConvcostError(msg)
        if max(self.height, self.width) > MOST_SIDE:
            msg = f"the matrix (={self.height}x{self.width}) must be at most {MOST_SIDE} on a side; cut the kernel out."
            raise ConvcostError(msg)
        for number, row in enumerate(self.entries, 1):
            for entry in row:
                _require_size(entry, number)

    @property
    def height(self) -> int:
        """k_h, the rows."""
        return len(self.entries)

    @property
    def width(self) -> int:
        """k_w, the columns."""
        return len(self.entries[0])

    @property
    def exact(self) -> bool:
        """Whether every entry is an int or a Fraction."""
        return not any(isinstance(entry, float) for row in self.entries for entry in row)

    @property
    def whole(self) -> bool:
        """Whether every entry is an int."""
        return all(isinstance(entry, int) for row in self.entries for entry in row)

    def array(self) -> NDArray[np.float64]:
        """The entries as float64, of shape (height, width)."""
        import numpy as np

        return np.array([[float(entry) for entry in row] for row in self.entries])


def parse_matrix(text: str, name: str | None = None) -> Matrix:
    """A typed matrix: rows separated by `;` or new lines, numbers by spaces or commas.

    Integers, fractions (1/16) and decimals of up to 12 digits are exact; one longer decimal makes all of them floats.

    Args:
        text: such as `1 0 -1; 2 0 -2; 1 0 -1`.
        name: of the matrix; the numbers themselves by default.

    Raises:
        ConvcostError: anything that is no kernel, see `Matrix`.

    >>> parse_matrix("1/4, 0.5, 1/4").entries
    ((Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)),)
    """
    lines = [line for line in re.split(r"[;\n]", text.replace("\u2212", "-")) if line.strip()]
    rows = [tuple(_entry(word, row) for word in _words(line, row)) for row, line in enumerate(lines, 1)]
    if any(isinstance(entry, float) for row in rows for entry in row):
        floats = tuple(tuple(float(entry) for entry in row) for row in rows)
        return Matrix(name or _one_line(lines), floats, DOUBLE_EPS)
    return Matrix(name or _one_line(lines), tuple(rows))


def matrix_of(kernel: Matrix | object, name: str = "kernel") -> Matrix:
    """An array or nested sequence of numbers as a `Matrix`; floats that are all whole numbers become ints.

    Args:
        kernel: 2 axes, (height, width), of integers, booleans, Fractions or floats.
        name: of the matrix.

    Raises:
        ConvcostError: anything that is no kernel, see `Matrix`.
    """
    import numpy as np

    if isinstance(kernel, Matrix):
        return kernel
    rows: Any = kernel
    if not isinstance(kernel, np.ndarray) and _holds_fractions(rows):
        return Matrix(name, tuple(tuple(_whole(entry) for entry in row) for row in rows))
    try:
        array = np.asarray(kernel)
    except (ValueError, TypeError) as error:
        msg = f"{name} must be a matrix of numbers with rows of one length; {str(error).partition('.')[0]}."
        raise ConvcostError(msg) from error
    if array.ndim != 2:  # noqa: PLR2004 - height and width
        msg = f"{name} (={array.ndim} axes, shape {array.shape}) must have 2, height and width; pick one kernel."
        raise ConvcostError(msg)
    if array.dtype.kind not in "biuf":
        msg = f"{name} (=dtype {array.dtype}) must hold real numbers; convert it to integers or floats."
        raise ConvcostError(msg)
    if array.dtype.kind != "f":
        return Matrix(name, tuple(tuple(int(entry) for entry in row) for row in array))
    whole = bool(
        np.all(np.isfinite(array)) and np.all(array == np.round(array)) and np.all(np.abs(array) < 1 / DOUBLE_EPS)
    )
    if whole:
        return Matrix(name, tuple(tuple(int(entry) for entry in row) for row in array))
    eps = max(float(np.finfo(array.dtype).eps), DOUBLE_EPS)
    return Matrix(name, tuple(tuple(float(entry) for entry in row) for row in array), eps)


def _holds_fractions(rows: Any) -> bool:  # noqa: ANN401 - whatever the caller gave
    try:
        entries = [entry for row in rows for entry in row]
    except TypeError:
        return False
    return all(isinstance(entry, (int, Fraction)) for entry in entries) and any(
        isinstance(entry, Fraction) for entry in entries
    )


def _words(line: str, row: int) -> Sequence[str]:
    cells = [cell.split() for cell in re.split(r"[,\t]", line)]
    if len(cells) > 1 and not all(cells):
        msg = f"row {row} (={line.strip()}) must have a number between its commas; write 0 for an empty cell."
        raise ConvcostError(msg)
    return [word for cell in cells for word in cell]


def _entry(word: str, row: int) -> Entry:
    match = _NUMBER.fullmatch(word)
    if match is None or (match[2] is not None and not int(match[2])):
        shown = word if len(word) <= 40 else f"{word[:37]}..."  # noqa: PLR2004 - one line of text
        msg = f"entry (={shown}, row {row}) must be a finite number; write it as 2, -1, 0.5 or 1/16."
        raise ConvcostError(msg)
    digits = re.split("[eE]", word)[0].lstrip("+-0.").replace(".", "")
    if match[1] is None and len(digits) > EXACT_DIGITS and ("." in word or "e" in word.lower()):
        return float(word)
    return _whole(Fraction(word))


def _whole(value: int | Fraction) -> int | Fraction:
    return int(value) if isinstance(value, int) or value.denominator == 1 else value


def _require_size(entry: Entry, row: int) -> None:
    if isinstance(entry, float) and not isfinite(entry):
        msg = f"entry (={entry}, row {row}) must be a finite number; replace it."
        raise ConvcostError(msg)
    if entry and not SMALLEST <= abs(Fraction(entry)) <= LARGEST:
        msg = f"entry (in row {row}) must be 0 or between 1e-100 and 1e100 in size; scale the matrix."
        raise ConvcostError(msg)


def _one_line(lines: Sequence[str]) -> str:
    """The numbers as one line of text, cut where it would not fit a table's cell."""
    text = "; ".join(" ".join(line.replace(",", " ").split()) for line in lines)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - the width of a table's cell

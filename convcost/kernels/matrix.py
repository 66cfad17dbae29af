"""A convolution kernel as a matrix of numbers, exact where it was written exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from numbers import Rational
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DOUBLE_EPS", "MOST_SIDE", "Entry", "Matrix", "matrix_of", "require_two_axes"]

Entry: TypeAlias = int | Fraction | float

MOST_SIDE: Final = 127
"""The largest height or width: deciding an exact matrix takes the cube of it."""
DOUBLE_EPS: Final = 2.0**-52
SMALLEST, LARGEST = 1e-100, 1e100


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


def matrix_of(kernel: Matrix | object, name: str = "kernel") -> Matrix:
    """An array or nested sequence of numbers as a `Matrix`; floats that are all whole numbers become ints.

    Args:
        kernel: 2 axes, (height, width), of integers of any size, booleans, Fractions or floats.
        name: of the matrix.

    Raises:
        ConvcostError: anything that is no kernel, see `Matrix`.

    >>> matrix_of([[2**70, 1]]).entries
    ((1180591620717411303424, 1),)
    """
    import numpy as np

    if isinstance(kernel, Matrix):
        return kernel
    exact = _exact_rows(kernel)  # before NumPy sees them: it makes floats of large integers
    if exact is not None:
        return Matrix(name, exact)
    try:
        array = np.asarray(kernel)
    except (ValueError, TypeError, RuntimeError) as error:  # RuntimeError: a tensor of torch's that wants its gradient
        msg = f"{name} must be a matrix of numbers with rows of one length; {str(error).partition('.')[0]}."
        raise ConvcostError(msg) from error
    require_two_axes(name, array.shape)
    if array.dtype.kind == "O" and all(isinstance(entry, (Rational, float)) for entry in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        msg = f"{name} (=dtype {array.dtype}) must hold real numbers; convert it to integers or floats."
        raise ConvcostError(msg)
    whole = bool(
        np.all(np.isfinite(array)) and np.all(array == np.round(array)) and np.all(np.abs(array) < 1 / DOUBLE_EPS)
    )
    if whole or array.dtype.kind != "f":
        return Matrix(name, tuple(tuple(int(entry) for entry in row) for row in array))
    eps = max(float(np.finfo(array.dtype).eps), DOUBLE_EPS)
    return Matrix(name, tuple(tuple(float(entry) for entry in row) for row in array), eps)


def require_two_axes(name: str, shape: tuple[int, ...]) -> None:
    """Refuse an array that is no matrix.

    Raises:
        ConvcostError: more or fewer axes than height and width.
    """
    if len(shape) != 2:  # noqa: PLR2004 - height and width
        msg = f"{name} (={len(shape)} axes, shape {shape}) must have 2, height and width; pick one kernel."
        raise ConvcostError(msg)


def _exact_rows(kernel: object) -> tuple[tuple[int | Fraction, ...], ...] | None:
    """The rows of nested sequences, or of an array of objects, that hold integers and Fractions alone; else None."""
    import numpy as np

    rows: Any = kernel
    if not isinstance(kernel, Sequence) and not (isinstance(kernel, np.ndarray) and kernel.dtype.kind == "O"):
        return None
    try:
        entries = [tuple(row) for row in rows]
    except TypeError:
        return None
    if not all(isinstance(entry, Rational) for row in entries for entry in row):
        return None
    return tuple(tuple(_plain(entry) for entry in row) for row in entries)


def _plain(entry: Rational) -> int | Fraction:
    """A number of whatever class as Python's own."""
    top, bottom = int(entry.numerator), int(entry.denominator)
    return top if bottom == 1 else Fraction(top, bottom)


def _require_size(entry: Entry, row: int) -> None:
    if isinstance(entry, float) and not isfinite(entry):
        msg = f"entry (={entry}, row {row}) must be a finite number; replace it."
        raise ConvcostError(msg)
    exact = Fraction(entry)
    if entry and not SMALLEST <= abs(exact) <= LARGEST:
        shown = Decimal(exact.numerator) / exact.denominator  # a float would be 0 or inf
        msg = f"entry (={shown:.2e}, row {row}) must be 0 or between 1e-100 and 1e100 in size; scale the matrix."
        raise ConvcostError(msg)

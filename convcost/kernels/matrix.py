"""A convolution kernel as a matrix of numbers, exact if it was written exactly."""

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

Entry: TypeAlias = int | Fraction | float

AXES: Final = 2
"""Height and width."""
MAX_SIDE: Final = 127
"""Largest height or width, since the time for an exact rank grows with its cube."""
DOUBLE_EPS: Final = 2.0**-52
MIN_ENTRY: Final = 1e-100
MAX_ENTRY: Final = 1e100


@dataclass(frozen=True, slots=True)
class Matrix:
    """A kernel of height × width numbers.

    Attributes:
        name: Name of the kernel or the file, else the numbers as text.
        entries: Rows of ints and Fractions (exact), or of floats.
        eps: Spacing of the floating point numbers next to 1; 0 for an exact matrix.

    Raises:
        ConvcostError: The matrix is empty, ragged, 1×1 or too large, or an entry is no finite number.
    """

    name: str
    entries: tuple[tuple[Entry, ...], ...]
    eps: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a matrix that is no kernel."""
        if not self.entries or not all(self.entries):
            msg = "the matrix (=empty) must have at least two numbers; write it as '1 0 -1; 2 0 -2; 1 0 -1'."
            raise ConvcostError(msg)
        for number, row in enumerate(self.entries, 1):
            if len(row) != self.width:
                raise ConvcostError(
                    f"row {number} (={len(row)} numbers) must have as many as row 1 (={self.width}); "
                    "separate rows by ; or a new line."
                )
        if self.height * self.width == 1:
            raise ConvcostError(
                f"the matrix (={self.entries[0][0]}, 1x1) must be larger than 1x1; "
                "put a matrix in quotes, as '1 0 -1; 2 0 -2; 1 0 -1'."
            )
        if max(self.height, self.width) > MAX_SIDE:
            msg = f"the matrix (={self.height}x{self.width}) must be at most {MAX_SIDE} on a side; cut the kernel out."
            raise ConvcostError(msg)
        for number, row in enumerate(self.entries, 1):
            for entry in row:
                _require_size(entry, number)

    @property
    def height(self) -> int:
        """Number of rows, k_h."""
        return len(self.entries)

    @property
    def width(self) -> int:
        """Number of columns, k_w."""
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
        kernel: Array of shape (height, width), of integers of any size, booleans, Fractions or floats.
        name: Name of the matrix.

    Raises:
        ConvcostError: The numbers are no kernel, see `Matrix`.

    >>> matrix_of([[2**70, 1]]).entries
    ((1180591620717411303424, 1),)
    """
    import numpy as np

    if isinstance(kernel, Matrix):
        return kernel
    exact = _exact_rows(kernel)  # NumPy would make floats of large integers
    if exact is not None:
        return Matrix(name, exact)
    try:
        array = np.asarray(kernel)
    except (ValueError, TypeError, RuntimeError) as error:  # RuntimeError: a torch tensor with a gradient
        msg = f"{name} must be a matrix of numbers with rows of one length; {str(error).partition('.')[0]}."
        raise ConvcostError(msg) from error
    require_two_axes(name, array.shape)
    if array.dtype.kind == "O" and all(isinstance(entry, (Rational, float)) for entry in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise ConvcostError(f"{name} (=dtype {array.dtype}) must hold real numbers; convert it to integers or floats.")
    whole = (
        np.isfinite(array).all()
        and (array == np.round(array)).all()
        and (np.abs(array) < np.float64(1 / DOUBLE_EPS)).all()
    )
    if whole or array.dtype.kind != "f":
        return Matrix(name, tuple(tuple(int(entry) for entry in row) for row in array))
    eps = max(float(np.finfo(array.dtype).eps), DOUBLE_EPS)
    return Matrix(name, tuple(tuple(float(entry) for entry in row) for row in array), eps)


def require_two_axes(name: str, shape: tuple[int, ...]) -> None:
    """Refuse an array without exactly two axes, height and width."""
    if len(shape) != AXES:
        msg = f"{name} (={len(shape)} axes, shape {shape}) must have 2, height and width; pick one kernel."
        raise ConvcostError(msg)


def _exact_rows(kernel: object) -> tuple[tuple[int | Fraction, ...], ...] | None:
    """The rows of a nested sequence or an object array if all entries are integers or Fractions; else None."""
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
    """A rational number of any class as Python's own."""
    top, bottom = int(entry.numerator), int(entry.denominator)
    return top if bottom == 1 else Fraction(top, bottom)


def _require_size(entry: Entry, row: int) -> None:
    if isinstance(entry, float) and not isfinite(entry):
        raise ConvcostError(f"entry (={entry}, row {row}) must be a finite number; replace it.")
    exact = Fraction(entry)
    if entry and not MIN_ENTRY <= abs(exact) <= MAX_ENTRY:
        shown = Decimal(exact.numerator) / exact.denominator  # a float would be 0 or inf
        msg = f"entry (={shown:.2e}, row {row}) must be 0 or between 1e-100 and 1e100 in size; scale the matrix."
        raise ConvcostError(msg)

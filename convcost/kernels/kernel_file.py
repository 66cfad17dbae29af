"""Kernels as users name them: a file (CSV or .npy), a named kernel, or typed numbers."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convcost.kernels.matrix import MAX_SIDE, Matrix, matrix_of, require_two_axes
from convcost.kernels.named import KERNELS, named_kernel, unknown_kernel
from convcost.kernels.text import parse_matrix, parse_table
from convcost.text.errors import ConvcostError
from convcost.text.input_file import is_file, read_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAX_BYTES: Final = 2**20
"""Size of a file: 127 × 127 numbers of 60 characters."""
NPY: Final = b"\x93NUMPY"
PICKLE: Final = b"\x80"
"""The first byte of every pickle since protocol 2."""
PICKLE_SUFFIXES: Final = (".pkl", ".pickle", ".p")
SUFFIXES: Final = (".csv", ".tsv", ".txt", ".npy", *PICKLE_SUFFIXES)


def find_kernel(text: str, parameters: Mapping[str, float | None] | None = None) -> Matrix:
    """The kernel behind a text: `sobel`, `kernel.csv`, `kernel.npy` or `1 0 -1; 2 0 -2; 1 0 -1`.

    Args:
        text: Name, path or numbers.
        parameters: Size, sigma, theta, wavelength and gamma of named kernels; None for the default.

    Raises:
        ConvcostError: The name is unknown, the file holds no matrix, or the numbers are no kernel.
    """
    used = {name: value for name, value in (parameters or {}).items() if value is not None}
    word = text.strip()
    is_path = word.lower().endswith(SUFFIXES) or "\\" in word or word.startswith(("./", "../", "/", "~"))
    is_path = is_path or (word.lower() not in KERNELS and is_file(Path(word)))
    is_name = re.fullmatch(r"[A-Za-z][\w-]*", word) is not None and word.lower() not in {"nan", "inf", "infinity"}
    if is_name and not is_path:
        return named_kernel(word, **used)
    if used:
        name, value = next(iter(used.items()))
        msg = f"{name} (={value}) must go with a named kernel that has one, such as gaussian; leave it out."
        raise ConvcostError(msg)
    if is_path:
        return read_matrix(Path(word).expanduser())
    if word and not re.search(r"\d", word) and not re.search(r"[\s,;]", word) and word.lower() not in {"nan", "inf"}:
        raise unknown_kernel(word)
    return parse_matrix(word)


def read_matrix(path: Path) -> Matrix:
    """The matrix in a CSV or `.npy` file, or in a pipe. A pickle is refused without being loaded.

    Raises:
        ConvcostError: The file cannot be read, is a pickle, or holds no kernel.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise _pickle(path)
    data = read_file(path, "file", "give the path of a CSV or .npy file with a kernel alone", MAX_BYTES)
    if data.startswith(PICKLE):
        raise _pickle(path)
    held = _array_of(data, path) if data.startswith(NPY) else _text_of(data, path)
    try:
        return parse_table(held, path.name) if isinstance(held, str) else matrix_of(held, path.name)
    except ConvcostError as error:
        raise ConvcostError(f"{path}: {error}") from error


def _text_of(data: bytes, path: Path) -> str:
    if path.suffix.lower() == ".npy":
        raise ConvcostError(f"file (={path}) must begin as NumPy's .npy files do; save it with numpy.save.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConvcostError(f"file (={path}) must be text in UTF-8 or a .npy file; save it as one of them.") from error


def _array_of(data: bytes, path: Path) -> NDArray[Any]:
    """The array in a `.npy` file, whose header is checked before memory is allocated for it."""
    import numpy as np

    file = BytesIO(data)
    try:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, by_columns, dtype = readers[np.lib.format.read_magic(file)](file)
    except Exception as error:  # NumPy raises many kinds for a damaged header
        raise _damaged(path, error) from error
    if dtype.hasobject:
        raise _pickle(path)
    require_two_axes(str(path), shape)
    if max(shape) > MAX_SIDE:
        msg = f"{path}: the matrix (={shape[0]}x{shape[1]}) must be at most {MAX_SIDE} on a side; cut the kernel out."
        raise ConvcostError(msg)
    try:
        return np.ndarray(shape, dtype, data, file.tell(), order="F" if by_columns else "C")
    except (ValueError, TypeError, OverflowError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ConvcostError:
    why = " ".join(str(error).split("\n")[0].split())[:160] or type(error).__name__
    return ConvcostError(f"file (={path}) must be a whole .npy file: {why}; save it again.")


def _pickle(path: Path) -> ConvcostError:
    return ConvcostError(
        f"file (={path}) must be no pickle, which could run any code when opened; "
        "save the matrix as CSV, or with numpy.save(..., allow_pickle=False)."
    )

"""Kernels from where the user points: a file (CSV or .npy), a named kernel, or typed numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.errors import ConvcostError
from convcost.kernels import named_kernel, unknown_kernel
from convcost.matrix import MOST_SIDE, Matrix, matrix_of, parse_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find_kernel", "read_matrix"]

MOST_BYTES: Final = 2**20
"""Of a text file: 127 × 127 numbers of 60 characters."""
NPY: Final = b"\x93NUMPY"
PICKLE: Final = b"\x80"
"""The first byte of every pickle since protocol 2."""
PICKLE_SUFFIXES: Final = (".pkl", ".pickle", ".p")
SUFFIXES: Final = (".csv", ".tsv", ".txt", ".npy", *PICKLE_SUFFIXES)


def find_kernel(text: str, parameters: Mapping[str, float | None] | None = None) -> Matrix:
    """The kernel that a user named: `sobel`, `kernel.csv`, `kernel.npy` or `1 0 -1; 2 0 -2; 1 0 -1`.

    Args:
        text: what the user typed.
        parameters: size, sigma, theta, wavelength and gamma of named kernels that have them; None: not given.

    Raises:
        ConvcostError: no such name, a file that is no matrix, or numbers that are no kernel.
    """
    used = {name: value for name, value in (parameters or {}).items() if value is not None}
    word = text.strip()
    is_path = word.lower().endswith(SUFFIXES) or "\\" in word or word.startswith(("./", "../", "/", "~"))
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
    """The matrix in a CSV or `.npy` file. A pickle is refused before it is opened as one.

    Raises:
        ConvcostError: a file that is not there, cannot be read, is a pickle, or holds no kernel.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise _pickle(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(NPY))
        size = path.stat().st_size
    except OSError as error:
        msg = f"file (={path}) must be a CSV or .npy file that can be read: {error.strerror}; check the path."
        raise ConvcostError(msg) from error
    if start.startswith(PICKLE):
        raise _pickle(path)
    if start == NPY:
        return _read_npy(path)
    if path.suffix.lower() == ".npy":
        msg = f"file (={path}) must begin as NumPy's .npy files do; save it with numpy.save."
        raise ConvcostError(msg)
    if size > MOST_BYTES:
        msg = f"file (={path}, {size} bytes) must be at most {MOST_BYTES} bytes of numbers; cut the kernel out."
        raise ConvcostError(msg)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"file (={path}) must be text in UTF-8 or a .npy file; save it as one of them."
        raise ConvcostError(msg) from error
    try:
        return parse_matrix(text, path.name)
    except ConvcostError as error:
        msg = f"{path}: {error}"
        raise ConvcostError(msg) from error


def _read_npy(path: Path) -> Matrix:
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        if "pickle" in str(error).lower() or "python objects" in str(error).lower():
            raise _pickle(path) from error
        msg = f"file (={path}) must be a whole .npy file: {str(error).partition(chr(10))[0]}; save it again."
        raise ConvcostError(msg) from error
    if array.ndim == 2 and max(array.shape) > MOST_SIDE:  # noqa: PLR2004 - before any of it is read
        msg = f"{path}: the matrix (={array.shape[0]}x{array.shape[1]}) must be at most {MOST_SIDE} on a side; cut it."
        raise ConvcostError(msg)
    return matrix_of(np.array(array), path.name)


def _pickle(path: Path) -> ConvcostError:
    return ConvcostError(
        f"file (={path}) must be no pickle, which could run any code when opened; "
        "save the matrix as CSV, or with numpy.save(..., allow_pickle=False)."
    )

"""Kernels as text: typed numbers, with `;` between rows, or the text of a file, with a row on each line."""

from __future__ import annotations

import csv
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from convcost.kernels.matrix import DOUBLE_EPS, Entry, Matrix
from convcost.text.errors import ConvcostError, as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXACT_DIGITS: Final = 12
"""Significant digits of an exact decimal; one with more is taken as a printed float64."""
SEPARATORS: Final = (";", ",", "\t")
_NUMBER = re.compile(r"[+-]?(?:(\d{1,400})/(\d{1,400})|(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][+-]?\d{1,3})?)")
_BETWEEN_BRACKETS = re.compile(r"\]\s*[,;]?\s*\[")


def parse_matrix(text: str) -> Matrix:
    """A typed matrix, such as `1 0 -1; 2 0 -2; 1 0 -1` or `[[1, 2], [3, 4]]`.

    Integers, fractions (1/16) and decimals of up to 12 digits are exact; one longer decimal makes all numbers floats.

    Raises:
        ConvcostError: The text is no kernel, see `Matrix`.

    >>> parse_matrix("1/4, 0.5, 1/4").entries
    ((Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)),)
    """
    bare = _BETWEEN_BRACKETS.sub(";", _with_hyphens(text)).strip().strip("[]")
    lines = [line for line in re.split(r"[;\n]", bare) if line.strip()]
    return _matrix(_one_line(lines), [_words(line, row) for row, line in enumerate(lines, 1)])


def parse_table(text: str, name: str) -> Matrix:
    """The matrix in a text file: a row on each line, with `;`, `,`, TAB or spaces between its numbers.

    Cells may stand in double quotes.

    Raises:
        ConvcostError: The text has two kinds of separators, or is no kernel, see `Matrix`.
    """
    plain = _with_hyphens(text)
    marks = [mark for mark in SEPARATORS if mark in plain]
    if len(marks) > 1:
        used = " and ".join("TAB" if mark == "\t" else mark for mark in marks)
        msg = f"separators (={used}) must be of one kind in a file; write decimals with a point, each row on its line."
        raise ConvcostError(msg)
    lines = [line for line in plain.splitlines() if line.strip()]
    if not marks:
        return _matrix(name, [line.split() for line in lines])
    try:
        rows = [[cell.strip() for cell in cells] for cells in csv.reader(lines, delimiter=marks[0])]
    except csv.Error as error:
        raise ConvcostError(f"the text must be CSV: {error}; write the numbers without quotes.") from error
    for row, cells in enumerate(rows, 1):
        _require_one_number_each(cells, row)
    return _matrix(name, rows)


def _matrix(name: str, rows: Iterable[Sequence[str]]) -> Matrix:
    entries = [tuple(_entry(word, row) for word in words) for row, words in enumerate(rows, 1)]
    if any(isinstance(entry, float) for row in entries for entry in row):
        return Matrix(name, tuple(tuple(float(entry) for entry in row) for row in entries), DOUBLE_EPS)
    return Matrix(name, tuple(entries))


def _with_hyphens(text: str) -> str:
    """The text with hyphens for typographic minus signs."""
    return text.replace("\N{MINUS SIGN}", "-")


def _words(line: str, row: int) -> list[str]:
    cells = [cell.split() for cell in re.split(r"[,\t]", line)]
    if len(cells) > 1 and not all(cells):
        raise _empty_cell(line, row)
    return [word for cell in cells for word in cell]


def _require_one_number_each(cells: Sequence[str], row: int) -> None:
    for cell in cells:
        if not cell:
            raise _empty_cell(", ".join(cells), row)
        if len(cell.split()) > 1:
            msg = f"cell (={as_text(cell)}, row {row}) must be one number; in a file each row is a line of its own."
            raise ConvcostError(msg)


def _empty_cell(line: str, row: int) -> ConvcostError:
    return ConvcostError(f"row {row} (={as_text(line)}) must have a number in every cell; write 0 for an empty one.")


def _entry(word: str, row: int) -> Entry:
    match = _NUMBER.fullmatch(word)
    if match is None or (match[2] is not None and not int(match[2])):
        msg = f"entry (={as_text(word)}, row {row}) must be a finite number; write it as 2, -1, 0.5 or 1/16."
        raise ConvcostError(msg)
    digits = re.split("[eE]", word)[0].lstrip("+-0.").replace(".", "")
    if match[1] is None and len(digits) > EXACT_DIGITS and ("." in word or "e" in word.lower()):
        return float(word)
    value = Fraction(word)
    return value.numerator if value.denominator == 1 else value


def _one_line(lines: Sequence[str]) -> str:
    """The numbers on one line, cut to the size of a table's cell."""
    return as_text("; ".join(" ".join(line.replace(",", " ").split()) for line in lines))

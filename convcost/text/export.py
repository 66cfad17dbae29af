"""Machine-readable output: CSV, JSON, Markdown, LaTeX, Parquet and XLSX, from columns and rows.

Values are in raw base units. An integer that a kind of file cannot hold exactly becomes text or a decimal.
"""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from io import StringIO
from math import isnan
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from convcost.text.errors import HIDDEN, as_escape, encodable
from convcost.text.table import escaped, markdown_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from convcost.text.columns import Column

R = TypeVar("R")
INT64_MAX: Final = 2**63 - 1
XLSX_MAX_CHARACTERS: Final = 32_767
"""Maximum number of characters in a cell."""
FLOAT64_EXACT: Final = 2**53
DECIMAL128_DIGITS: Final = 38
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_ESCAPED_IN_JSON: Final = re.compile(rf"[\x7f-\x9f\u2028\u2029{HIDDEN}]|(?<=#)#(?=\[)")
"""Characters that a terminal obeys, that UTF-8 cannot hold, or that make a command of a line on a GitHub runner."""


def frame(columns: Sequence[Column[R]], rows: Sequence[R]) -> pd.DataFrame:
    """The rows as a DataFrame of Python objects: exact integers, sizes as `3x3`, None for missing values."""
    import pandas as pd

    data = {column.name: [_encodable(column.in_file(row)) for row in rows] for column in columns}
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in data.items()})


def _encodable(value: object) -> object:
    return encodable(value) if isinstance(value, str) else value


def _each(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """The table with each cell changed, as columns of objects: pandas would make floats of integers beside a None."""
    import pandas as pd

    plain = {name: table[name].astype(object).where(table[name].notna(), None) for name in table}
    return pd.DataFrame(
        {name: pd.Series([change(value) for value in series], dtype=object) for name, series in plain.items()}
    )


def _neutral(value: Any) -> Any:  # noqa: ANN401 - a cell has any type, and keeps it
    """The value; a text that a spreadsheet would run as a formula gets a leading apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _blank(value: object) -> str:
    """The value as text: floats with six digits, None as an empty text."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _csv(table: pd.DataFrame) -> str:
    safe = _each(table, _neutral)
    breaks = any(isinstance(value, str) and "\r" in value for name in safe for value in safe[name])
    quoting: Literal[0, 1] = 1 if breaks else 0  # csv.QUOTE_ALL: pandas leaves a lone carriage return unquoted
    return str(safe.to_csv(index=False, lineterminator="\n", quoting=quoting))


def csv_lines(columns: Sequence[Column[R]], rows: Sequence[R]) -> list[str]:
    """The lines of the CSV without their ends: the head, then one for each row; as in pandas, NaN is no value."""
    table: list[list[object]] = [[column.name for column in columns]]
    table += ([column.in_file(row) for column in columns] for row in rows)
    lines = []
    for cells in table:
        line = StringIO()
        csv.writer(line).writerow(
            None if isinstance(cell, float) and isnan(cell) else _neutral(_encodable(cell)) for cell in cells
        )
        lines.append(line.getvalue().removesuffix("\r\n"))
    return lines


def _markdown(table: pd.DataFrame) -> str:
    text = _each(_each(table, _neutral), _blank).map(escaped)
    return markdown_table(list(map(str, text)), zip(*(text[name] for name in text), strict=True))


def json_text(payload: Mapping[str, Any]) -> str:
    """A JSON object as indented text, with exact integers of any size; characters that could do harm are escapes."""
    return _ESCAPED_IN_JSON.sub(as_escape, json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


TEXT_FORMATS: Final[Mapping[str, Callable[[pd.DataFrame], str]]] = {
    "csv": _csv,
    "markdown": _markdown,
}
"""The functions that write a table as text, by the name of the format."""


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    typed = _each(table, lambda value: value)
    for name in typed:
        values = [value for value in typed[name] if value is not None]
        if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            typed[name] = _exact_integers(typed[name])
        elif values and all(isinstance(value, float) for value in values):
            typed[name] = typed[name].astype("float64")
        elif values and all(isinstance(value, bool) for value in values):
            typed[name] = typed[name].astype("boolean")
    path.write_bytes(typed.to_parquet(index=False, engine="pyarrow"))  # pyarrow takes no path that is not UTF-8


def _exact_integers(series: pd.Series[Any]) -> pd.Series[Any]:
    largest = max(abs(value) for value in series if value is not None)
    if largest <= INT64_MAX:
        return series.astype("Int64")
    write = Decimal if len(str(largest)) <= DECIMAL128_DIGITS else str
    return series.map(lambda value: None if value is None else write(value))


def _write_xlsx(table: pd.DataFrame, path: Path) -> None:
    with _excel_writer(path) as writer:
        _each(_each(table, _neutral), _xlsx_cell).to_excel(writer, index=False, sheet_name="convcost")


def _xlsx_cell(value: Any) -> Any:  # noqa: ANN401 - a cell has any type, and keeps it
    """The value; an integer or a text that no cell can hold as text instead."""
    if isinstance(value, int) and abs(value) > FLOAT64_EXACT:
        return str(value)
    if isinstance(value, str) and len(value) > XLSX_MAX_CHARACTERS:
        return f"({len(value)} characters, more than a cell holds: see the CSV or the JSON)"
    return value


def _excel_writer(path: Path) -> pd.ExcelWriter[Any]:
    import pandas as pd

    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    return pd.ExcelWriter(path, engine="xlsxwriter", engine_kwargs={"options": options})


SUFFIXES: Final = {
    ".csv": "csv",
    ".json": "json",
    ".md": "markdown",
    ".tex": "latex",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".html": "html",
    ".svg": "svg",
    ".png": "png",
}
"""The kinds of export by suffix."""
DRAWN: Final = frozenset({"html", "svg", "png"})
"""The kinds that need the libraries of figures."""


def write(kind: str, table: pd.DataFrame, payload: Mapping[str, Any], path: Path) -> None:
    """Write one export.

    Args:
        kind: Kind of the export, a value of `SUFFIXES`; not "latex" nor one of `DRAWN`, which need the result.
        table: Rows, from `to_frame` of a result.
        payload: JSON object.
        path: Path of the file.
    """
    if kind == "parquet":
        _write_parquet(table, path)
    elif kind == "xlsx":
        _write_xlsx(table, path)
    else:
        write_text(json_text(payload) if kind == "json" else TEXT_FORMATS[kind](table), path)


def write_text(text: str, path: Path) -> None:
    """Write a text as UTF-8 with the line ends that it has."""
    path.write_text(text, encoding="utf-8", newline="")

"""The page of a result: one HTML file with its figures and its table, which opens offline and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from convcost.text.columns import shown_columns
from convcost.text.errors import one_line
from convcost.text.export import csv_lines
from convcost.text.figure import distinct, is_known, svg, themed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convcost.text.columns import Column
    from convcost.text.figure import Figure

LONG_TEXT: Final = 40
"""Number of characters beyond which the texts of a column are broken into lines."""
R = TypeVar("R")
"""Type of a row."""


class Texts(NamedTuple):
    """The lines of a page.

    Attributes:
        head: Line above all.
        verdicts: Lines under it.
        remarks: Remarks with their kinds: note, warning or error.
        below: Texts of several lines at the end.
        names: Names of the rows in the figures.
    """

    head: str
    verdicts: Sequence[str]
    remarks: Sequence[tuple[str, str]]
    below: Sequence[str]
    names: Sequence[str]


def page(
    texts: Texts,
    figures: Sequence[Figure],
    columns: Sequence[Column[R]],
    rows: Sequence[R],
    totals: R | None,
) -> str:
    """The page of a result: its head and verdicts, each figure under its sentence, and the table.

    The page works without JavaScript too, with figures that do not move. Its content security policy forbids every
    request, and every script but the two that it has.

    Args:
        texts: Lines of the page.
        figures: Figures of the result.
        columns: Columns to choose from: those that a terminal of any width shows.
        rows: Rows of the table.
        totals: Row of totals; None without one.
    """
    from jinja2 import Environment

    folder = Path(__file__).parent
    template = (folder / "page.html").read_text(encoding="utf-8")
    charts = [one.chart for one in figures if one.chart is not None]
    library = _library() if charts else ""
    own = (folder / "page.js").read_text(encoding="utf-8")
    chosen = shown_columns(columns, rows)
    shown: str = (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(template)
        .render(
            head=one_line(texts.head),
            verdicts=[one_line(line) for line in texts.verdicts],
            remarks=[(kind, one_line(line)) for kind, line in texts.remarks],
            below=texts.below,
            figures=[
                (one.sentence, None if one.chart is None else _static(svg(one.chart), index), one.numbers)
                for index, one in enumerate(figures)
            ],
            columns=chosen,
            texts=list(_text_columns(chosen, rows)),
            rows=((name, list(_cells(chosen, row))) for name, row in zip(distinct(texts.names), rows, strict=True)),
            totals=None if totals is None else list(_cells(chosen, totals)),
            count=len(rows),
            data=_data({"specs": [themed(chart) for chart in charts], "lines": csv_lines(columns, rows)}),
            style=(folder / "page.css").read_text(encoding="utf-8"),
            scripts=[library, own],
            hashes=[_hash(library), _hash(own)],
        )
    )
    return shown


def _text_columns(columns: Sequence[Column[R]], rows: Sequence[R]) -> Iterator[tuple[int, bool]]:
    """The place of each column of texts behind the first, counted from 1, and whether one of them is long."""
    for place, column in enumerate(columns[1:], 2):
        if not any(is_known(column.value(row)) for row in rows):
            yield place, any(len(column.text(row)) > LONG_TEXT for row in rows)


def _cells(columns: Sequence[Column[R]], row: R) -> Iterator[tuple[str, object]]:
    """The text of each cell, and its value where that is a number."""
    for column in columns:
        value = column.value(row)
        yield column.text(row), value if is_known(value) else None


def _library() -> str:
    """The JavaScript of figures; it is kept in the user's cache, since to bundle it takes a second."""
    from importlib.metadata import version

    from platformdirs import user_cache_path

    path = user_cache_path("convcost") / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError, ValueError):  # there is none, or it is no text
        written, _, script = path.read_text(encoding="utf-8").partition("\n")
        if written == _hash(script):
            return script
    import vl_convert

    script = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub lacks the default
    with suppress(OSError):  # a cache that cannot be written is none
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{_hash(script)}\n{script}", encoding="utf-8", newline="\n")
    return script


def _static(drawn: str, index: int) -> str:
    """An SVG for the page, with identifiers that no other figure of the page has."""
    return re.sub(r'(id="|url\(#|href="#)(?=clip|gradient)', rf"\g<1>f{index}-", drawn)


def _data(values: object) -> str:
    """Values as JSON that no text in them can end, inside a script element."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")


def _hash(script: str) -> str:
    """The hash of a script in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

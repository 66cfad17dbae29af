"""The page of a result: one HTML file with its figures and its table, which opens offline and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convcost.text.columns import shown_columns
from convcost.text.errors import one_line
from convcost.text.figure import svg, themed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.text.columns import Column
    from convcost.text.result import Result


def page(result: Result[Any]) -> str:
    """The page of a result: its head and verdicts, each figure under its sentence, and the table.

    The page works without JavaScript too, with figures that do not move. Its content security policy forbids every
    request, and every script but the two that it has.
    """
    import vl_convert
    from jinja2 import Environment

    folder = Path(__file__).parent
    template = (folder / "page.html").read_text(encoding="utf-8")
    figures = result.figures
    charts = [one.chart for one in figures if one.chart is not None]
    library = vl_convert.javascript_bundle() if charts else ""  # type: ignore[call-arg]  # its stub lacks the default
    own = (folder / "page.js").read_text(encoding="utf-8")
    columns = shown_columns(result.columns, result.rows)
    totals = result.totals_row
    shown: str = (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(template)
        .render(
            head=one_line(result.head),
            verdicts=[one_line(line) for line in result.verdicts],
            remarks=[(kind, one_line(line)) for kind, line in result.remarks],
            below=result.below,
            figures=[
                (one.sentence, None if one.chart is None else _static(svg(one.chart), index))
                for index, one in enumerate(figures)
            ],
            columns=columns,
            rows=(_cells(columns, row) for row in result.rows),
            totals=None if totals is None else list(_cells(columns, totals)),
            count=len(result.rows),
            specs=_data([themed(chart) for chart in charts]),
            style=(folder / "page.css").read_text(encoding="utf-8"),
            scripts=[library, own],
            hashes=[_hash(library), _hash(own)],
        )
    )
    return shown


def _cells(columns: list[Column[Any]], row: object) -> Iterator[tuple[str, object]]:
    """The text of each cell, and its value where that is a number."""
    for column in columns:
        value = column.value(row)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        yield column.text(row), value if is_number else None


def _static(drawn: str, index: int) -> str:
    """An SVG for the page, with identifiers that no other figure of the page has."""
    return re.sub(r'(id="|url\(#|href="#)(?=clip|gradient)', rf"\g<1>f{index}-", drawn)


def _data(values: object) -> str:
    """Values as JSON that no text in them can end, inside a script element."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")


def _hash(script: str) -> str:
    """The hash of a script in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

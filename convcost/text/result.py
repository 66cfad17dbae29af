"""The result of a command: a table with a head and lines of text, also as JSON, as a frame and in a notebook."""

from __future__ import annotations

import re
import sys
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from convcost.text.columns import shown_columns
from convcost.text.errors import one_line
from convcost.text.table import plain_table, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import altair as alt
    import pandas as pd

    from convcost.text.columns import Column
    from convcost.text.figure import Figure

R = TypeVar("R")
"""Type of a row."""


NOTEBOOK_WIDTH: Final = 100
"""Characters in a line of the terminal whose columns a notebook shows."""
_NUMBER: Final = r"\d+(?:x\d+)+|\d+(?:\.\d+)?"
"""A number, or sizes such as 1x64x56x56."""
MAX_NAMES: Final = 3
"""Maximum number of rows that a warning names."""


def grouped(rows: Iterable[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """The warnings of rows: those of the same rows in one line, with the range of their numbers and each advice once.

    Args:
        rows: Name and warnings of each row; what stands after the last colon of a warning is its advice.

    >>> grouped([("a", ["1 of 9 blocks: wait", "late: wait"]), ("b", ["3 of 9 blocks: wait", "late: wait"])])
    ('a, b: 1 to 3 of 9 blocks; late: wait',)
    >>> grouped([("a", ["late: wait", "short: go on"]), ("b", ["late: wait"])])
    ('a, b: late: wait', 'a: short: go on')
    """
    listed = list(rows)
    kinds: dict[str, dict[int, str]] = {}
    for index, (_, texts) in enumerate(listed):
        for text in texts:
            kinds.setdefault(re.sub(r"s\b", "", re.sub(_NUMBER, "0", text)), {})[index] = text
    together: dict[tuple[int, ...], list[str]] = {}
    for seen in kinds.values():
        together.setdefault(tuple(seen), []).append(_ranged(list(seen.values())))
    names = [name for name, _ in listed]
    return tuple(f"{_named(indices, names)}: {_advised(texts)}" for indices, texts in together.items())


def _named(indices: Sequence[int], names: Sequence[str]) -> str:
    """The names of rows if they are few; all, or all but few."""
    others = [name for index, name in enumerate(names) if index not in indices]
    if len(names) > MAX_NAMES and len(others) < len(indices) and len(others) <= MAX_NAMES:
        return f"all rows but {', '.join(others)}" if others else "all rows"
    more = len(indices) - MAX_NAMES
    return ", ".join(names[index] for index in indices[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _advised(texts: Sequence[str]) -> str:
    """The warnings in one line, those with the same advice before it."""
    reasons: dict[str, list[str]] = {}
    for text in texts:
        reason, _, advice = text.rpartition(": ")
        reasons.setdefault(advice, []).append(reason)
    return "; ".join(
        ": ".join(filter(None, ("; ".join(filter(None, several)), advice))) for advice, several in reasons.items()
    )


def _ranged(texts: Sequence[str]) -> str:
    """Texts that differ in their numbers as one, with the range of each number."""
    found = (re.findall(_NUMBER, text) for text in texts)
    numbers = [sorted(set(column), key=_amount) for column in zip(*found, strict=True)]
    shown = iter(values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}" for values in numbers)
    return re.sub(_NUMBER, lambda _: next(shown), max(texts, key=len))


def _amount(number: str) -> float:
    """The value of a number, or the product of sizes."""
    return prod(map(float, number.split("x")))


class Result(Generic[R]):
    """The base class of the results of commands and public functions.

    A subclass defines `columns`, `rows` and `head`, usually as fields. They are declared here for the type checker
    alone, since a dataclass would take a property of its base class for the default of its own field.

    Attributes:
        SCHEMA: Name and version of the JSON object.
    """

    __slots__ = ()
    SCHEMA: ClassVar[str]

    if TYPE_CHECKING:

        @property
        def columns(self) -> Sequence[Column[R]]:
            """The columns of the table and the frame; the JSON object always has all."""

        @property
        def rows(self) -> Sequence[R]:
            """The rows of the table and the frame."""

        @property
        def head(self) -> str:
            """The line above the table."""

    @property
    def totals_row(self) -> R | None:
        """The row of totals under the rows of a LaTeX table; None without one."""
        return None

    @property
    def caption(self) -> str:
        """The caption of a LaTeX table."""
        return f"{self.head}."

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The lines under the table."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the user."""
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to trust a row."""
        return ()

    @property
    def below(self) -> tuple[str, ...]:
        """Texts of several lines under the verdicts, such as the accounts of times."""
        return ()

    def name(self, row: R) -> str:
        """The name of a row in the figures."""
        return str(getattr(row, "name", None) or self.columns[0].text(row))

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures, the one that answers most first; they need `convcost[report]`.

        Raises:
            MissingPackageError: A library is not installed.
        """
        from convcost.text.figure import require_libraries

        require_libraries("a figure")
        return self._figures

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """The figures, where the libraries are installed."""
        return ()

    def figure(self) -> alt.TopLevelMixin:
        """The first figure that has something to show, as an Altair chart; it needs `convcost[report]`.

        Raises:
            ConvcostError: There is nothing to show, or a library is not installed.
        """
        from convcost.text.figure import first_chart

        return first_chart(self.figures)

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """The lines for stderr, each with its kind: note, warning or error."""
        return (*(("note", line) for line in self.notes), *(("warning", line) for line in self.warnings))

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the result."""
        return {"schema": self.SCHEMA, **self._fields()}

    def _fields(self) -> dict[str, Any]:
        """The fields of the JSON object, without its schema."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame with the columns of the CSV."""
        from convcost.text.export import frame

        return frame(self.columns, self.rows)

    def to_latex(self, caption: str | None = None, label: str | None = None) -> str:
        """A LaTeX table for a paper, with units in its heads; it needs booktabs, a long one longtable too.

        Args:
            caption: Caption; "auto" for that of the result; None or an empty one for a table without.
            label: Label for references, which need a number: without a caption the table gets that of the result.
        """
        from convcost.text.latex import Paper, paper_table

        text = self.caption if caption == "auto" or (label and not caption) else caption
        return paper_table(self.columns, self.rows, self.totals_row, Paper(text or None, label or None))

    def to_html(self) -> str:
        """A page with the figures and the table, which loads nothing; it needs `convcost[report]`.

        Raises:
            MissingPackageError: A library is not installed.
        """
        from convcost.text.figure import require_libraries
        from convcost.text.page import Texts, page

        require_libraries("a page")
        names = [self.name(row) for row in self.rows]
        texts = Texts(self.head, self.verdicts, self.remarks, self.below, names)
        return page(texts, self.figures, self.columns, self.rows, self.totals_row)

    def text(self, width: int | None = None) -> str:
        """Head, table and verdicts.

        Args:
            width: Width of the terminal in characters; None for no terminal, so that no line is broken.
        """
        table = f"{plain_table(self.columns, self.rows, width)}\n" if self.rows else ""
        verdicts = "".join(f"{wrapped(one_line(line), width)}\n" for line in self.verdicts)
        gap = "\n" if verdicts else ""
        return f"{wrapped(one_line(self.head), width)}\n{table}{gap}{verdicts}"

    def __str__(self) -> str:
        """Head, table, verdicts, notes and warnings; on a terminal with the columns that fit it."""
        import shutil

        width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
        below = (f"\n{text}" for text in self.below)
        remarks = (wrapped(f"{kind}: {one_line(line)}", width) for kind, line in self.remarks)
        return "\n".join((self.text(width).rstrip("\n"), *below, *remarks))

    def __repr__(self) -> str:
        """As `str`, since a prompt shows it."""
        return str(self)

    def _repr_html_(self) -> str:
        """Head, table, verdicts, notes and warnings as HTML, for notebooks."""
        from html import escape

        import pandas as pd

        shown = shown_columns(self.columns, self.rows, NOTEBOOK_WIDTH)
        cells = {column.title: [column.text(row) for row in self.rows] for column in shown}
        with pd.option_context("display.max_colwidth", None):
            table = pd.DataFrame(cells).to_html(index=False, border=0)
        lines = (*self.verdicts, *(f"{kind}: {line}" for kind, line in self.remarks))
        head = f"<caption>{escape(one_line(self.head))}</caption>"
        below = "".join(f"<div>{escape(one_line(line))}</div>" for line in lines)
        below += "".join(f"<pre>{escape(text)}</pre>" for text in self.below)
        return table.replace("\n", f"\n  {head}\n", 1) + below

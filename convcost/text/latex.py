"""LaTeX tables for papers: few columns, units in the heads, digits as people write them.

Numbers are plain, one unit a column, and their heads are in braces, so that `S` columns of siunitx can take them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from convcost.text.columns import shown_columns
from convcost.text.errors import one_line
from convcost.text.units import (
    DECIMAL_PREFIXES,
    STEP,
    TIMES,
    human_bytes,
    human_count,
    human_ratio,
    human_share,
    human_time,
    three_digits,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from convcost.text.columns import Column

R = TypeVar("R")
PAGE_WIDTH: Final = 80
"""Characters of a table that fit across a page."""
MAX_ROWS: Final = 45
"""Rows of a table that fit on a page; a longer one is a longtable."""
_GREEK: Final = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda nu xi pi rho sigma tau phi chi psi omega"
)
_CAPITALS: Final = "gamma delta theta lambda xi pi sigma phi psi omega"
_MATH: Final = {
    **{sign: sign for sign in "<>|"},
    "×": r"\times", "→": r"\to", "≥": r"\geq", "·": r"\cdot", "÷": r"\div", "√": r"\surd", "‖": r"\|",
    "\N{MINUS SIGN}": "-", "✓": r"\surd", "✗": r"\times", "⌊": r"\lfloor", "⌋": r"\rfloor",
    **dict(zip("αβγδεζηθικλνξπρστφχψω", map(r"\{}".format, _GREEK.split()), strict=True)),
    **{sign: rf"\{name.title()}" for sign, name in zip("ΓΔΘΛΞΠΣΦΨΩ", _CAPITALS.split(), strict=True)},
    **{sign: f"^{digit}" for sign, digit in zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)},
    **{sign: f"_{digit}" for sign, digit in zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)},
    "ᵀ": r"^\top",
}  # fmt: skip
"""Signs that pdflatex takes in formulas alone."""
_ESCAPES: Final = str.maketrans({
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{sign: f"${formula}$" for sign, formula in _MATH.items()},
    "–": "--", "…": r"\ldots{}", "µ": r"\textmu{}", "μ": r"\textmu{}", **dict.fromkeys("▁▂▃▄▅▆▇█", ""),
})  # fmt: skip
_MINUS: Final = re.compile(r"(?<![\w)])-(?=\d)")
"""The sign of a negative number."""
_TIMES: Final = re.compile(r"(?<![\w.])(\d+(x\d+)+|[\d.]+x)(?!\w)")
"""Sizes such as 3x3 and ratios such as 2.5x."""
_PREFIXED: Final = {human_count: "", human_bytes: "B"}
"""Units of the columns with decimal prefixes, by the function that shows their values."""


class Unit(NamedTuple):
    """The unit of a column: its symbol in the head, as LaTeX, and its size."""

    symbol: str
    size: float


class Paper(NamedTuple):
    """What surrounds a table in a paper.

    Attributes:
        caption: Caption; None for a table that does not float.
        label: Label for references; None without one.
    """

    caption: str | None = None
    label: str | None = None


def escaped(text: str) -> str:
    r"""Plain text as one line of LaTeX.

    >>> print(escaped("50 % of a_b"), escaped("1x3x8 → 1 µs"))
    50 \% of a\_b 1$\times$3$\times$8 $\to$ 1 \textmu{}s
    """
    times = _TIMES.sub(lambda match: match[0].replace("x", "×"), one_line(text))
    return _MINUS.sub("\N{MINUS SIGN}", times).translate(_ESCAPES).strip()


def paper_table(columns: Iterable[Column[R]], rows: Sequence[R], total: R | None = None, paper: Paper = Paper()) -> str:  # noqa: B008 - an immutable tuple
    """A table with the rules of booktabs; of more than a page, a longtable that repeats its head.

    Args:
        columns: Columns to choose from: those with a title that fit across a page.
        rows: Rows of the table.
        total: Row under the last rule; None without one.
        paper: Caption and label.
    """
    shown = shown_columns(columns, rows, PAGE_WIDTH)
    body, heads, kinds = [], [], ""
    for column in shown:
        unit = _unit(column, rows)
        cells = [_cell(column, row, unit) for row in (*rows, *([] if total is None else [total]))]
        title = escaped(column.title or column.name) + (f" ({unit.symbol})" if unit and unit.symbol else "")
        heads.append(f"{{{title}}}" if unit else title)
        kinds += "r" if unit else "l"
        body.append(cells)
    lines = [f"{' & '.join(cells)} \\\\" for cells in zip(*body, strict=True)]
    if total is not None:
        lines.insert(len(rows), r"\midrule")
    return (_long if len(rows) > MAX_ROWS else _floating)(kinds, f"{' & '.join(heads)} \\\\", lines, paper)


def _floating(kinds: str, head: str, lines: list[str], paper: Paper) -> str:
    """A tabular, inside a table if it has a caption or a label."""
    top = r"\toprule % needs \usepackage{booktabs}"
    table = [rf"\begin{{tabular}}{{{kinds}}}", top, head, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"]
    if paper != Paper():
        table = [r"\begin{table}", r"\centering", *_legend(paper), *table, r"\end{table}"]
    return "\n".join((*table, ""))


def _long(kinds: str, head: str, lines: list[str], paper: Paper) -> str:
    """A longtable, whose caption is inside."""
    legend = _legend(paper)
    top = [*legend[:-1], rf"{legend[-1]} \\"] if legend else []
    heads = [head, r"\midrule"]
    first = r"\toprule % needs \usepackage{booktabs, longtable}"
    begin = [
        rf"\begin{{longtable}}{{{kinds}}}",
        *top,
        first,
        *heads,
        r"\endfirsthead",
        r"\toprule",
        *heads,
        r"\endhead",
    ]
    return "\n".join((*begin, r"\bottomrule", r"\endlastfoot", *lines, r"\end{longtable}", ""))


def _legend(paper: Paper) -> list[str]:
    caption = [] if paper.caption is None else [rf"\caption{{{escaped(paper.caption)}}}"]
    return caption + ([] if paper.label is None else [rf"\label{{{one_line(paper.label)}}}"])


def _unit(column: Column[R], rows: Sequence[R]) -> Unit | None:
    """The unit in which the column's largest number has one to three digits before the point; None without numbers."""
    numbers = [abs(value) for row in rows if isinstance(value := column.value(row), int | float)]
    if not numbers or (column.show is None and column.cell is not None):
        return None
    largest = max(numbers)
    if column.show is None:
        return Unit("", 1)
    if column.show in _PREFIXED:
        power = 0
        while largest >= STEP ** (power + 1) and power + 1 < len(DECIMAL_PREFIXES):
            power += 1
        return Unit(f"{DECIMAL_PREFIXES[power]}{_PREFIXED[column.show]}", STEP**power)
    if column.show is human_time:
        symbol, size = next(((one, size) for one, size in TIMES if largest >= size), TIMES[-1])
        return Unit(symbol.translate(_ESCAPES), size)
    return Unit(r"\%", 0.01) if column.show is human_share else Unit("", 1) if column.show is human_ratio else None


def _cell(column: Column[R], row: R, unit: Unit | None) -> str:
    value = column.value(row)
    if value is None or value == ():
        return ""
    if unit is not None and isinstance(value, int | float):
        digits = _digits(value / unit.size, exact=isinstance(value, int) and unit.size == 1)
        sign = "" if column.mark is None else column.mark(row)
        before = rf"{escaped(sign)}\," if sign else ""
        after = r"\,!" if column.text(row).endswith("!") else ""
        return f"{{{before}{digits}{after}}}" if before or after else digits
    text = column.text(row)
    return escaped(f"{text[:-1]}(undecided)" if text.endswith(" ?") else text)


def _digits(value: float, *, exact: bool) -> str:
    """A number of three digits; with at most three after the point."""
    if exact or not value:
        return f"{value:.0f}"
    if abs(value) < 0.0005:  # noqa: PLR2004 - it would be 0.000
        return r"{$<$\,0.001}"
    return three_digits(value) if abs(value) >= 0.9995 else f"{value:.3f}"  # noqa: PLR2004 - rounds to 1.00

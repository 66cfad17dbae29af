"""The derivation of a block's cost as text, as Markdown and as LaTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.text.table import escaped, markdown_table, wrapped
from convcost.text.units import thousands

if TYPE_CHECKING:
    from collections.abc import Iterable

OUTPUT_SIZE: Final = "output size"
KNOWN_IN_A_ROW: Final = 4
"""Values of symbols on one line of LaTeX, so that it fits a column of text."""
MAX_LATEX_LINE: Final = 54
"""Characters of numbers and their value on one line of LaTeX."""
ENDLINE: Final = " \\\\\n"
_QUOTIENT: Final = re.compile(r"(?:\(([^()]+)\)|([\w·]+))/(?:\(([^()]+)\)|(\w+))")
_POWER: Final = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_DIGITS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_NAME: Final = re.compile(r"(?<![\\\w])[A-Za-z]\w+")
_SIGNS: Final = {
    "·": r" \cdot ",
    "×": r"\times",
    "\N{MINUS SIGN}": "-",
    "(": r"\left(",
    ")": r"\right)",
    "⌊": r"\left\lfloor ",
    "⌋": r"\right\rfloor ",
}


@dataclass(frozen=True, slots=True)
class Equation:
    """One line of a derivation.

    Attributes:
        block: Name of the block that is derived.
        part: Name of a stage; "total", or the name of the baseline, for the whole block.
        quantity: Name of what is derived, such as "MACs".
        symbols: Formula in symbols.
        numbers: The same formula in numbers.
        value: Value of the formula.
    """

    block: str
    part: str
    quantity: str
    symbols: str
    numbers: str
    value: int


@dataclass(frozen=True, slots=True)
class DerivationText:
    """The derivation of one block in the order in which it is written.

    Attributes:
        block: Name of the block.
        summary: Description of the block in one line.
        paper: Paper that introduced the block.
        known: Values of the symbols.
        legend: Meanings of the symbols.
        stages: Output sizes, MACs and parameters of each stage.
        totals: MACs, parameters and FLOPs of the block, each followed by the baseline's.
        verdict: Ratio to the baseline, in words, symbols, numbers and as a value; None without one.
    """

    block: str
    summary: str
    paper: str
    known: str
    legend: str
    stages: tuple[Equation, ...]
    totals: tuple[Equation, ...]
    verdict: tuple[str, str, str, str] | None

    def text(self, width: int | None) -> str:
        """The derivation as lines of text.

        Args:
            width: Width of the terminal in characters; None for no terminal, so that no line is broken.
        """
        lines = [
            f"{self.block}: {self.summary}",
            f"  paper: {self.paper}",
            f"  with {self.known}",
            f"  where {self.legend}",
        ]
        stage = ""
        for one in self.stages:
            start = f"  {one.part}: "
            label = f"{start if one.part != stage else ' ' * len(start)}{one.quantity}"
            lines += _broken(f"{label} = {one.symbols}", _result(one), len(start), width)
            stage = one.part
        for one in self.totals:
            lines += _broken(f"  {_total_label(one)} = {one.symbols}", _result(one), 2, width)
        if self.verdict is not None:
            what, symbols, numbers, value = self.verdict
            lines += _broken(f"  {what} = {symbols}", f"{numbers} = {value}", 2, width)
        return "".join(f"{wrapped(line, width)}\n" for line in lines)

    def markdown(self) -> str:
        """The derivation as a heading, a table and the ratio to the baseline, in Markdown."""
        cells = (
            (one.part, one.quantity, one.symbols, one.numbers, thousands(one.value))
            for one in (*self.stages, *self.totals)
        )
        table = markdown_table(("part", "quantity", "in symbols", "in numbers", "value"), map(_cells, cells), right={4})
        paragraphs = (
            f"### {escaped(self.block)}",
            f"{escaped(self.summary)} {escaped(self.paper)}.",
            f"{escaped(self.known)}; 1 MAC = {FLOPS_PER_MAC} FLOPs. {escaped(self.legend)}.",
            table.rstrip("\n"),
            *([f"{escaped(' = '.join(self.verdict))}."] if self.verdict is not None else []),
        )
        return "\n\n".join(paragraphs) + "\n"

    def latex(self) -> str:
        """The derivation as one `align*` environment of amsmath, which MathJax shows too."""
        known = [latex_math(one) for one in self.known.split(", ")]
        known.append(rf"1\text{{ MAC}} = {FLOPS_PER_MAC}\text{{ FLOPs}}")
        rows = [r",\; ".join(known[start : start + KNOWN_IN_A_ROW]) for start in range(0, len(known), KNOWN_IN_A_ROW)]
        lines = [_latex_head(self.block), *(f"& {row}" for row in rows)]
        for stage, equations in groupby(self.stages, lambda one: one.part):
            lines.append(_latex_head(stage))
            for one in equations:
                lines += _latex_lines(_latex_label(one.quantity), one.symbols, one.numbers, thousands(one.value))
        lines.append(_latex_head("total"))
        for one in self.totals:
            label = one.quantity if one.part == "total" or one.quantity.startswith(OUTPUT_SIZE) else one.part
            lines += _latex_lines(_latex_label(label), one.symbols, one.numbers, thousands(one.value))
        if self.verdict is not None:
            what, symbols, numbers, value = self.verdict
            ratio, _, words = value.partition(": ")
            lines += [_latex_head(f"{what}, {words}"), *_latex_lines("", symbols, numbers, ratio)]
        body = ENDLINE.join(f"  {line}" for line in lines)
        return f"\\begin{{align*}}\n{body}\n\\end{{align*}}\n"


def _result(one: Equation) -> str:
    return f"{one.numbers} = {thousands(one.value)}"


def _total_label(one: Equation) -> str:
    if one.part != "total":
        return f"  {one.part}: {one.quantity}" if one.quantity.startswith(OUTPUT_SIZE) else f"  against {one.part}"
    factor = f" ({FLOPS_PER_MAC} per MAC, N samples)" if one.quantity == "FLOPs" else ""
    return f"total {one.quantity}{factor}"


def _broken(start: str, end: str, indent: int, width: int | None) -> list[str]:
    """An equation on one line, or on two where the terminal is too narrow."""
    line = f"{start} = {end}"
    return [line] if width is None or len(line) <= width else [start, f"{' ' * (indent + 4)}= {end}"]


def _cells(row: Iterable[str]) -> list[str]:
    return list(map(escaped, row))


def _latex_head(text: str) -> str:
    return rf"& \textbf{{{_latex_text(text)}}}\colon"


def _latex_label(quantity: str) -> str:
    name = quantity.removeprefix(f"{OUTPUT_SIZE} ")
    return rf"\text{{{_latex_text(quantity)}}}" if name == quantity else latex_math(name)


def _latex_lines(label: str, symbols: str, numbers: str, value: str) -> list[str]:
    """An equation on two lines or three, aligned at the equals signs; symbols side by side are multiplied."""
    end = f"{'' if len(numbers) + len(value) <= MAX_LATEX_LINE else ENDLINE + '  &'}= {value.replace(',', '{,}')}"
    product = latex_math(symbols).replace(r" \cdot ", r" \, ")
    return [f"{label} &= {product}".lstrip(), f"&= {latex_math(numbers)} {end}"]


def _latex_text(text: str) -> str:
    """Plain text of a name as text in LaTeX mathematics; the names of blocks have no other special characters."""
    return re.sub(r"[{}$&#%_]", r"\\\g<0>", text)


def latex_math(text: str) -> str:
    r"""A formula of a derivation as LaTeX mathematics.

    >>> print(latex_math("m·(1/O + 1/K²)"))
    m \cdot \left(\frac{1}{O} + \frac{1}{K^{2}}\right)
    >>> print(latex_math("N × OH × K_h"))
    N \times \mathit{OH} \times K_{h}
    """
    formula = _QUOTIENT.sub(lambda one: rf"\frac{{{one[1] or one[2]}}}{{{one[3] or one[4]}}}", text)
    formula = _POWER.sub(lambda one: f"^{{{one[0].translate(_DIGITS)}}}", formula)
    formula = _NAME.sub(_latex_name, formula)
    for sign, command in _SIGNS.items():
        formula = formula.replace(sign, command)
    return formula


def _latex_name(match: re.Match[str]) -> str:
    """A symbol or word of several letters, such as OH, K_h or stride."""
    name, _, index = match[0].partition("_")
    letters = name if len(name) == 1 else rf"\math{'rm' if name.islower() else 'it'}{{{name}}}"
    return f"{letters}_{{{index}}}" if index else letters

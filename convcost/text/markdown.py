"""Tables and plain text in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.text.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Iterable[str]], right: Container[int] = ()) -> str:
    """A table.

    Args:
        heads: Heads of the columns.
        rows: Cells of each row, as Markdown.
        right: Indices of the columns that are aligned to the right.

    >>> print(markdown_table(["name", "MACs"], [["`a`", "12"]], right={1}), end="")
    | name | MACs |
    |---|---:|
    | `a` | 12 |
    """
    rules = "|".join("---:" if index in right else "---" for index in range(len(heads)))
    return f"| {' | '.join(heads)} |\n|{rules}|\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def escaped(text: str) -> str:
    """Plain text as one line of Markdown that shows it as it is, in a table too."""
    line = " ".join(one_line(text).split())
    for sign in "\\`*_|[]":
        line = line.replace(sign, f"\\{sign}")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

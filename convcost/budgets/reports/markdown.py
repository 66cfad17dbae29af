"""A check as a Markdown document: what stands in a pull request and in a job's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.budgets.result import remedy_text
from convcost.text.columns import shown_columns
from convcost.text.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convcost.budgets.result import BudgetResult, CheckResult

__all__ = ["check_markdown", "cut", "refusal_markdown"]

ICONS: Final = {"pass": "✅", "warn": "⚠️", "fail": "❌", "inconclusive": "❔", "skipped": "➖"}
MOST_CHANGES: Final = 50
"""Rows of a budget's table of layers; more are summed up in a line."""


def check_markdown(result: CheckResult) -> str:
    """The verdicts as a table, then for each budget what changed and what would help."""
    return "\n".join(_lines(result)) + "\n"


def refusal_markdown(lines: Sequence[str]) -> str:
    """Why nothing was checked, one line a mistake."""
    return "\n".join(["### convcost: not checked", "", *(f"- {_escaped(line)}" for line in lines)]) + "\n"


def cut(text: str, most: int) -> str:
    """A document of at most so many bytes of UTF-8, cut between lines; the last line says that it was."""
    if len(text.encode()) <= most:
        return text
    kept, note = [], "\n… cut here: the whole is in the job's log and in --format json.\n"
    left = most - len(note.encode())
    for line in text.splitlines(keepends=True):
        left -= len(line.encode())
        if left < 0:
            break
        kept.append(line)
    return "".join(kept) + note if most >= len(note.encode()) else ""


def _lines(result: CheckResult) -> Iterator[str]:
    yield f"### convcost: {'within budget' if result.passed else result.verdict}"
    yield ""
    if result.rows:
        columns = [column for column in shown_columns(result.columns, result.rows) if column.name != "verdict"]
        heads = [*(column.name for column in columns), "verdict"]
        body = [[*(column.text(row) for column in columns), f"{ICONS[row.verdict]} {row.said}"] for row in result.rows]
        yield from _table(heads, body, left=2)
    for one in result.budgets:
        yield from _budget(one)
    for note in result.warnings:
        yield f"> {_escaped(note)}"


def _budget(one: BudgetResult) -> Iterator[str]:
    name = _escaped(one.budget.name)
    if one.error is not None:
        yield f"- **{name}** could not be {'checked' if one.entry is None else 'timed'}: {_escaped(one.error)}"
    for judged in one.judged:
        if judged.verdict != "pass":
            where = f" ({_escaped(judged.source)})" if judged.source else ""
            yield f"- **{name}** {judged.limit.metric}: {_escaped(judged.reason)}{where}"
    if one.failures and one.budget.message:
        yield f"- {_escaped(one.budget.message)}"
    if one.remedy is not None:
        yield f"- back under budget: {_escaped(remedy_text(one.remedy))}"
    yield ""
    real = [change for change in one.changes if change.kind != "renamed"]
    if one.changes:
        against = f"{name} against {_escaped(one.compared_with)}"
        yield f"<details{' open' if one.failures else ''}><summary>{against}</summary>"
        yield ""
        if real:
            heads = ("layer", "change", "params_delta", "macs_delta")
            body = [
                (change.layer, change.text, f"{change.params_delta:+,}", f"{change.macs_delta:+,}")
                for change in real[:MOST_CHANGES]
            ]
            yield from _table(heads, body, left=2)
        if len(real) > MOST_CHANGES:
            yield f"and {len(real) - MOST_CHANGES} more layers"
        yield from (_escaped(line) for line in one.change_lines(0))  # those that only have another name
        yield ""
        yield "</details>"
        yield ""


def _table(heads: Sequence[str], body: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join(':--' if index < left else '--:' for index in range(len(heads)))}|"
    for row in body:
        yield f"| {' | '.join(map(_escaped, row))} |"
    yield ""


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a table too."""
    line = " ".join(one_line(text).split())
    for sign in "\\`*_|[]":
        line = line.replace(sign, f"\\{sign}")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

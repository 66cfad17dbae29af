"""A check as GitHub's workflow commands: annotations on the lines of the limits, and the job's summary."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.budgets.reports.markdown import cut
from convcost.budgets.result import remedy_text
from convcost.text.errors import one_line
from convcost.text.toml_places import TomlError, split_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.budgets.result import BudgetResult, CheckResult
    from convcost.budgets.verdict import Judgement
    from convcost.text.errors import ConvcostError

__all__ = ["refusal_commands", "workflow_commands", "write_summary"]

SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"
MOST: Final = 10
"""GitHub shows ten annotations of a step."""
SUMMARY_BYTES: Final = 1024 * 1024
"""GitHub refuses a larger summary of a step."""
REFUSED: Final = "convcost: not checked"
KINDS: Final = {"fail": "error", "warn": "warning", "inconclusive": "warning"}


def workflow_commands(result: CheckResult) -> list[str]:
    """At most ten lines, failures first; the last one says how many more there are.

    Paths are relative to GITHUB_WORKSPACE, or to this folder.
    """
    lines = chain.from_iterable(map(_annotated, result.budgets))
    return _at_most_ten(sorted(lines, key=lambda line: not line.startswith("::error")))


def refusal_commands(error: ConvcostError) -> list[str]:
    """What keeps a check from being done, one line a mistake, each at its place where it has one."""
    if not isinstance(error, TomlError):
        return [_command("error", "", REFUSED, line) for line in error.lines]
    places = (f"{error.source}:{one.place.line}:{one.place.column}" for one in error.mistakes)
    return _at_most_ten(
        [_command("error", at, REFUSED, one.text) for at, one in zip(places, error.mistakes, strict=True)]
    )


def _at_most_ten(lines: list[str]) -> list[str]:
    if len(lines) <= MOST:
        return lines
    head = lines[MOST - 1].split("::")[1]
    return [*lines[: MOST - 1], f"::{head}::and {len(lines) - MOST + 1} more: see the log of this step"]


def _annotated(one: BudgetResult) -> Iterator[str]:
    if one.error is not None:
        yield _command("error", one.budget.source, f"convcost {one.budget.name}", one_line(one.error))
    for judged in one.judged:
        if judged.verdict in KINDS:
            title = f"convcost {one.budget.name}: {judged.limit.metric}"
            yield _command(KINDS[judged.verdict], judged.source, title, _text(one, judged))


def _text(one: BudgetResult, judged: Judgement) -> str:
    """The reason, the largest changes and what would help, one a line."""
    parts = [judged.reason]
    if one.failures:
        parts += [*(one.budget.message or "").splitlines(), *one.change_lines(3)]
    if one.remedy is not None:
        parts.append(f"back under budget: {remedy_text(one.remedy)}")
    return "\n".join(map(one_line, filter(None, parts)))


def _command(kind: str, source: str, title: str, text: str) -> str:
    """One workflow command with its properties and its text escaped."""
    path, *numbers = split_source(source)
    given = zip(("file", "line", "col"), (_property(_relative(path)), *numbers), strict=False) if path else ()
    properties = ",".join([*(f"{name}={value}" for name, value in given), f"title={_property(one_line(title))}"])
    return f"::{kind} {properties}::{_data(text)}"


def _relative(path: str) -> str:
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    resolved = Path(path).resolve()
    return (resolved.relative_to(root) if resolved.is_relative_to(root) else Path(path)).as_posix()


def _data(text: str) -> str:
    """Source: github.com/actions/toolkit, packages/core/src/command.ts (escapeData)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Source: the same file (escapeProperty)."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def write_summary(markdown: str) -> str | None:
    """Add a document to the job's summary, where there is one, within GitHub's limit.

    Returns:
        Why it could not be written; None when it was, or when nobody asked.
    """
    name = os.environ.get(SUMMARY_VARIABLE)
    if not name:
        return None
    path = Path(name)
    try:
        held = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8") as file:
            file.write(cut(markdown, max(0, SUMMARY_BYTES - held)))
    except OSError as error:
        return f"{SUMMARY_VARIABLE} (={name}) could not be written ({error.strerror}); the verdicts above are complete."
    return None

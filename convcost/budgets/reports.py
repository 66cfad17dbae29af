"""Reports of a check: Markdown, GitHub's workflow commands, and JUnit XML."""

from __future__ import annotations

import os
import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from convcost.budgets.advice import acceptance
from convcost.text.columns import shown_columns
from convcost.text.errors import one_line
from convcost.text.table import escaped, markdown_table
from convcost.text.toml import TomlError, split_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from convcost.budgets.result import BudgetResult, CheckResult
    from convcost.budgets.verdict import Judgement
    from convcost.text.errors import ConvcostError


SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"
MAX_ANNOTATIONS: Final = 10
"""Maximum number of annotations that GitHub shows for a step."""
MAX_SUMMARY_BYTES: Final = 1024 * 1024
"""Maximum size of a step's summary that GitHub accepts."""
REFUSED: Final = "convcost: not checked"
KINDS: Final = {"fail": "error", "warn": "warning", "inconclusive": "warning"}


def workflow_commands(result: CheckResult) -> list[str]:
    """Annotations of the verdicts: at most ten lines, failures first; the last line has the number of further ones.

    The budgets without any share a notice. Paths are relative to GITHUB_WORKSPACE, by default to this folder.
    """
    annotated = [list(_annotated(one)) for one in result.budgets]
    lines = sorted(chain.from_iterable(annotated), key=lambda line: not line.startswith("::error"))
    within = [one for one, own in zip(result.budgets, annotated, strict=True) if not own]
    if not within:
        return _at_most_ten(lines)
    notice = _command("notice", within[0].budget.source, "convcost: within budget", "\n".join(_within(within)))
    return [*_at_most_ten(lines), notice]


def _within(budgets: Iterable[BudgetResult]) -> Iterator[str]:
    """A line for each budget with its figures, and its notes."""
    for one in budgets:
        figures = (
            f"{row.judged.metric.name} {row.actual_text}{'' if most is None else f' of {row.figure(most)}'}"
            for row in one.rows
            for most in [row.judged.limit.bound("max")]
        )
        yield one_line(f"{one.budget.name}: {', '.join(figures)}")
        yield from map(one_line, one.all_notes)


def refusal_commands(error: ConvcostError) -> list[str]:
    """Annotations of an error that prevents a check, one for each mistake, with its file and line if it has them."""
    if not isinstance(error, TomlError):
        return [_command("error", "", REFUSED, line) for line in error.lines]
    places = (f"{error.source}:{one.place.line}:{one.place.column}" for one in error.mistakes)
    return _at_most_ten(
        [_command("error", at, REFUSED, one.text) for at, one in zip(places, error.mistakes, strict=True)]
    )


def _at_most_ten(lines: list[str]) -> list[str]:
    if len(lines) <= MAX_ANNOTATIONS:
        return lines
    shown, last = lines[: MAX_ANNOTATIONS - 1], lines[MAX_ANNOTATIONS - 1]
    return [*shown, f"::{last.split('::')[1]}::and {len(lines) - len(shown)} more: see the log of this step"]


def _annotated(one: BudgetResult) -> Iterator[str]:
    if one.error is not None:
        yield _command("error", one.budget.source, f"convcost {one.budget.name}", one_line(one.error))
    for judged in one.judged:
        if judged.verdict in KINDS:
            title = f"convcost {one.budget.name}: {judged.limit.metric}"
            yield _command(KINDS[judged.verdict], judged.source, title, _text(one, judged))


def _text(one: BudgetResult, judged: Judgement) -> str:
    """The reason, the largest changes and the remedy, one per line."""
    parts = [judged.reason]
    if judged.broken and judged.lower_bound:
        parts += one.uncounted_note
    if one.failures:
        parts += [*(one.budget.message or "").splitlines(), *one.change_lines(3, [judged])]
        parts += [*one.remedies, f"to accept it: {acceptance([judged])}" if judged.broken else ""]
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
    """A text escaped as the data of a command (actions/toolkit, packages/core/src/command.ts, escapeData)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A text escaped as a property of a command (escapeProperty in that file)."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def write_summary(markdown: str) -> str | None:
    """Add a document to the job's summary, where there is one, within GitHub's limit.

    Returns:
        The reason why it could not be written; None if it was, or if the environment names no summary.
    """
    name = os.environ.get(SUMMARY_VARIABLE)
    if not name:
        return None
    path = Path(name)
    try:
        held = path.stat().st_size if path.exists() else 0
        with open(path, "a", encoding="utf-8", opener=_without_waiting) as file:
            file.write(cut(markdown, max(0, MAX_SUMMARY_BYTES - held)))
    except OSError as error:
        return f"{SUMMARY_VARIABLE} (={name}) could not be written ({error.strerror}); the verdicts above are complete."
    return None


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody reads is an error at once."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, even escaped."""


def junit_xml(result: CheckResult) -> str:
    """The verdicts as JUnit XML.

    `fail` is a failure, `skipped` is skipped, and `inconclusive` is skipped too, but an error in a strict check.
    """
    root = ET.Element("testsuites", name="convcost")
    for one in result.budgets:
        suite = ET.SubElement(root, "testsuite", name=_legal(one.budget.name))
        for case in _cases(one, strict=result.strict):
            suite.append(case)
        _sum_up(suite)
    _sum_up(root)
    del root.attrib["skipped"]  # Jenkins' junit-10.xsd allows it for a suite only
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def write_junit(path: Path, result: CheckResult) -> None:
    """Write the XML to a file."""
    path.write_text(junit_xml(result), encoding="utf-8")


def _cases(one: BudgetResult, *, strict: bool) -> Iterator[ET.Element]:
    if one.error is not None:
        case = _case(one, "counting" if one.entry is None else "timing", one.budget.source)
        ET.SubElement(case, "error", message=_legal(one.error))
        yield case
    for judged in one.judged:
        case = _case(one, judged.limit.metric, judged.source)
        reason = _legal(judged.reason)
        if judged.verdict == "fail":
            failure = ET.SubElement(case, "failure", message=reason)
            failure.text = _legal("\n".join(one.lines))
        elif judged.verdict == "inconclusive" and strict:
            ET.SubElement(case, "error", message=reason)
        elif judged.verdict in {"inconclusive", "skipped"}:
            ET.SubElement(case, "skipped", message=f"{judged.verdict}: {reason}")
        elif reason:
            ET.SubElement(case, "system-out").text = f"{judged.verdict}: {reason}"
        yield case


def _case(one: BudgetResult, name: str, source: str) -> ET.Element:
    place = dict(zip(("file", "line"), map(_legal, split_source(source)), strict=False)) if source else {}
    return ET.Element("testcase", {"classname": _legal(one.budget.name), "name": name, **place})


def _sum_up(element: ET.Element) -> None:
    """Set the numbers of cases, failures, errors and skipped cases of an element."""
    element.set("tests", str(len(list(element.iter("testcase")))))
    for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(plural, str(len(list(element.iter(tag)))))


def _legal(text: str) -> str:
    return ILLEGAL.sub("\ufffd", text)


ICONS: Final = {"pass": "✅", "warn": "⚠️", "fail": "❌", "inconclusive": "❔", "skipped": "➖"}
MAX_CHANGES: Final = 50
"""Maximum number of rows in a budget's table of layers; a line below it has the number of further ones."""


def check_markdown(result: CheckResult) -> str:
    """The verdicts as a table, then the changes and the remedy of each budget."""
    return "\n".join(_lines(result)) + "\n"


def refusal_markdown(lines: Sequence[str]) -> str:
    """The reasons why nothing was checked, one for each line."""
    return "\n".join(["### convcost: not checked", "", *(f"- {escaped(line)}" for line in lines)]) + "\n"


def cut(text: str, most: int) -> str:
    """A document cut between lines to a maximum number of bytes of UTF-8, with a last line that reports the cut."""
    if len(text.encode()) <= most:
        return text
    kept, note = [], "\n… cut here: the log of the job and the JSON have the rest.\n"
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
        body = [
            [*(column.text(row) for column in columns), f"{ICONS[row.judged.verdict]} {row.verdict_text}"]
            for row in result.rows
        ]
        yield markdown_table(heads, (map(escaped, row) for row in body), right=range(2, len(heads)))
    for one in result.budgets:
        yield from _budget(one)
    for note in result.warnings:
        yield f"> {escaped(note)}"


def _budget(one: BudgetResult) -> Iterator[str]:
    name = escaped(one.budget.name)
    if one.error is not None:
        yield f"- **{name}** could not be {'checked' if one.entry is None else 'timed'}: {escaped(one.error)}"
    for judged in one.judged:
        if judged.verdict != "pass":
            where = f" ({escaped(judged.source)})" if judged.source else ""
            yield f"- **{name}** {judged.limit.metric}: {escaped(judged.reason)}{where}"
    if one.failures and one.budget.message:
        yield f"- {escaped(one.budget.message)}"
    yield from (f"- {escaped(line)}" for line in one.advice)
    yield ""
    real = [change for change in one.changes if change.kind != "renamed"]
    if one.changes:
        against = f"{name} against {escaped(one.compared_with)}"
        yield f"<details{' open' if one.failures else ''}><summary>{against}</summary>"
        yield ""
        if real:
            heads = ("layer", "change", "params_delta", "macs_delta")
            body = [
                (change.layer, change.text, f"{change.params_delta:+,}", f"{change.macs_delta:+,}")
                for change in real[:MAX_CHANGES]
            ]
            yield markdown_table(heads, (map(escaped, row) for row in body), right={2, 3})
        if len(real) > MAX_CHANGES:
            yield f"and {len(real) - MAX_CHANGES} more layers"
        yield from (escaped(line) for line in one.change_lines(0))  # the renamed layers alone
        yield ""
        yield "</details>"
        yield ""

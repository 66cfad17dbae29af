"""A check as JUnit XML: one suite a budget, one case a limit.

The form is that of Jenkins' junit-10.xsd, with two attributes more: `file` and `line` of a case, which GitLab and the
actions that report JUnit on GitHub show, and which Jenkins passes over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from convcost.text.toml_places import split_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from convcost.budgets.result import BudgetResult, CheckResult

__all__ = ["junit_xml", "write_junit"]

ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, even escaped."""


def junit_xml(result: CheckResult) -> str:
    """The verdicts: fail is a failure; skipped and inconclusive are skipped, with --strict the latter is an error."""
    root = ET.Element("testsuites", name="convcost")
    for one in result.budgets:
        suite = ET.SubElement(root, "testsuite", name=_legal(one.budget.name))
        for case in _cases(one, strict=result.strict):
            suite.append(case)
        _sum_up(suite)
    _sum_up(root)
    del root.attrib["skipped"]  # which Jenkins' junit-10.xsd knows of a suite alone
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def write_junit(path: Path, result: CheckResult) -> None:
    """Write the XML; the caller makes it whole or not at all."""
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
    """How many cases there are below, and how they ended."""
    element.set("tests", str(len(list(element.iter("testcase")))))
    for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(plural, str(len(list(element.iter(tag)))))


def _legal(text: str) -> str:
    return ILLEGAL.sub("\ufffd", text)

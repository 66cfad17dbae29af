"""What a check looks like elsewhere: Markdown, GitHub's commands, JUnit XML; all from one result, all escaped."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

import pytest
from locks import conv, entry

from convcost.budgets.limits import Budget, Limit
from convcost.budgets.remedy import find_remedy
from convcost.budgets.reports import (
    check_markdown,
    cut,
    junit_xml,
    refusal_commands,
    refusal_markdown,
    workflow_commands,
    write_summary,
)
from convcost.budgets.result import BudgetResult, CheckResult
from convcost.budgets.verdict import Reading, judge
from convcost.changes.change import what_changed
from convcost.models.report import Uncounted
from convcost.text.errors import ConvcostError
from convcost.text.toml import Mistake, Place, TomlError


def failing(
    name: str = "net", line: int = 7, level: Literal["error", "warn"] = "error", found: Reading | None = None
) -> BudgetResult:
    before, after = entry(conv("stem", "3>8"), conv("body", "8>16")), entry(conv("stem", "3>8"), conv("body", "8>64"))
    limit = Limit("macs", max=Decimal(100_000), level=level, source=f"dir/convcost.toml:{line}")
    judged = judge(limit, found or Reading(after.macs, baseline=before.macs))
    budget = Budget(name, "m.py:net", Path(), limits=(limit,), message="ask, 100% sure?\nreally")
    changes = what_changed(before, after)
    remedy = find_remedy(after, changes, {"macs": 100_000})
    return BudgetResult(budget, (judged,), after, before, "convcost.lock", changes, remedy=remedy)


def result(*budgets: BudgetResult, strict: bool = False) -> CheckResult:
    return CheckResult("dir/convcost.toml", budgets, strict)


@pytest.fixture(autouse=True)
def _no_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_WORKSPACE", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def test_an_annotation_stands_on_the_limits_own_line_and_is_escaped() -> None:
    (line,) = workflow_commands(result(failing("a:b,c")))
    assert line.startswith("::error file=dir/convcost.toml,line=7,title=convcost a%3Ab%2Cc%3A macs::")
    text = line.split("::", 2)[2]
    assert "%0Aask, 100%25 sure?%0Areally%0A" in text
    assert "body  out_channels 16 → 64" in text
    assert "back under budget: " in text
    assert "\n" not in line


def test_an_annotation_names_the_changes_that_grew_and_what_was_not_counted() -> None:
    before, after = entry(conv("a", "8>16"), conv("b", "8>8")), entry(conv("a", "8>64"), conv("b", "8>4"), uncounted=1)
    limit = Limit("macs", max=Decimal(100), source="c.toml:7")
    judged = judge(limit, Reading(after.macs, baseline=before.macs, uncounted=1))
    changes = what_changed(before, after)
    uncounted = (Uncounted("aten._fft_r2c", 1, ("a",)),)
    budget = BudgetResult(Budget("net", "m.py:net", Path()), (judged,), after, before, "", changes, uncounted)
    (line,) = workflow_commands(result(budget))
    assert "%0Anot counted, so that macs may be larger: aten._fft_r2c (1 call); " in line
    assert "a  out_channels 16 → 64" in line
    assert "b  out_channels" not in line


def test_paths_are_relative_to_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(Path.cwd().parent))
    (line,) = workflow_commands(result(failing()))
    assert line.startswith(f"::error file={Path.cwd().name}/dir/convcost.toml,line=7,")


def test_failures_come_before_warnings_and_at_most_ten_are_shown() -> None:
    many = [failing(f"w{i}", level="warn") for i in range(3)] + [failing(f"e{i}", line=i) for i in range(10)]
    lines = workflow_commands(result(*many))
    assert len(lines) == 10
    assert [line.split()[0] for line in lines] == ["::error"] * 10
    assert lines[-1].startswith("::error file=dir/convcost.toml,line=9,")
    assert lines[-1].endswith("::and 4 more: see the log of this step")  # 13 - 9
    assert len(workflow_commands(result(*many[3:]))) == 10


def test_what_is_within_budget_is_a_notice() -> None:
    limit = Limit("macs", max=Decimal(400_000), source="c.toml:4")
    judged = judge(limit, Reading(100_000, baseline=90_000))
    within = BudgetResult(Budget("net", "m.py:net", Path(), source="c.toml:2:1"), (judged,), notes=("a note",))
    notice = "::notice file=c.toml,line=2,col=1,title=convcost%3A within budget::net: macs 100 k of 400 k%0Aa note"
    assert workflow_commands(result(within)) == [notice]
    error, last = workflow_commands(result(within, failing("other")))
    assert (error.split()[0], last) == ("::error", notice)
    assert "%0Ato accept it: raise max of macs (dir/convcost.toml:7)" in error


def test_a_model_that_does_not_load_is_an_error_on_its_budget() -> None:
    broken = BudgetResult(Budget("net", "x:y", Path(), source="convcost.toml:3:10"), error="net: no x")
    assert workflow_commands(result(broken)) == [
        "::error file=convcost.toml,line=3,col=10,title=convcost net::net: no x"
    ]
    assert "could not be checked: net: no x" in check_markdown(result(broken))


def test_every_mistake_of_a_configuration_is_an_error_where_it_stands() -> None:
    error = TomlError("a,b.toml", (Mistake(Place(3, 8), "x: y"), Mistake(Place(5, 1), "z|")))
    assert refusal_commands(error) == [
        "::error file=a%2Cb.toml,line=3,col=8,title=convcost%3A not checked::x: y",
        "::error file=a%2Cb.toml,line=5,col=1,title=convcost%3A not checked::z|",
    ]
    assert refusal_markdown(error.lines) == "### convcost: not checked\n\n- a,b.toml:3:8: x: y\n- a,b.toml:5:1: z\\|\n"
    many = TomlError("a.toml", tuple(Mistake(Place(line, 1), "x") for line in range(1, 13)))
    assert refusal_commands(many)[9] == (
        "::error file=a.toml,line=10,col=1,title=convcost%3A not checked::and 3 more: see the log of this step"
    )


def test_what_stands_nowhere_is_an_error_without_a_place() -> None:
    said = ConvcostError("no convcost.toml here; write one.")
    assert refusal_commands(said) == ["::error title=convcost%3A not checked::no convcost.toml here; write one."]


def test_the_markdown_has_the_verdicts_the_layers_and_what_would_help() -> None:
    text = check_markdown(result(failing("a|b")))
    assert "### convcost: fail" in text
    assert "| a\\|b | macs | 309 k | 100 k | 87.6 k | +253 % | ❌ fail |" in text
    assert "| body | out\\_channels 16 → 64 | +3,456 | +221,184 |" in text
    assert "- back under budget: revert the change of body: " in text
    assert "- to accept a\\|b: raise max of macs (dir/convcost.toml:7)" in text


def test_markup_in_names_is_shown_as_it_is() -> None:
    text = check_markdown(result(failing("<img src=x> `*_[")))
    assert "<img" not in text
    assert "&lt;img src=x&gt; \\`\\*\\_\\[" in text


def test_the_summary_is_added_to_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert write_summary(check_markdown(result(failing()))) is None
    assert path.read_text(encoding="utf-8") == "before\n" + check_markdown(result(failing()))


def test_a_summary_stays_under_githubs_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.md"
    path.write_text("x" * (1024 * 1024 - 500))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert write_summary(check_markdown(result(*(failing(f"é{i}") for i in range(50))))) is None
    assert path.stat().st_size <= 1024 * 1024
    assert path.read_text(encoding="utf-8").endswith("… cut here: the log of the job and the JSON have the rest.\n")


def test_a_summary_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "summary.md"))
    assert "could not be written (No such file or directory)" in (
        write_summary(check_markdown(result(failing()))) or ""
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_summary_that_is_a_pipe_without_a_reader_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "pipe"))
    assert "could not be written (" in (write_summary(check_markdown(result(failing()))) or "")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert write_summary(check_markdown(result(failing()))) is None
    assert os.read(reader, 2**16).decode() == check_markdown(result(failing()))
    os.close(reader)


@pytest.mark.parametrize("most", [0, 10, 100, 200, 10_000])
def test_a_document_is_cut_between_lines(most: int) -> None:
    text = "".join(f"line é {i}\n" for i in range(40))
    short = cut(text, most)
    assert len(short.encode()) <= max(most, 0)
    assert short in {"", text} or short.splitlines()[0] in {"line é 0", ""}


def test_junit_holds_one_case_a_limit_with_its_place() -> None:
    root = ET.fromstring(junit_xml(result(failing('a<b>\x00&"é'))))
    counts = {"tests": "1", "failures": "1", "errors": "0"}
    assert dict(root.attrib) == {"name": "convcost", **counts}
    assert dict(root[0].attrib) == {"name": 'a<b>\ufffd&"é', **counts, "skipped": "0"}
    (case,) = root.iter("testcase")
    assert dict(case.attrib) == {
        "classname": 'a<b>\ufffd&"é',
        "name": "macs",
        "file": "dir/convcost.toml",
        "line": "7",
    }
    (failure,) = case
    assert failure.get("message") == "309 k is over max 100 k by 209 k (209 %)"
    assert "body  out_channels 16 → 64" in (failure.text or "")


ATTRIBUTES = {  # of junit-10.xsd, those that are needed first; jenkinsci/xunit-plugin, xsd/
    "testsuites": ((), ("name", "time", "tests", "failures", "errors")),
    "testsuite": (
        ("name", "tests", "failures", "errors"),
        ("group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"),
    ),
    "testcase": (("name",), ("time", "classname", "group", "file", "line")),  # the last two are ours
    "failure": ((), ("type", "message")),
    "error": ((), ("type", "message")),
    "skipped": ((), ("type", "message")),
    "system-out": ((), ()),
}
INNER = {
    "testsuites": {"testsuite"},
    "testsuite": {"testsuite", "testcase", "system-out", "system-err"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}


def test_junit_keeps_to_the_schema_of_jenkins() -> None:
    limits = [Limit("macs", max=Decimal(100_000)), Limit("params", max=Decimal(1))]
    found = [Reading(90_000, uncounted=2), Reading(None, why="other machine"), Reading(2)]
    judged = tuple(judge(limits[one.actual == 2], one) for one in found)
    broken = BudgetResult(Budget("broken", "x", Path()), judged, error="no x")
    for element in ET.fromstring(junit_xml(result(broken, failing()))).iter():
        needed, allowed = ATTRIBUTES[element.tag]
        assert set(needed) <= set(element.attrib) <= {*needed, *allowed}
        assert {child.tag for child in element} <= INNER.get(element.tag, set())


@pytest.mark.parametrize(
    ("found", "strict", "tag"),
    [
        (Reading(None, why="other machine"), False, "skipped"),
        (Reading(90_000, uncounted=2), False, "system-out"),
        (Reading(90_000, uncounted=2), True, "error"),
    ],
)
def test_junit_tells_what_was_not_decided(found: Reading, strict: bool, tag: str) -> None:  # noqa: FBT001 - a row of a table
    limit = Limit("macs", max=Decimal(100_000))
    one = BudgetResult(Budget("net", "x", Path()), (judge(limit, found, strict=strict),))
    root = ET.fromstring(junit_xml(result(one, strict=strict)))
    assert [child.tag for child in next(root.iter("testcase"))] == [tag]

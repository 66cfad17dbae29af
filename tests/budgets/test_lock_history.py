"""The figures of a budget over the commits that changed the lock, in a small repository."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from budgeted_project import commit, git
from locks import conv, entry

from convcost.budgets.config_files import save_lock
from convcost.budgets.figures import history_figure
from convcost.budgets.limits import Budget, Limit
from convcost.budgets.lock_history import MAX_COMMITS, lock_history
from convcost.budgets.result import BudgetResult, CheckResult
from convcost.budgets.verdict import Reading, judge

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    return tmp_path


def lock(folder: Path, channels: int, message: str = "change", name: str = "net") -> str:
    """Commit a lock of a model with one convolution, and return the hash."""
    save_lock(folder / "convcost.lock", {name: entry(conv("stem", f"3>{channels}"))})
    return commit(folder, message)


def check(folder: Path, *limits: Limit, name: str = "net", actual: int = 100) -> CheckResult:
    """A check of one budget whose figures are all this value."""
    judged = tuple(judge(limit, Reading(actual, baseline=90)) for limit in limits)
    return CheckResult("convcost.toml", (BudgetResult(Budget(name, "m.py:Net", folder, limits=limits), judged),))


def panels(result: CheckResult) -> list[dict[str, Any]]:
    """The panels of the history, with their points."""
    chart = result.figures[-1].chart.to_dict()
    return [{**one, "points": chart["datasets"][one["layer"][0]["data"]["name"]]} for one in chart["concat"]]


def test_each_commit_that_changed_the_lock_has_its_totals(project: Path) -> None:
    hashes = [lock(project, channels, f"width {channels}") for channels in (4, 8)]
    (project / "other").touch()
    commit(project, "no change of the lock")
    first, second = lock_history(project / "convcost.lock")
    assert [hashes[0].startswith(first.commit), hashes[1].startswith(second.commit)] == [True, True]
    assert (first.subject, second.subject) == ("width 4", "width 8")
    assert [one.totals["net"]["params"] for one in (first, second)] == [3 * 4 * 9, 3 * 8 * 9]
    assert second.totals["net"]["flops"] == 2 * 3 * 8 * 9 * 8 * 8


def test_only_the_latest_commits_are_read(project: Path) -> None:
    for channels in range(1, MAX_COMMITS + 3):
        lock(project, channels)
    totals = [one.totals["net"]["params"] for one in lock_history(project / "convcost.lock")]
    assert totals == [3 * channels * 9 for channels in range(3, MAX_COMMITS + 3)]


def test_a_line_has_the_commits_then_today_and_the_limit(project: Path) -> None:
    for channels in (4, 8):
        lock(project, channels)
    result = check(project, Limit("params", max=Decimal(250)), Limit("macs", grow=0.5))
    macs, params = sorted(panels(result), key=lambda one: str(one["title"]["text"]))
    assert [one["value"] for one in params["points"]] == [3 * 4 * 9, 3 * 8 * 9, 100]
    assert [one["commit"] for one in params["points"]][-1] == "now"
    assert params["title"]["subtitle"] == "dashed: max 250"
    assert macs["title"]["subtitle"] == "dashed: baseline and growth 135"


def test_the_numbers_of_the_lines_stand_in_a_text(project: Path) -> None:
    hashes = [lock(project, channels, f"width {channels}") for channels in (4, 8)]
    head, *lines = check(project, Limit("params", max=Decimal(250))).figures[-1].numbers.splitlines()
    assert head.split() == ["commit", "subject", "net:", "params"]
    assert [line.split()[1:] for line in lines] == [["width", "4", "108"], ["width", "8", "216"]]
    assert all(whole.startswith(line.split()[0]) for whole, line in zip(hashes, lines, strict=True))


def test_a_metric_that_no_lock_holds_has_no_line(project: Path) -> None:
    for channels in (4, 8):
        lock(project, channels)
    timed = check(project, Limit("latency", max=Decimal(1)))
    assert timed.figures[-1].chart is None
    assert timed.figures[-1].sentence.endswith("None of them has a limited figure in the lock.")


def test_a_new_budget_begins_in_the_middle(project: Path) -> None:
    lock(project, 4, name="old")
    lock(project, 8)
    (panel,) = panels(check(project, Limit("params", max=Decimal(250))))
    assert [one["value"] for one in panel["points"]] == [3 * 8 * 9, 100]
    assert len(panel["layer"][0]["encoding"]["x"]["scale"]["domain"]) == 3


@pytest.mark.parametrize(
    "damage", ["<<<<<<< HEAD", "budget = 3", "[budget]\nnet = 1", '[budget.net]\nmacs = "x"', "\xff"]
)
def test_a_damaged_lock_leaves_a_gap(project: Path, damage: str) -> None:
    lock(project, 4)
    (project / "convcost.lock").write_text(damage, encoding="latin-1")
    commit(project)
    lock(project, 8)
    assert [one.totals.get("net", {}).get("macs") for one in lock_history(project / "convcost.lock")] == [
        3 * 4 * 9 * 64,
        None,
        3 * 8 * 9 * 64,
    ]


def test_a_lock_that_was_deleted_and_came_back_has_no_totals_between(project: Path) -> None:
    lock(project, 4)
    (project / "convcost.lock").unlink()
    commit(project)
    lock(project, 8)
    assert [bool(one.totals) for one in lock_history(project / "convcost.lock")] == [True, True]


@pytest.mark.parametrize("commits", [0, 1])
def test_fewer_than_two_commits_are_a_sentence(project: Path, commits: int) -> None:
    for channels in range(commits):
        lock(project, 4 + channels)
    (figure,) = check(project, Limit("params", max=Decimal(250))).figures[1:]
    assert figure.chart is None
    assert f"git has {'one' if commits else 'none'} here" in figure.sentence


def test_a_lock_without_a_repository_has_no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    save_lock(tmp_path / "convcost.lock", {"net": entry(conv("stem", "3>8"))})
    assert lock_history(tmp_path / "convcost.lock") == ()


def test_a_lock_without_git_has_no_history(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock(project, 4)
    monkeypatch.setenv("PATH", str(project))
    assert shutil.which("git") is None
    assert lock_history(project / "convcost.lock") == ()


def test_a_target_without_a_configuration_has_no_history(project: Path) -> None:
    result = check(project, Limit("params", max=Decimal(250)))
    assert len(result.figures) == 2
    assert len(replace(result, source="").figures) == 1


def test_subjects_and_names_are_texts(project: Path) -> None:
    git(project, "checkout", "--quiet", "-b", "evil<img>")
    for channels in (4, 8):
        lock(project, channels, f"{EVIL}\x1b[31m", EVIL)
    result = check(project, Limit("params", max=Decimal(250)), name=EVIL)
    assert EVIL in json.dumps(panels(result))
    before_the_library = result.to_html().partition("<script>")[0]
    assert "&lt;img" in before_the_library
    assert "<img" not in before_the_library
    assert "\x1b" not in before_the_library


def test_a_thousand_budgets_have_the_panels_that_are_used_most(project: Path) -> None:
    for channels in (4, 8):
        lock(project, channels)
    one = check(project, Limit("params", max=Decimal(250))).rows[0]
    figure = history_figure([one] * 20, lock_history(project / "convcost.lock"))
    assert figure.sentence.endswith("The 12 of 20 with the largest shares of their limits; the table has all.")

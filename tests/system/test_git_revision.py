"""Worktrees of other revisions: those of killed runs are removed by the next one, those of living runs stay."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from budgeted_project import commit, git

from convcost.system.git_revision import checked_out

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no locks of files on Windows")

CHECK_OUT = """
import sys
from pathlib import Path
from convcost.system.git_revision import checked_out

with checked_out("HEAD", Path.cwd()) as checkout:
    print(checkout.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit, and a folder for temporary files of its own."""
    for name in ("project", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path / "project")
    (tmp_path / "project" / "models.py").touch()
    git(tmp_path / "project", "init", "--quiet", "--initial-branch=main")
    commit(tmp_path / "project")
    return tmp_path / "project"


def start() -> tuple[subprocess.Popen[str], str]:
    """A process with a checkout, and the folder of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHECK_OUT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def worktrees(project: Path) -> list[str]:
    return [line.split()[0] for line in git(project, "worktree", "list").splitlines()][1:]


@pytest.mark.parametrize("locked", [False, True], ids=["unlocked", "locked"])
def test_the_worktree_of_a_killed_run_is_removed_by_the_next_one(project: Path, locked: bool) -> None:  # noqa: FBT001 - a parameter of the test
    process, folder = start()
    if locked:  # as git leaves it when it is killed too
        git(project, "worktree", "lock", folder)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert worktrees(project) == [folder]
    with checked_out("HEAD", project) as checkout:
        assert worktrees(project) == [str(checkout.folder)]
    assert worktrees(project) == []
    assert list((project.parent / "temporary").iterdir()) == []


def test_the_worktree_of_a_living_run_stays(project: Path) -> None:
    process, folder = start()
    with checked_out("HEAD", project) as checkout:
        assert sorted(worktrees(project)) == sorted([folder, str(checkout.folder)])
    process.communicate()
    assert process.returncode == 0
    assert worktrees(project) == []


def test_a_folder_that_was_removed_by_hand_is_forgotten(project: Path) -> None:
    process, folder = start()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    shutil.rmtree(folder)
    with checked_out("HEAD", project) as checkout:
        assert worktrees(project) == [str(checkout.folder)]


@pytest.mark.parametrize("revision", [":/one", "HEAD^{/one}", "HEAD"])
def test_a_commit_is_named_as_git_names_it(project: Path, revision: str) -> None:
    git(project, "commit", "--quiet", "--allow-empty", "--amend", "--message", "one of many")
    with checked_out(revision, project) as checkout:
        assert checkout.revision == f"{revision} ({git(project, 'rev-parse', 'HEAD')[:9]})"

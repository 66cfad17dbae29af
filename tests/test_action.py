"""The GitHub Action and the pre-commit hook: their own commands, run on a repository of two commits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from budgeted_project import CONFIG, MODEL, commit, edit, git
from fork_server import fast_python

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(shutil.which("bash") is None, reason="the action's steps are bash"),
]


def test_the_action_has_what_github_asks_for() -> None:
    assert {"name", "description", "inputs", "runs"} <= set(ACTION)
    assert ACTION["runs"]["using"] == "composite"
    for step in ACTION["runs"]["steps"]:
        assert ("run" in step) != ("uses" in step)
        assert "run" not in step or step["shell"] == "bash"
    assert all("description" in entry and "default" in entry for entry in ACTION["inputs"].values())


def test_it_needs_no_token_and_no_input_reaches_a_shell_unquoted() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    assert "github.token" not in text
    assert not [step["name"] for step in STEPS.values() if "${{" in step.get("run", "")]  # only through env


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of one commit, as a CI checkout: the budget is exceeded, a layer renamed, the base not fetched."""
    origin = tmp_path / "origin"
    origin.mkdir()
    (origin / "models.py").write_text(MODEL)
    (origin / "convcost.toml").write_text(CONFIG)
    git(origin, "init", "--quiet", "--initial-branch=main")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")  # as on GitHub
    commit(origin, "base")
    edit(origin / "models.py", "width, 16, 3", "width, 24, 3")
    edit(origin / "models.py", "self.stem", "self.entry")
    commit(origin, "wider")
    git(tmp_path, "clone", "--quiet", "--depth=1", origin.as_uri(), "clone")
    assert git(tmp_path / "clone", "rev-list", "--count", "HEAD") == "1"
    return tmp_path / "clone"


def run_step(name: str, folder: Path, inputs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A step's own command, with its variables filled in as GitHub does."""
    step, output = STEPS[name], folder / "output"
    given_back = dict(line.split("=", 1) for line in output.read_text().splitlines()) if output.exists() else {}
    known = {f"inputs.{key}": value for key, value in inputs.items()}
    known |= {f"steps.base.outputs.{key}": value for key, value in given_back.items()}

    def value(match: re.Match[str]) -> str:
        return known.get(match[1], "")

    given = {key: re.sub(r"\$\{\{ *([\w.-]+) *\}\}", value, str(text)) for key, text in step["env"].items()}
    path = f"{Path(fast_python()).parent}{os.pathsep}{os.environ['PATH']}"
    variables = os.environ | given | {"PATH": path, "GITHUB_WORKSPACE": str(folder)}
    variables |= {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "PIP_NO_INDEX": "1", "GITHUB_OUTPUT": str(output)}
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def conditions(name: str, inputs: dict[str, str]) -> bool:
    """Whether a step's `if` holds; its form here is a conjunction of comparisons with a text."""
    parts: list[Any] = [re.fullmatch(r"inputs\.([\w-]+) != '(.*)'", part) for part in STEPS[name]["if"].split(" && ")]
    return all(inputs[part[1]] != part[2] for part in parts)


def test_the_steps_check_a_pull_request_against_its_base(clone: Path) -> None:
    base = git(clone.parent / "origin", "rev-parse", "HEAD~1")
    inputs = {"config": "", "base": base, "args": "", "package": "convcost", "python-version": ""}
    assert not conditions("Set up Python", inputs)
    for name in ("Install convcost", "Fetch the base revision"):
        assert conditions(name, inputs)
        done = run_step(name, clone, inputs)
        assert done.returncode == 0, done.stderr
    done = run_step("Check the budgets", clone, inputs)
    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("::error file=convcost.toml,line=4,title=convcost net%3A macs::")
    assert "body  out_channels 16 → 24" in line
    assert "renamed" not in line
    summary = (clone / "summary.md").read_text(encoding="utf-8")
    assert "stem → entry" in summary
    assert "❌ fail" in summary
    assert f"({base[:9]})" in summary
    assert len(git(clone, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("package", "installed"),
    [
        (".", str(ROOT)),
        ("git+https://example.org/it@v1", "git+https://example.org/it@v1"),
        ("dist/a.whl", "dist/a.whl"),
    ],
)
def test_the_action_installs_itself_or_the_package_that_is_named(tmp_path: Path, package: str, installed: str) -> None:
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python").chmod(0o755)
    step = STEPS["Install convcost"]
    variables = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PACKAGE": package}
    command = [str(shutil.which("bash")), "-e", "-o", "pipefail", "-c", step["run"]]
    environment = os.environ | variables | {"GITHUB_ACTION_PATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"-m pip install --disable-pip-version-check {installed}\n"
    assert ACTION["inputs"]["package"]["default"] == "."


def test_options_of_the_action_reach_the_command(clone: Path) -> None:
    (clone / "other.toml").write_text(CONFIG.replace('100 k", grow = "1 %"', '200 k"'))
    inputs = {"config": "other.toml", "base": "lock", "args": "--strict  --only net\n--junit\nout.xml\n", "package": ""}
    assert not conditions("Install convcost", inputs)
    assert not conditions("Fetch the base revision", inputs)
    done = run_step("Check the budgets", clone, inputs)
    notice = "::notice file=other.toml,line=2,col=10,title=convcost%3A within budget::net: macs 124 k of 200 k\n"
    assert (done.returncode, done.stdout) == (0, notice), done.stderr
    assert (clone / "out.xml").exists()


@pytest.mark.parametrize("name", ["main", "refs/heads/main", "v1"])
def test_the_base_may_be_a_branch_or_a_tag_that_the_checkout_does_not_know(clone: Path, name: str) -> None:
    origin = clone.parent / "origin"
    git(clone, "checkout", "--quiet", "--detach")
    git(clone, "branch", "--quiet", "-D", "main")
    git(origin, "tag", "v1", "HEAD~1")
    inputs = {"config": "", "base": name, "args": "", "package": ""}
    done = run_step("Fetch the base revision", clone, inputs)
    assert done.returncode == 0, done.stderr
    assert (clone / "output").read_text() == f"commit={git(origin, 'rev-parse', name)}\n"
    done = run_step("Check the budgets", clone, inputs)
    assert done.returncode == 1, done.stderr  # over its limit; not 2
    assert done.stdout.startswith("::error file=convcost.toml,line=4,")


def test_a_base_that_is_nowhere_ends_the_step(clone: Path) -> None:
    done = run_step("Fetch the base revision", clone, {"base": "nowhere"})
    assert done.returncode != 0
    assert "nowhere" in done.stderr


@pytest.mark.slow
def test_the_pre_commit_hook_runs_the_check(clone: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert {"id", "name", "entry", "language", "files", "pass_filenames"} <= set(hook)
    assert re.search(hook["files"], "src/models.py")
    assert re.search(hook["files"], "convcost.lock")
    words = [str(Path(sys.executable).parent / hook["entry"].split()[0]), *hook["entry"].split()[1:]]
    done = subprocess.run(words, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "is over max 100 k" in done.stdout

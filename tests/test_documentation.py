"""The README and the generated pages say what the program does."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from fork_server import fast_python
from made_machine import machine

from convcost.cli import main
from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.convolution.blocks import BLOCKS
from convcost.kernels.named import KERNELS
from convcost.nn.measure.this_machine import identity
from convcost.timing.machine_file import save_machine

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE_TO_BUDGETS = ROOT / "docs/check.md"
PAGE_OF_SWEEPS = ROOT / "docs/sweep.md"
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - {GUIDE_TO_BUDGETS, PAGE_OF_SWEEPS})]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
COMMANDS = dict.fromkeys(re.findall(r"^\$ (convcost .*)$", "\n".join(TEXTS.values()), re.MULTILINE))
PROGRAMS = {
    f"{page}, block {number}": block
    for page, text in TEXTS.items()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL), 1)
}


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.usefixtures("small_calibration")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_pages_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    if "--roofline" in words:
        save_machine(tmp_path / "machine.toml", machine(identity(torch.device("cpu"))))
        monkeypatch.setenv("CONVCOST_MACHINE", str(tmp_path / "machine.toml"))
    is_timed = "--no-time" not in words if words[0] == "compare" else "--time" in words
    quick = ["--time-budget", "0.5"] if is_timed else []
    quick = ["--seconds", "2", "--out", "machine.toml"] if words[0] == "calibrate" else quick
    assert main([*words, *quick]) == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_python_block_of_a_page_runs(program: str) -> None:
    exec(compile(PROGRAMS[program], program, "exec"), {})  # noqa: S102 - our own documentation


@pytest.mark.slow
@pytest.mark.timing
def test_every_file_and_command_of_the_guide_to_budgets_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = GUIDE_TO_BUDGETS.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for text in re.findall(r"```(?:python|toml|yaml)\n(.*?)```", guide, re.DOTALL):
        name = text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "guide"]):
        subprocess.run(["git", *words], check=True)  # noqa: S607 - our own words, the git of the path
    commands = re.findall(r"^\$ convcost (.*)$", guide, re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    for path in (tmp_path / ".github/workflows/convcost.yml", tmp_path / ".pre-commit-config.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))
    tests = [fast_python(), "-m", "pytest", "-q"]
    done = subprocess.run(tests, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout


def test_every_file_command_and_program_of_the_page_of_sweeps_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGE_OF_SWEEPS.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    steps = re.findall(r"```(toml|python)\n(.*?)```|^\$ convcost ([^\n]*)$", page, re.DOTALL | re.MULTILINE)
    for kind, text, command in steps:
        if kind == "toml":
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text, encoding="utf-8")
        elif kind == "python":
            exec(compile(text, "docs/sweep.md", "exec"), {})  # noqa: S102 - our own documentation
        else:
            quick = ["--time-budget", "0.5"] if "--time" in command else []
            assert main([*shlex.split(command), *quick]) == 0, command
    assert len(steps) == 2 + 5 + 8


def test_the_readme_begins_with_the_two_commands_that_set_everything_up() -> None:
    first = re.search(r"```console\n(.*?)```", README, re.DOTALL)
    assert first is not None
    assert re.findall(r"^\$ (make \w+)", first[1], re.MULTILINE) == ["make demo", "make test"]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_a_broken_link_fails_the_site(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site is built by mkdocs (extra docs)")
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "mkdocs.yml", "docs", "configs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    links = "[page](docs/nowhere.md) [anchor](docs/check.md#nowhere) [file](configs/nowhere.toml)"
    (tmp_path / "README.md").write_text(f"{README}\n{links}\n", encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Aborted with 3 warnings in strict mode" in done.stdout + done.stderr


PINS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.skipif(
    f"typer=={version('typer')}" not in PINS, reason="another version of typer words the help otherwise"
)
def test_the_generated_pages_are_up_to_date() -> None:
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_has_its_row_in_the_documentation(block: str) -> None:
    assert f"| `{block}` |" in (ROOT / "docs/blocks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_named_kernel_has_its_row_in_the_documentation(kernel: str) -> None:
    assert f"| `{kernel}` |" in (ROOT / "docs/kernels.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("column", [column.name for column in COMPARE_COLUMNS])
def test_every_field_has_its_row_in_the_documentation(column: str) -> None:
    assert f"| `{column}` |" in (ROOT / "docs/columns.md").read_text(encoding="utf-8")

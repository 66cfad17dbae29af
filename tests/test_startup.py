"""What must not be loaded is not loaded, and these checks can fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("torch", "fvcore", "pandas", "numpy", "pyarrow", "rich", "pydantic", "tree_sitter", "sqlite3", "platformdirs"),
)
TESTS = Path(__file__).parent
PREDICTED = ["compare", "--c", "3", "--o", "64", "--k", "3", "--no-count", "--no-time"]


def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter holds after running this code."""
    report = f"{code}\nimport sys\nprint('loaded', *(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def run(words: list[str]) -> str:
    return f"from convcost.cli import main\nmain({words!r})"


def test_import_convcost_is_light() -> None:
    assert loaded("import convcost") == set()


def test_the_predicted_table_in_a_pipe_is_light() -> None:
    assert loaded(run(PREDICTED)) == set()


def test_the_help_of_all_commands_loads_nothing_but_rich() -> None:
    assert loaded(run(["--help"])) <= {"rich"}


def test_the_history_loads_its_database_and_nothing_heavy() -> None:
    assert loaded(run(["history"])) <= {"sqlite3", "platformdirs"}


def test_help_loads_nothing_but_rich() -> None:
    assert loaded(run(["compare", "--help"])) <= {"rich"}


def test_the_pytest_plugin_is_light() -> None:
    assert loaded("import convcost.pytest_plugin") == set()


def test_explain_is_light() -> None:
    assert loaded(run(["explain", "ghost", "--c", "3", "--o", "64", "--k", "3"])) == set()


@pytest.mark.parametrize("package", [pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.slow]), "pandas"])
def test_this_check_can_fail(package: str) -> None:
    assert package in loaded(f"import convcost, {package}")


@pytest.mark.slow
def test_what_is_not_marked_passes_without_torch(tmp_path: Path) -> None:
    """In the files of a few rooms that do not import it; processes that they start do not find it either."""
    for name in ("torch", "fvcore"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('kept away', name={name!r})\n")
    imports_torch = re.compile(r"^(import|from) (torch|keras|convcost\.(nn|pytest))\b", re.MULTILINE)
    files = [
        str(path)
        for room in ("budgets", "cli", "comparison", "models")
        for path in sorted(TESTS.glob(f"{room}/test_*.py"))
        if not imports_torch.search(path.read_text(encoding="utf-8"))
    ]
    assert len(files) > 15
    words = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not torch and not slow and not timing"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(TESTS.parent)])}
    command = [sys.executable, *words, *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=TESTS.parent, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.torch
@pytest.mark.slow
def test_a_count_does_load_torch() -> None:
    assert {"torch", "fvcore"} <= loaded(run([*PREDICTED[:-2], "--no-time", "--block", "pointwise"]))

"""The import contracts of pyproject.toml: short, complete, and no two files that import each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {path.parent.name for path in ROOT.glob("convcost/*/__init__.py")}
MAX_LINES = 40


def test_the_contracts_are_short() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = re.search(r"^\[tool\.importlinter\]\n(?:.*\n)*?(?=\[(?!\[?tool\.importlinter)|\Z)", text, re.MULTILINE)
    assert contracts is not None
    assert tomllib.loads(contracts[0])["tool"]["importlinter"]["root_package"] == "convcost"
    assert len(contracts[0].split("\n")) < MAX_LINES


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        pytest.skip("import-linter is not installed: the extra `lint` has it")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "convcost", tmp_path / "convcost", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_a_room_that_nobody_placed_is_an_error(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    (copy / "convcost" / "attic").mkdir()
    (copy / "convcost" / "attic" / "__init__.py").touch()
    done = lint(copy)
    assert done.returncode == 1
    assert "attic" in done.stdout


def test_no_files_import_each_other_in_a_circle() -> None:
    """At run time or for their types alone."""
    grimp = pytest.importorskip("grimp", reason="import-linter is not installed: the extra `lint` has it")
    graph = grimp.build_graph("convcost", cache_dir=None, exclude_type_checking_imports=False)
    assert len(graph.modules) > 80
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])), pytrace=False)


def test_the_tests_mirror_the_rooms() -> None:
    """A folder of tests is a room; tests that need torch lie beside the others and are marked."""
    assert {path.name for path in ROOT.glob("tests/*/") if any(path.glob("**/test_*.py"))} == ROOMS
    for folder in ROOT.glob("tests/nn/*/"):
        assert (ROOT / "convcost" / "nn" / folder.name / "__init__.py").exists() or folder.name == "__pycache__", folder

"""No room below the command line names one of its flags: a Python caller has none."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "convcost"
FLAG = re.compile(r"(?<![-\w])--[a-z][a-z-]*")
WHOLE_COMMAND = re.compile(r"convcost [a-z]+( [A-Z]+)?( --[a-z-]+( [\w.]+)?)+")
"""A command to be typed as it stands, such as `convcost check --update`."""
EXCEPTIONS = {
    "system/git_revision.py": "the arguments of git",
    "workflows/sweep_cluster.py": "the arguments of Dask's worker",
}


def texts(source: str) -> Iterator[str]:
    """The strings of a module, without docstrings and the descriptions of constants."""
    tree = ast.parse(source)
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
            yield node.value


def named_flags(source: str) -> list[str]:
    return [flag for text in texts(source) for flag in FLAG.findall(WHOLE_COMMAND.sub("", text))]


MODULES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py")) if "cli" not in path.parts}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - EXCEPTIONS.keys()))
def test_no_message_below_the_command_line_names_a_flag(module: str) -> None:
    assert named_flags(MODULES[module].read_text(encoding="utf-8")) == []


def test_only_git_is_given_flags() -> None:
    source = MODULES["system/git_revision.py"].read_text(encoding="utf-8")
    assert [text for text in texts(source) if FLAG.search(text) and not FLAG.fullmatch(text.partition("=")[0])] == []


def test_a_flag_in_a_message_is_seen() -> None:
    source = 'def f(x):\n    """Not --this."""\n    return f"raise --time-budget, or run convcost check --update {x}"\n'
    assert named_flags(source) == ["--time-budget"]

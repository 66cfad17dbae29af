"""Which configuration is found: the nearest, and never past one that is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from convcost.budgets.config_files import load_configuration
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = 'target = "m.py:net"\nparams = 1\n'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below one that has a configuration."""
    (tmp_path / "convcost.toml").write_text(f"[budget.above]\n{LIMITS}")
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[tool.convcost.budget.net]\nparams = 10 k\n", "pyproject.toml:2:13: the file must be TOML: "),
        (b"[tool.convcost.budget.net]\nmessage = '\xff'\n", "pyproject.toml:2:12: the file must be UTF-8 text"),
        (b"[tool.convcost]\nbudget = " + b"[" * 5000, "pyproject.toml:2:5010: the file must be TOML: it nests too deep"),
    ],
    ids=["syntax", "encoding", "depth"],
)  # fmt: skip
def test_a_broken_pyproject_that_speaks_of_convcost_is_told_and_not_passed_over(
    package: Path, data: bytes, said: str
) -> None:
    (package / "pyproject.toml").write_bytes(data)
    with pytest.raises(ConvcostError) as refused:
        load_configuration()
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("data", [b"[tool.other]\nx = 10 k\n", b"[tool.other]\n", b"\xff"])
def test_a_pyproject_without_a_word_of_convcost_is_somebody_elses(package: Path, data: bytes) -> None:
    (package / "pyproject.toml").write_bytes(data)
    assert [one.name for one in load_configuration().budgets] == ["above"]

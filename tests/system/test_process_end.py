"""Code that ends the process at once, while convcost runs it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from convcost.cli import main
from convcost.system.process_end import process_kept

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """
import os
from torch import nn

class Net(nn.Module):
    def __init__(self, early=True):
        super().__init__()
        if early:
            {end}
    def forward(self, x):
        {end}
"""
ENDS = ("os._exit(0)", "os._exit(5)", "os.execlp('true', 'true')")


@pytest.mark.torch
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("early", ["true", "false"])
def test_a_model_that_ends_the_process_is_one_line_and_exit_code_2(
    end: str, early: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ends.py").write_text(MODEL.format(end=end))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "ends", raising=False)
    assert main(["model", "ends.py:Net", "--input", "1x3x8x8", "--arg", f"early={early}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert f"SystemExit: {end.partition('(')[0].removesuffix('lp')}" in line
    assert f"{tmp_path}/ends.py:" in line


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked")
def test_its_children_end_as_they_like_and_so_does_the_process_afterwards() -> None:
    before = os._exit
    with process_kept():
        child = os.fork()
        if child == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with pytest.raises(SystemExit):
            os._exit(7)
    assert os._exit is before

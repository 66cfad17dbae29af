"""Emitted programs: how tests run them and check their style."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from convcost.programs.documented_block import Count, DocumentedBlock

if TYPE_CHECKING:
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node

SHAPES: dict[str, dict[str, Any]] = {
    "same": {},
    "a bias": {"bias": True, "batch": 2},
    "more zeros after than before": {"stride": 2, "bias": True},
    "strides of the axes": {"stride": (2, 1), "width": 15},
    "a dilation": {"dilation": (2, 1), "kernel_size": (3, 5)},
    "an even kernel": {"kernel_size": (4, 2)},
    "sizes of padding": {"padding": (2, 1), "stride": 2},
    "valid": {"padding": "valid", "kernel_size": (1, 3)},
    "parameters": {"m": 2, "groups": 3, "mid": 5, "rank": 7, "expansion": 1, "ghost_ratio": 3, "partial": 1},
}
"""Options of `convcost.explain` that differ from `sizes_for`."""


def sizes_for(block: str, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `convcost.explain`; partial keeps the size of its input."""
    own = {"stride": 1, "padding": "same"} if block == "partial" else {}
    return {"in_channels": 12, "out_channels": 24, "kernel_size": 3, "height": 14} | options | own


def load(text: str, folder: Path) -> dict[str, Any]:
    """The names of an emitted file that is imported."""
    path = folder / "emitted.py"
    path.write_text(text, encoding="utf-8")
    return runpy.run_path(str(path))


def run(text: str, folder: Path, *options: str) -> list[str]:
    """The lines that an emitted file prints as a script, which must print nothing to stderr."""
    path = folder / "emitted.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, *options, path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def assert_pep_8(text: str, folder: Path) -> None:
    """That ruff's default rules, those of PEP 8 and its formatter leave the text as it is."""
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("ruff is not installed: the extra `lint` has it")
    path = folder / "emitted.py"
    path.write_text(text, encoding="utf-8")
    for words in (
        ["check"],
        ["check", "--select=E,W,F,I", "--line-length=79"],
        ["format", "--diff", "--line-length=79"],
    ):
        command = [str(ruff), words[0], "--isolated", "--no-cache", *words[1:], str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def documented(tree: Node, shape: Shape, summary: str = "Parts.") -> DocumentedBlock:
    """A block that the catalogue lacks."""
    counts = (Count("MACs", "C·O", "3·4", 12),)
    return DocumentedBlock("parts", summary, "Nobody 2020", "C = 3", "C: channels", counts, tree, shape)

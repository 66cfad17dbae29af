"""The user's code while it is loaded, counted and timed: what it prints, and what it imports late."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fork_server import fast_python
from torch import nn

from convcost.nn.load.user_code import import_folders

if TYPE_CHECKING:
    from pathlib import Path

LOUD = """
import os
from torch import nn

def say(word):
    print(word)
    os.write(1, f"{word} by descriptor\\n".encode())
    os.system(f"echo {word} by a child")

say("imported")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        say("made")

    def forward(self, x):
        from helper_of_net import scale
        say("run")
        return self.conv(x) * scale
"""
CONFIG = """
[budget.net]
target = "net.py:Net"
input = "1x3x8x8"
macs = "1 M"
latency = "60 s"
"""
MACS = 36 * 4 * 27
SAID = {f"{word}{by}" for word in ("imported", "made", "run") for by in ("", " by descriptor", " by a child")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not the current one, with a network that speaks and imports while it runs."""
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "net.py").write_text(LOUD)
    (inner / "helper_of_net.py").write_text("scale = 2\n")
    (inner / "convcost.toml").write_text(CONFIG)
    return tmp_path


def run(folder: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [fast_python(), "-m", "convcost", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)


@pytest.mark.timing
def test_what_a_budgets_model_prints_goes_to_stderr_whenever_it_prints(folder: Path) -> None:
    done = run(folder, "check", "--config", "inner/convcost.toml", "--time-budget", "0.5", "--format", "json")
    metrics = {one["metric"]: one["actual"] for one in json.loads(done.stdout)["budgets"][0]["metrics"]}
    assert metrics["macs"] == MACS
    assert metrics["latency"] > 0
    assert set(done.stderr.splitlines()) >= SAID


@pytest.mark.timing
def test_the_same_of_convcost_model(folder: Path) -> None:
    words = ("--input", "1x3x8x8", "--time", "--time-budget", "0.5", "--no-store", "--format", "csv")
    done = run(folder, "model", "inner/net.py:Net", *words)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert sum(int(row["macs"]) for row in rows) == MACS
    assert float(rows[0]["time_s"]) > 0
    assert set(done.stderr.splitlines()) >= SAID


@pytest.mark.skipif(os.name == "nt", reason="descriptors are closed before the start on POSIX alone")
def test_with_stderr_closed_it_goes_nowhere(folder: Path) -> None:
    words = ("inner/net.py:Net", "--input", "1x3x8x8", "--no-cross-check", "--columns", "name", "--format", "csv")
    done = run(folder, "model", *words, preexec_fn=lambda: os.close(2))
    assert done.stdout.splitlines() == ["name", "conv", "mul#1"]


RAISING = """
from torch import nn

class Net(nn.Module):
    def __init__(self, late=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.late = late

    def forward(self, x):
        out = self.conv(x)
        if not (self.late and out.device.type == "meta"):
            self.refuse()
        return out

    def refuse(self):
        raise KeyError("first\\nsecond\\n::error::third " + "x" * 1000)
"""


@pytest.mark.timing
@pytest.mark.parametrize("late", ["false", "true"])  # when it is counted, or not before it is timed
def test_what_a_forward_raises_is_told_in_full_with_the_users_line_and_a_step_that_fits(
    late: str, folder: Path
) -> None:
    (folder / "inner" / "net.py").write_text(RAISING)
    edited = CONFIG.replace('input = "1x3x8x8"', f'input = "1x3x8x8"\nargs = {{ late = {late} }}')
    (folder / "inner" / "convcost.toml").write_text(edited)
    done = run(folder, "check", "--config", "inner/convcost.toml", "--time-budget", "0.5", "--format", "csv")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "KeyError: 'first" in line
    assert "::error::third xxx" in line
    assert len(line) < 1000
    assert line.endswith(f"... at {folder}/inner/net.py:17; mend it there, or change the input.")
    assert done.returncode == 2


def test_a_model_as_data_puts_no_folder_on_the_import_path(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").touch()
    for target in ("network:resnet18", "torchvision:resnet18", "timm:resnet18", "net.toml", "model.pt2"):
        assert import_folders(target, tmp_path) == ()
        assert import_folders(str(tmp_path / target), tmp_path) == () or ":" in target
    assert import_folders("net.py:Net", tmp_path) == (tmp_path, tmp_path)
    assert import_folders("package.module:net", tmp_path) == (tmp_path,)


STRAY = ("fvcore", "sympy", "triton", "pydantic", "pandas", "iopath", "networkx", "onnx", "google")
CALLS = {
    "model": ("model", "model.pt2", "--export", "out.csv"),
    "network": ("model", "network:resnet18", "--format", "json"),
    "check": ("check", "--strict"),
    "kernel": ("kernel", "--model", "model.pt2", "--no-time"),
}


@pytest.mark.parametrize("how", CALLS)
def test_a_folder_with_a_model_as_data_runs_no_code_of_it(how: str, tmp_path: Path) -> None:
    place, script = tmp_path / "place", tmp_path / "scripts" / "convcost"
    for folder in (place, script.parent):
        folder.mkdir()
    script.write_text("from convcost.__main__ import run\nrun()\n")
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, 8, 8),)), place / "model.pt2")
    (place / "convcost.toml").write_text('[budget.net]\ntarget = "model.pt2"\nmacs = "1 M"\n')
    (place / "pyproject.toml").write_text('[project]\nname = "convcost"\n')  # an installed project
    for name in STRAY:
        (place / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise ImportError\n")
    command = [sys.executable, str(script), *CALLS[how]]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, (tmp_path / "ran").exists()) == (0, False), done

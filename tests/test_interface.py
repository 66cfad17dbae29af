"""The published interface against golden files: fields and options may be added, none lost or renamed.

They hold what calls of every command gave before the package moved into its rooms: exit codes, names of the
fields of JSON, heads of CSV, options of each `--help`. `pytest tests/test_interface.py --overwrite` writes
them anew.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from budgeted_project import CONFIG, MODEL

from convcost.cli import main

GOLDEN = Path(__file__).parent / "golden"
HELP = (
    "",
    "compare",
    "explain",
    "kernel",
    "history",
    "model",
    "diff",
    "replace",
    "sweep",
    "check",
    "config",
    "calibrate",
)
SHAPE = "--c 8 --o 8 --k 3 --h 16"
NET = "model models.py:Net --input 1x3x8x8"
DIFF = "diff models.py:Net models.py:Net --arg-b width=4 --input 1x3x8x8"
GRID = """\
blocks = ["standard", "grouped"]
illegal = "rows"
[axes]
c = [8, 12]
o = { from = 8, to = 32, times = 2 }
k = [3, "3x5"]
h = [7]
groups = [2, 3]
"""
REPLACE = "replace models.py:Net --input 1x3x8x8 --to depthwise-separable"
CHECK = "check models.py:Net --input 1x3x8x8 --time-budget 0.3"
CALLS = (  # in this order: the history lists what was timed before
    "--version",
    "calibrate --device cpu --seconds 2 --out machine.toml",
    "calibrate --seconds 0",
    f"compare {SHAPE} --no-count --no-time",
    f"compare {SHAPE} --no-time --format json",
    f"compare {SHAPE} --no-time --format csv",
    f"compare {SHAPE} --no-count --time-budget 0.6 --device cpu --why --block standard --format json",
    f"compare {SHAPE} --no-time --block all --format json",
    f"compare {SHAPE} --no-count --no-time --columns block,macs --format csv",
    "compare --list-blocks",
    "compare --c 0 --o 8 --k 3",
    "compare --c 3 --k 3",
    f"compare {SHAPE} --no-count --no-time --block nothing",
    f"compare {SHAPE} --no-count --no-time --export rows.docx",
    f"explain depthwise-separable {SHAPE}",
    f"explain depthwise-separable {SHAPE} --format json",
    f"explain standard depthwise {SHAPE} --format json",
    f"explain standard depthwise {SHAPE} --format markdown",
    f"explain standard depthwise {SHAPE} --format latex",
    "explain nothing --c 3 --o 8 --k 3",
    "kernel sobel --no-time --format json",
    "kernel sobel laplacian --no-time --format csv",
    "kernel sobel --time-budget 0.6 --device cpu --format json",
    "kernel '1 2; 3'",
    "kernel --model network:mobilenet_v1 --arg alpha=0.25 --format json",
    "kernel --model network:mobilenet_v1 --arg alpha=0.25 --format csv",
    "kernel --list-kernels",
    f"{NET} --format json",
    f"{NET} --format csv",
    f"{NET} --time --time-budget 0.6 --time-device cpu --why --format json",
    "model models.py:Spectral --input 1x3x8x8 --format json",
    "model models.py:Gone --input 1x3x8x8",
    "model models.py:Net",
    f"{DIFF} --format json",
    f"{DIFF} --format csv",
    f"{DIFF} --time --time-budget 0.6 --time-device cpu --format json",
    "diff models.py:Net models.py:Net@HEAD --input 1x3x8x8",
    f"{REPLACE} --format json",
    f"{REPLACE} --time --time-budget 0.6 --time-device cpu --why --pareto --format json",
    f"{REPLACE} --format csv",
    f"{REPLACE} --only nothing",
    "sweep grid.toml --format json",
    "sweep grid.toml --format csv",
    "sweep grid.toml --out costs",
    "sweep grid.toml --out costs --pareto macs",
    "sweep grid.toml --pareto macs,params --format csv",
    "sweep grid.toml --top 3 --sort macs_ratio --group-by k --format csv",
    "sweep grid.toml --group-by block --format csv",
    "sweep grid.toml --dry-run --format json",
    "sweep grid.toml --top 3",
    "sweep models.py",
    "check --format json",
    "check --format csv",
    "check --format github",
    "check --update --format json",
    "check wide.py:net --input 1x3x8x8 --max-macs 1",
    f"{CHECK} --max-macs 1 --format json",
    f"{CHECK} --max-latency '60 s' --format json",
    f"{CHECK} --max-macs 1 --format csv",
    "check models.py:Spectral --input 1x3x8x8 --max-macs '100 k'",
    "check models.py:Spectral --input 1x3x8x8 --max-macs '100 k' --strict --format json",
    "check --config grown.toml --format json",
    "check --config nothing.toml",
    "check --base HEAD",
    "config show",
    "config schema",
    "history",
    "history --format json",
    "history --format csv",
    "history --limit 0",
    "nothing",
)


def fields(value: Any, path: str = "") -> set[str]:
    """The paths of the names in a JSON text; elements of a list share theirs."""
    if isinstance(value, list):
        return {name for one in value for name in fields(one, f"{path}[]")}
    if isinstance(value, dict):
        return {f"{path}.{key}" for key in value}.union(*(fields(one, f"{path}.{key}") for key, one in value.items()))
    return set()


def printed(words: list[str]) -> tuple[int, str]:
    """The exit code, and what the command prints on stdout."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        code = main(words)
    return code, out.getvalue()


def outcome(call: str) -> dict[str, Any]:
    code, out = printed(shlex.split(call))
    result: dict[str, Any] = {"exit_code": code}
    if out and ("--format json" in call or call == "config show"):
        result["fields"] = sorted(fields(json.loads(out)))
    if "--format csv" in call:
        result["head"] = out.partition("\n")[0].split(",")
    return result


def options(command: str) -> list[str]:
    _, out = printed([*command.split(), "--help"])
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", out)))


def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """Run every call in a folder, which is the current one, with two models and their budgets."""
    (folder / "models.py").write_text(MODEL, encoding="utf-8")
    (folder / "convcost.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "grown.toml").write_text(CONFIG.replace("100 k", "200 k"), encoding="utf-8")
    (folder / "grid.toml").write_text(GRID, encoding="utf-8")
    calls = {}
    for call in CALLS:
        if call == "check --config grown.toml --format json":  # grown since the lock, which lies beside both
            (folder / "models.py").write_text(MODEL.replace("width, 16", "width, 24"), encoding="utf-8")
        sys.modules.pop("models", None)
        calls[call] = outcome(call)
    return calls


def all_options() -> dict[str, list[str]]:
    return {f"convcost {command}".strip(): options(command) for command in HELP}


def compared_with(golden: str, now: dict[str, Any], config: pytest.Config) -> dict[str, Any]:
    """What the golden file holds; what there is now where that is to be written."""
    path = GOLDEN / f"{golden}.json"
    if config.getoption("overwrite"):
        path.write_text(f"{json.dumps(now, indent=1)}\n", encoding="utf-8")
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.usefixtures("small_calibration")
def test_every_call_ends_as_before_and_loses_no_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVCOST_DB", str(tmp_path / "history.sqlite3"))
    monkeypatch.setenv("CONVCOST_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    now = outcomes(tmp_path)
    before = compared_with("calls", now, pytestconfig)
    assert {call: one["exit_code"] for call, one in now.items()} == {
        call: one["exit_code"] for call, one in before.items()
    }
    lost = {call: set(one.get("fields", ())) - set(now[call].get("fields", ())) for call, one in before.items()}
    assert not any(lost.values()), lost
    for call, one in before.items():
        head = [name for name in now[call].get("head", ()) if name in one["head"]]
        assert head == one.get("head", []), call


def test_no_option_is_lost(pytestconfig: pytest.Config) -> None:
    now = all_options()
    before = compared_with("options", now, pytestconfig)
    lost = {command: set(names) - set(now[command]) for command, names in before.items()}
    assert not any(lost.values()), lost

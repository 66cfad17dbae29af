"""Tests keep timings in a folder of their own run and see no calibration: never what the person who runs them has."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = tempfile.TemporaryDirectory(prefix="convcost-tests-", ignore_cleanup_errors=True)
os.environ["CONVCOST_DB"] = str(Path(_FOLDER.name) / "history.sqlite3")  # subprocesses inherit it
os.environ["XDG_CACHE_HOME"] = _FOLDER.name  # no calibration of this machine, wherever the tests run
os.environ.pop("CONVCOST_MACHINE", None)
os.environ["PYTHONDONTWRITEBYTECODE"] = (
    "1"  # a model that a test edits within a second would be taken from its bytecode
)
sys.dont_write_bytecode = True
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a background job; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:  # torch in each of several workers would use every core
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden files are written on request alone."""
    parser.addoption("--overwrite", action="store_true", help="write the files of tests/golden anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs torch: the room `nn`, and test files that import it; single tests elsewhere carry the mark."""
    for item in items:
        imported = vars(item.getparent(pytest.Module).obj) if isinstance(item, pytest.Function) else {}
        if "nn" in item.path.relative_to(item.config.rootpath).parts or {"torch", "keras"} & imported.keys():
            item.add_marker("torch")


@pytest.fixture(scope="session", autouse=True)
def _history_of_the_tests() -> Iterator[None]:
    yield
    _FOLDER.cleanup()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history of one test's own, which does not exist yet."""
    path = tmp_path / "history.sqlite3"
    monkeypatch.setenv("CONVCOST_DB", str(path))
    return path


@pytest.fixture(autouse=True)
def _quiet_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others leave the machine alone: no half second to look at it, and no notes that depend on them."""
    if request.node.get_closest_marker("timing"):
        for home in ("session", "machine"):
            monkeypatch.setattr(f"convcost.nn.measure.{home}.other_load", lambda _: 0.0)


@pytest.fixture
def small_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of step of a calibration, but for fewer dtypes and on smaller data."""
    for name, value in {
        "DTYPES": ("float32", "bfloat16", "float16"),
        "GEMMS": (128,),
        "CONVOLUTIONS": ((16, 3, 14),),
        "MEMORY_BYTES": (1 << 24,),
    }.items():
        monkeypatch.setattr(f"convcost.nn.measure.machine.{name}", value)

"""The import contracts of pyproject.toml leave no module out: a new one must be put into a room."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOORS = {
    "convcost.api",
    "convcost.archive.storing",
    "convcost.workflows.baseline",
    "convcost.workflows.check",
    "convcost.cli",
    "convcost.workflows.compare",
    "convcost.workflows.kernel",
    "convcost.workflows.model",
    "convcost.nn",
    "convcost.pytest",
    "convcost.pytest_plugin",
}
"""What may reach torch: `nn`, the modules that import it when they are called, and those that call them."""
PLAIN = {"convcost._version", "convcost.__main__"}


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_in(name: str, rooms: set[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_each_module_is_a_door_or_kept_from_torch() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    kept = next(set(contract["source_modules"]) for contract in contracts if "doors" in contract["name"])
    rooms = {named(path.parent / "__init__.py") for path in ROOT.glob("convcost/**/*.py")}
    modules = {named(path) for path in ROOT.glob("convcost/**/*.py")} - PLAIN - rooms
    assert len(modules) > 100
    assert {name for name in modules if not is_in(name, DOORS) and not is_in(name, kept)} == set()
    assert {name for name in modules if is_in(name, DOORS) and is_in(name, kept)} == set()

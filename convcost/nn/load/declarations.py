"""What the build files of a project declare about its packages: their folders, and their names."""

from __future__ import annotations

import ast
import re
from configparser import ConfigParser
from configparser import Error as ConfigError
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any, Final

from convcost.text.errors import ConvcostError
from convcost.text.input_file import read_file
from convcost.text.toml import parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDERS: Final = (
    "tool.setuptools.package-dir",
    "tool.setuptools.packages.find.where",
    "tool.poetry.packages",
    "tool.hatch.build.targets.wheel.sources",
    "tool.pdm.build.package-dir",
    "tool.maturin.python-source",
    "tool.uv.build-backend.module-root",
)
"""Keys of pyproject.toml that name the folders with a project's packages."""
PROJECTS: Final = ("project.name", "tool.poetry.name")
"""Keys of pyproject.toml that name the project."""
PACKAGES: Final = (
    "tool.setuptools.package-dir",
    "tool.setuptools.packages",
    "tool.setuptools.py-modules",
    "tool.poetry.packages",
    "tool.hatch.build.targets.wheel.packages",
    "tool.hatch.build.targets.wheel.sources",
    "tool.hatch.build.targets.wheel.force-include",
    "tool.flit.module",
    "tool.maturin.module-name",
    "tool.uv.build-backend.module-name",
)
"""Keys of pyproject.toml with the names of packages below them."""
SETUP: Final = ("name", "package_dir", "packages", "py_modules")
"""Options of setup.cfg and setup.py that name the project or its packages."""


def declared_folders(place: Path) -> Iterator[Path]:
    """The folders of a project that hold its packages and are none themselves, the project's own last."""
    pyproject = _pyproject(place)
    named = [place / name for key in FOLDERS for name in _folder_texts(_value(pyproject, key))]
    folders = (root for root in dict.fromkeys((place / "src", *named)) if root.is_dir())
    yield from (root for root in folders if not (root / "__init__.py").is_file())
    yield place


def is_installed(place: Path) -> bool:
    """Whether the project of a folder is installed, by the name in its pyproject.toml."""
    pyproject = _pyproject(place)
    name = next(filter(None, (_value(pyproject, key) for key in PROJECTS)), None)
    try:
        return isinstance(name, str) and distribution(name) is not None
    except PackageNotFoundError:
        return False


def declared_names(place: Path) -> set[str]:
    """The names that the build files in a folder give to a project, and to packages whose folders have other names."""
    pyproject = _pyproject(place)
    texts = [text for key in (*PROJECTS, *PACKAGES) for text in _all_texts(_value(pyproject, key))]
    texts += [word for text in (*_setup_cfg(place), *_setup_py(place)) for word in re.split(r"[\s,=]+", text)]
    parts = [part for text in texts for part in text.split("/")]
    return {part.replace("-", "_") for part in parts if re.fullmatch(r"[\w.-]+", part)}


def _pyproject(place: Path) -> dict[str, Any]:
    path = place / "pyproject.toml"
    try:
        return parse_toml(read_file(path, "config", "give the path of one"), str(path)).values
    except ConvcostError:  # there is none, or it is damaged: it declares nothing
        return {}


def _setup_cfg(place: Path) -> Iterator[str]:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(_text(place / "setup.cfg"))
    except ConfigError:  # it is damaged: it declares nothing
        return
    for section in ("metadata", "options"):
        yield from (parser.get(section, key, fallback="") for key in SETUP)


def _setup_py(place: Path) -> Iterator[str]:
    try:
        tree = ast.parse(_text(place / "setup.py"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for word in ast.walk(tree):
        if isinstance(word, ast.keyword) and word.arg in SETUP:
            constants = (one.value for one in ast.walk(word.value) if isinstance(one, ast.Constant))
            yield from (value for value in constants if isinstance(value, str))


def _text(path: Path) -> str:
    try:
        return read_file(path, "config", "give the path of one").decode(errors="replace")
    except ConvcostError:
        return ""


def _value(table: object, dotted: str) -> object:
    for key in dotted.split("."):
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _folder_texts(value: object) -> Iterator[str]:
    """The folders in a declaration: a text, a list of them, or the tables of setuptools ("") and Poetry (from)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _folder_texts(value.get("", value.get("from")))
    elif isinstance(value, list):
        for one in value:
            yield from _folder_texts(one)


def _all_texts(value: object) -> Iterator[str]:
    """The texts in a value, keys of tables among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for one in (*value, *(value.values() if isinstance(value, dict) else ())):
            yield from _all_texts(one)

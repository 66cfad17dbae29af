"""The files of one revision of a project, from which a budget's own modules are to be imported."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, BuiltinImporter, FrozenImporter, PathFinder
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convcost.nn.load.user_code import PACKAGE_FOLDER, import_folders, import_path, library_folders
from convcost.text.errors import ConvcostError
from convcost.text.input_file import is_file, read_file
from convcost.text.toml import parse_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

STANDARD_FINDERS: Final = (BuiltinImporter, FrozenImporter, PathFinder)
MAIN: Final = ("__main__", "__mp_main__")
ZOOS: Final = ("torchvision:", "timm:")
"""Beginnings of targets that are models of an installed package by definition."""
DECLARATIONS: Final = (
    "tool.setuptools.package-dir",
    "tool.setuptools.packages.find.where",
    "tool.poetry.packages",
    "tool.hatch.build.targets.wheel.sources",
    "tool.pdm.build.package-dir",
    "tool.maturin.python-source",
    "tool.uv.build-backend.module-root",
)
"""Keys of pyproject.toml that name the folders with a project's packages."""


@dataclass(frozen=True, slots=True)
class SourceTree:
    """The files of one revision of a project.

    Attributes:
        root: Absolute path of the revision's files.
        project: Absolute path of the working tree; equal to `root` unless that is a checkout of another revision.
    """

    root: Path
    project: Path

    @property
    def is_checkout(self) -> bool:
        """Whether it stands in for the working tree."""
        return self.root != self.project

    def holds(self, file: str) -> bool:
        """Whether a file is one of the revision's own; a virtual environment in its folder is not."""
        return _is_in(self.root, file)


@dataclass(frozen=True, slots=True)
class Sources:
    """The places from which a target's modules were imported.

    A package below namespace packages counts as one module, as do all modules of any other package.

    Attributes:
        inside: Names of modules from the tree.
        outside: Files of the other modules, by name.
        doubted: Names in `outside` that the tree has too, or that the target names.
    """

    inside: frozenset[str]
    outside: dict[str, str]
    doubted: frozenset[str]


def is_data(target: str) -> bool:
    """Whether a target is a network as data, which runs no code of the user's."""
    return target.startswith("network:") or target.endswith(".toml")


def working_tree(folder: Path) -> SourceTree:
    """The tree of a folder: that of its git repository, or the folder alone."""
    folder = folder.resolve()
    root = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), folder)
    return SourceTree(root, root)


@contextmanager
def imports_from(tree: SourceTree, target: str, folder: Path) -> Iterator[None]:
    """Import a target's own modules from a tree, whatever is installed or loaded.

    The import path is restored afterwards.

    Args:
        tree: Files of the revision.
        target: The target.
        folder: Folder in the tree to which the target is relative.
    """
    roots = list(_import_roots(tree, target, folder.resolve()))
    beside = [name for place in import_folders(target, folder) for name in _names(place) if _is_module(place / name)]
    finders = sys.meta_path[:]
    with import_path():
        first = [*import_folders(target, folder), *roots]
        sys.path[:] = [*map(str, first), *(_redirected(entry, tree) for entry in sys.path)]
        sys.meta_path.sort(key=lambda finder: finder not in STANDARD_FINDERS)  # before those of editable installs
        try:
            _forget_stale(tree, {_top(target), *beside, *(name for root in roots for name in _names(root))})
            yield
        finally:
            sys.meta_path[:] = finders
            if tree.is_checkout:
                _forget(name for name, module in list(sys.modules.items()) if tree.holds(_file(module)))


def sources_of(tree: SourceTree, target: str, folder: Path) -> Sources:
    """Where the loaded modules come from, after a target of a folder has run."""
    inside: set[str] = set()
    outside: dict[str, str] = {}
    for name, module in () if is_data(target) else list(sys.modules.items()):
        file = _file(module)
        if file and name not in MAIN and not file.startswith(PACKAGE_FOLDER):
            unit = _unit(name)
            if tree.holds(file):
                inside.add(unit)
            elif unit not in sys.stdlib_module_names:
                outside[unit] = file
    path = (folder / _path(target)).resolve()
    if is_file(path) and not tree.holds(str(path)):
        outside[target] = str(path)
    named = {target} if target.startswith(ZOOS) else {target, _unit(target.partition(":")[0])}
    has = _module_test(tree, folder.resolve())
    doubted = {name for name, file in outside.items() if name in named or has(name) or _is_in(tree.project, file)}
    return Sources(frozenset(inside - outside.keys()), outside, frozenset(doubted))


def _import_roots(tree: SourceTree, target: str, folder: Path) -> Iterator[Path]:
    """The folders of a tree whose packages are imported by their own names.

    Those are the ones that hold the target's module, and those of a project that is installed. One whose installed
    packages have compiled parts that it lacks cannot be used.
    """
    top = _top(target)
    for place in _places(tree, folder):
        is_installed = _is_installed(place)
        for root in _declared_roots(place):
            if (is_installed or top in _names(root)) and not _lacks_compiled_parts(root):
                yield root


def _places(tree: SourceTree, folder: Path) -> Iterator[Path]:
    """The folder and those around it in the tree."""
    return (place for place in (folder, *folder.parents) if place.is_relative_to(tree.root))


def _declared_roots(place: Path) -> Iterator[Path]:
    """The folders of a project that hold its packages and are none themselves, the project's own last."""
    pyproject = _pyproject(place)
    named = [place / name for key in DECLARATIONS for name in _texts(_value(pyproject, key))]
    folders = (root for root in dict.fromkeys((place / "src", *named)) if root.is_dir())
    yield from (root for root in folders if not (root / "__init__.py").is_file())
    yield place


def _module_test(tree: SourceTree, folder: Path) -> Callable[[str], bool]:
    """Whether a tree has a module of a name: where packages are declared, or a package one folder below."""
    places = list(_places(tree, folder))
    declared = {root: _names(root) for place in places for root in _declared_roots(place)}
    others = {inner: _names(inner) for place in places for inner in place.iterdir() if inner not in declared}

    def has(name: str) -> bool:
        top, path = name.partition(".")[0], Path(*name.split("."))
        return any(top in names and _is_module(root / path) for root, names in declared.items()) or any(
            top in names and (root / path / "__init__.py").is_file() and not (root / "__init__.py").is_file()
            for root, names in others.items()
        )

    return has


def _pyproject(place: Path) -> dict[str, Any]:
    path = place / "pyproject.toml"
    try:
        return parse_toml(read_file(path, "config", "give the path of one"), str(path)).values
    except ConvcostError:  # there is none, or it is damaged: it declares nothing
        return {}


def _value(table: object, dotted: str) -> object:
    for key in dotted.split("."):
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _texts(value: object) -> Iterator[str]:
    """The folders in a declaration: a text, a list of them, or the tables of setuptools ("") and Poetry (from)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(value.get("", value.get("from")))
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _is_installed(place: Path) -> bool:
    """Whether the project of a folder is installed, by the name in its pyproject.toml."""
    pyproject = _pyproject(place)
    name = _value(pyproject, "project.name") or _value(pyproject, "tool.poetry.name")
    try:
        return isinstance(name, str) and bool(name) and distribution(name) is not None
    except PackageNotFoundError:
        return False


def _names(root: Path) -> set[str]:
    """The names of the modules and packages in a folder."""
    try:
        entries = list(os.scandir(root))
    except OSError:
        return set()
    names = {entry.name.removesuffix(".py") for entry in entries if entry.name.endswith(".py") or _is_folder(entry)}
    return {name for name in names if name.isidentifier()}


def _is_module(path: Path) -> bool:
    """Whether a path without a suffix is that of a module's file, or of a package with one."""
    return (path / "__init__.py").is_file() or path.with_name(f"{path.name}.py").is_file()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _lacks_compiled_parts(root: Path) -> bool:
    """Whether the installed copy of one of a folder's packages has compiled modules that the folder does not have."""
    for name in _names(root):
        installed = PathFinder.find_spec(name) if (root / name / "__init__.py").is_file() else None
        for place in (installed and installed.submodule_search_locations) or ():
            files = Path(place).rglob("*")
            compiled = (file for file in files if file.name.endswith(tuple(EXTENSION_SUFFIXES)))
            if not all((root / name / file.relative_to(place)).exists() for file in compiled):
                return True
    return False


def _redirected(entry: str, tree: SourceTree) -> str:
    """An entry of the import path, moved from the working tree to the tree; installed packages stay."""
    path = Path(entry).absolute()
    inside = path.is_relative_to(tree.project) and not str(path).startswith(library_folders())
    return str(tree.root / path.relative_to(tree.project)) if inside else entry


def _forget_stale(tree: SourceTree, names: set[str]) -> None:
    """Let the next import find modules of the user's anew if one of them is not what an import would give now.

    Then all are forgotten, since they refer to each other; otherwise all are kept, since not every module can be
    imported twice.

    Args:
        tree: Files of the revision.
        names: Names of top-level modules that are the user's wherever they were loaded from.
    """
    importlib.invalidate_caches()
    own = {name: module for name, module in list(sys.modules.items()) if _is_own(name, module, tree.project, names)}
    if tree.is_checkout or any(_is_stale(name, module) for name, module in own.items()):
        _forget(own)


def _is_own(name: str, module: ModuleType, project: Path, names: set[str]) -> bool:
    file, top = _file(module), name.partition(".")[0]
    if not file or file.startswith(PACKAGE_FOLDER) or top in MAIN or top in sys.stdlib_module_names or top == "torch":
        return False
    return top in names or _is_in(project, file)


def _is_stale(name: str, module: ModuleType) -> bool:
    """Whether an import would give another file."""
    top, nested, _ = name.partition(".")
    specs = (finder.find_spec(top, None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    spec = next((spec for spec in specs if spec is not None), None)
    if spec is None:
        return False
    file = os.path.realpath(_file(module))
    if nested:
        return not any(Path(file).is_relative_to(os.path.realpath(p)) for p in spec.submodule_search_locations or ())
    return spec.origin is None or os.path.realpath(spec.origin) != file


def _forget(names: Iterable[str]) -> None:
    for name in list(names):
        del sys.modules[name]


def _top(target: str) -> str:
    """The name of the top-level module of a target; empty for a file."""
    return "" if _path(target).endswith(".py") else target.partition(":")[0].partition(".")[0]


def _path(target: str) -> str:
    """The path of a target that is a file."""
    where = target.rpartition(":")[0]
    return where if where.endswith(".py") else target


def _unit(name: str) -> str:
    """The name of the package that a module belongs to: its top-level one, or the one below namespace packages."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:end]))
        if module is not None and _file(module):
            return ".".join(parts[:end])
    return name


def _is_in(folder: Path, file: str) -> bool:
    """Whether a file lies in a folder, and not in a virtual environment there."""
    return not file.startswith(library_folders()) and Path(os.path.realpath(file)).is_relative_to(folder)


def _file(module: ModuleType) -> str:
    file = getattr(module, "__dict__", {}).get("__file__")  # some classes in place of modules have one that is no path
    return file if isinstance(file, str) else ""

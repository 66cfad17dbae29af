"""The files of one revision of a project, from which a budget's own modules are to be imported."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, BuiltinImporter, FrozenImporter, PathFinder
from importlib.util import source_from_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.nn.load.declarations import declared_folders, is_installed
from convcost.nn.load.user_code import PACKAGE_FOLDER, ZOOS, import_folders, import_path, is_own_python, library_folders
from convcost.text.input_file import is_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from types import ModuleType

STANDARD_FINDERS: Final = (BuiltinImporter, FrozenImporter, PathFinder)
MAIN: Final = ("__main__", "__mp_main__")


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
        doubted: Names in `outside` that the target names, or whose files are those of the working tree.
        read: Files of the working tree that were read in place of those of a checkout, as paths in the project.
    """

    inside: frozenset[str]
    outside: dict[str, str]
    doubted: frozenset[str]
    read: frozenset[str]


def is_data(target: str) -> bool:
    """Whether a target is a network as data, which runs no code of the user's."""
    return target.startswith("network:") or target.endswith(".toml")


def has_imports(target: str, folder: Path) -> bool:
    """Whether a target of a folder imports modules that a revision may have: the user's Python, or a zoo's."""
    return target.startswith(ZOOS) or is_own_python(target, folder)


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
    finders = sys.meta_path[:]
    with import_path():
        first = [*import_folders(target, folder), *roots]
        sys.path[:] = [*map(str, first), *(_redirected(entry, tree) for entry in sys.path)]
        sys.meta_path.sort(key=lambda finder: finder not in STANDARD_FINDERS)  # before those of editable installs
        try:
            _forget_stale(
                tree, {_top(target), *_beside(target, folder), *(name for root in roots for name in _names(root))}
            )
            yield
        finally:
            sys.meta_path[:] = finders
            if tree.is_checkout:
                _forget(name for name, module in list(sys.modules.items()) if tree.holds(_file(module)))


def forget_other_modules(target: str, folder: Path) -> None:
    """Let a target import its own modules where another target has loaded others of the same names.

    Its folders are the first on the import path.
    """
    _forget_stale(None, {_top(target), *_beside(target, folder)})


def _beside(target: str, folder: Path) -> Iterator[str]:
    """The names of the modules in the folders that come first on the import path of a target."""
    for place in import_folders(target, folder):
        yield from (name for name in _names(place) if _is_module(place / name))


def opened_files() -> set[str]:
    """The paths of the files that Python opens in this process, which should be a child: this never ends."""
    paths: set[str] = set()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            with suppress(OSError, ValueError):  # the current folder is gone, or it is no path
                paths.add(os.path.abspath(os.fsdecode(arguments[0])))  # noqa: PTH100 - Path opens no faster, and imports

    sys.addaudithook(hook)
    return paths


def sources_of(tree: SourceTree, target: str, folder: Path, opened: Collection[str]) -> Sources:
    """Where the loaded modules come from, after a target of a folder has run.

    Args:
        tree: Files of the revision.
        target: The target.
        folder: Folder in the tree to which the target is relative.
        opened: Files that were opened meanwhile, where the tree is a checkout.
    """
    inside: set[str] = set()
    outside: dict[str, str] = {}
    for name, module in list(sys.modules.items()) if has_imports(target, folder) else ():
        file = _file(module)
        if file and name not in MAIN and not file.startswith(PACKAGE_FOLDER):
            unit = _unit(name)
            if tree.holds(file):
                inside.add(unit)
            elif unit not in sys.stdlib_module_names:
                outside[unit] = file
    for name, file in _executed(opened):
        if not tree.holds(file) and name not in inside and name not in sys.stdlib_module_names:
            outside.setdefault(name, file)
    path = (folder / _path(target)).resolve()
    if is_file(path) and not tree.holds(str(path)):
        outside[target] = str(path)
    named = {target} if target.startswith(ZOOS) else {target, _unit(target.partition(":")[0])}
    doubted = {name for name, file in outside.items() if name in named or _is_in(tree.project, file)}
    read = (Path(os.path.realpath(_source(file))) for file in opened if _is_in(tree.project, file))
    places = frozenset(file.relative_to(tree.project).as_posix() for file in read)
    return Sources(frozenset(inside - outside.keys()), outside, frozenset(doubted), places)


def _executed(opened: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The modules whose files on the import path were opened: one that `runpy` executes is not among the loaded."""
    for file in map(_source, opened):
        for entry in map(Path, sys.path):
            if file.endswith(".py") and Path(file).is_relative_to(entry):
                parts = Path(file).with_suffix("").relative_to(entry).parts
                yield _unit(".".join(parts).removesuffix(".__init__")), file


def _source(file: str) -> str:
    """The source of a compiled module's file; any other file."""
    with suppress(ValueError, NotImplementedError):
        return source_from_cache(file)
    return file


def _import_roots(tree: SourceTree, target: str, folder: Path) -> Iterator[Path]:
    """The folders of a tree whose packages are imported by their own names.

    Those are the ones that hold the target's module, and those of a project that is installed. One whose installed
    packages have compiled parts that it lacks cannot be used.
    """
    top = _top(target)
    for place in _places(tree, folder):
        is_project = is_installed(place)
        for root in declared_folders(place):
            if (is_project or top in _names(root)) and not _lacks_compiled_parts(root):
                yield root


def _places(tree: SourceTree, folder: Path) -> Iterator[Path]:
    """The folder and those around it in the tree."""
    return (place for place in (folder, *folder.parents) if place.is_relative_to(tree.root))


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
    inside = path.is_relative_to(tree.project) and not f"{path}{os.sep}".startswith(library_folders())
    return str(tree.root / path.relative_to(tree.project)) if inside else entry


def _forget_stale(tree: SourceTree | None, names: set[str]) -> None:
    """Let the next import find modules of the user's anew if one of them is not what an import would give now.

    Then all are forgotten, since they refer to each other; otherwise all are kept, since not every module can be
    imported twice.

    Args:
        tree: Files of the revision; None for no other modules than those of the names.
        names: Names of top-level modules that are the user's wherever they were loaded from.
    """
    importlib.invalidate_caches()
    project = None if tree is None else tree.project
    own = {name: module for name, module in list(sys.modules.items()) if _is_own(name, module, project, names)}
    if (tree is not None and tree.is_checkout) or any(_is_stale(name, module) for name, module in own.items()):
        _forget(own)


def _is_own(name: str, module: ModuleType, project: Path | None, names: set[str]) -> bool:
    file, top = _file(module), name.partition(".")[0]
    if not file or file.startswith(PACKAGE_FOLDER) or top in MAIN or top in sys.stdlib_module_names or top == "torch":
        return False
    return top in names or (project is not None and _is_in(project, file))


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

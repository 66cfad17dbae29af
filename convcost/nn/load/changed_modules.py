"""The modules of which an installed copy may be an old copy of a changed file."""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from convcost.nn.load.declarations import declared_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator


def changed_modules(changed: Iterable[str], trees: Collection[Path], loaded: Collection[str]) -> set[str]:
    """The names by which installed copies of changed files may be imported.

    Args:
        changed: Paths of the files in each tree.
        trees: Two revisions of a project.
        loaded: Names of the modules that were loaded from the project's own files, which need no copy.
    """

    @cache
    def is_package(folder: PurePosixPath) -> bool:
        return any((tree / folder / "__init__.py").is_file() for tree in trees)

    names: set[str] = set()
    folders: set[PurePosixPath] = set()
    for file in map(PurePosixPath, changed):
        folders.update(file.parents)
        own = set(_names(file, [folder for folder in file.parents[:-1] if is_package(folder)]))
        names |= set() if own.intersection(loaded) else own
    return names.union(*(declared_names(tree / folder) for tree in trees for folder in folders))


def _names(file: PurePosixPath, packages: Collection[PurePosixPath]) -> Iterator[str]:
    """The names of a file's outermost package, or of a module in none: they begin at each folder around it."""
    top = file.with_suffix("")
    for folder in file.parents:
        if folder not in packages:
            break
        top = folder
    if top in packages or file.suffix == ".py":
        yield from (".".join(top.parts[start:]) for start in range(len(top.parts)))

"""The file of a sweep, or a mapping with its keys, read; every mistake of a file has its line and column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from convcost.comparison.request import catalogue
from convcost.convolution.blocks import DEFAULT_BLOCKS, find_block
from convcost.convolution.spec import SHORT_SIZES, short_names
from convcost.grids.axis import REQUIRED, Axis, AxisError, known_axes, parse_axis
from convcost.grids.columns import COLUMNS, column_name
from convcost.grids.configuration import Configuration
from convcost.grids.constraint import Constraint, ConstraintError
from convcost.grids.grid import Grid
from convcost.text.errors import ConvcostError, as_text, did_you_mean
from convcost.text.input_file import read_file
from convcost.text.toml import Mistake, Place, TomlError, TomlFile, parse_toml
from convcost.text.toml_tables import Read, read_table, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from convcost.text.toml import Key

MAX_ROWS: Final = 10**12
"""Largest number of rows before conditions and rules of blocks."""


def _block(value: str) -> str:
    return value if value == "all" else find_block(value).name


def _column(value: str) -> str:
    name = column_name(value)
    if name not in COLUMNS:
        raise ConvcostError(f"(={as_text(value)}) must be one of a sweep's columns; {did_you_mean(value, COLUMNS)}")
    return name


def _text(read: Any) -> Any:  # noqa: ANN401 - a function of a text
    return require('must be a text; write it as "...".', lambda value: isinstance(value, str), read)


@dataclass(frozen=True)
class _File:
    """The keys of a sweep's file."""

    axes: dict[str, Any]
    blocks: list[Annotated[str, Read(_text(_block))]] = field(default_factory=lambda: list(DEFAULT_BLOCKS))
    where: list[str] = field(default_factory=list)
    illegal: Literal["count", "rows"] = "count"
    columns: list[Annotated[str, Read(_text(_column))]] = field(default_factory=list)
    baseline: Annotated[str, Read(_text(lambda value: find_block(value).name))] = "standard"


def load_configuration(path: Path) -> Configuration:
    """The configuration in a file.

    Raises:
        ConvcostError: The file cannot be read.
        TomlError: It has mistakes; the error has all of them, each with line and column.
    """
    data = read_file(path, "file", "give the path of a sweep's TOML file")
    return _configuration(parse_toml(data, str(path)), data.decode("utf-8-sig").split("\n"))


def read_configuration(values: Mapping[str, object]) -> Configuration:
    """The configuration of a mapping with the keys of a file.

    Raises:
        ConvcostError: It has a mistake.
    """
    plain = {key: _plain(value) for key, value in values.items()}
    try:
        return _configuration(TomlFile("sweep", plain, dict.fromkeys(_paths(plain, ()), Place(1, 1)), {}), [])
    except TomlError as error:
        raise ConvcostError(error.first.text) from None


def _plain(value: object) -> object:
    """Mappings and tuples of Python as those of a file."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _paths(value: object, path: Key) -> Iterator[Key]:
    """The paths to all keys and entries."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


def _configuration(file: TomlFile, lines: Sequence[str]) -> Configuration:
    mistakes: list[Mistake] = []
    try:
        read: Any = read_table(file, _File, (), {"axes": "write [axes] with c, o and k"})
    except TomlError as error:
        mistakes += error.mistakes
    else:
        mistakes += _repeated(file, "blocks", [catalogue([name]) for name in read.blocks])
        mistakes += _repeated(file, "columns", [[name] for name in read.columns])
    for key in ("blocks", "columns"):
        value = file.values.get(key)
        if isinstance(value, list) and not value:
            mistakes.append(
                Mistake(file.place((key,)), f"{key} (=[]) must not be empty; leave it out for the default.")
            )
    axes = _axes(file, mistakes)
    where = _conditions(file, lines, mistakes)
    if mistakes:
        raise TomlError(file.source, tuple(dict.fromkeys(sorted(mistakes, key=lambda one: one.place))))
    made = Configuration(catalogue(read.blocks), axes, where, read.illegal, tuple(read.columns), read.baseline)
    _require_rows(file, made)
    return made


def _repeated(file: TomlFile, key: str, names: Iterable[Iterable[str]]) -> Iterator[Mistake]:
    """The entries of a list with a name that an earlier entry has.

    Args:
        file: File with the list.
        key: Key of the list.
        names: Names that each entry stands for.
    """
    seen: set[str] = set()
    for index, several in enumerate(names):
        if not seen.isdisjoint(several):
            text = f"{key}.{index} (={as_text(file.value((key, index)))}) must be there once; leave the second one out."
            yield Mistake(file.place((key, index)), text)
        seen.update(several)


def _axes(file: TomlFile, mistakes: list[Mistake]) -> tuple[Axis, ...]:
    full = {short: long for long, short in short_names().items()}
    axes: dict[str, Axis] = {}
    given = file.value(("axes",))
    if not isinstance(given, dict) or "axes" not in file.values:
        return ()
    for key, values in given.items():
        name, path = full.get(key, key), ("axes", key)
        if name not in known_axes():
            hint = did_you_mean(key, (*known_axes(), *full))
            mistakes.append(Mistake(file.place(path, of_key=True), f"axes.{key} is no size or parameter; {hint}"))
        elif name in axes:
            other = next(one for one in given if full.get(one, one) == name)
            text = f"axes.{key} must be there once, and is there as {other} too; leave one out."
            mistakes.append(Mistake(file.place(path, of_key=True), text))
        else:
            axes[name] = Axis(name, ())
            try:
                axes[name] = parse_axis(name, values)
            except AxisError as error:
                where = (*path, *error.path)
                mistakes.append(Mistake(file.place(where, of_key=error.of_key), f"{'.'.join(map(str, where))} {error}"))
    place = file.place(("axes",), of_key=True)
    for name in REQUIRED:
        if name not in axes:
            key = SHORT_SIZES[name]
            text = f"axes.{key} (=missing) must be there; write {key} = [...] with the values of {name}."
            mistakes.append(Mistake(place, text, missing=True))
    return tuple(axes.values())


def _conditions(file: TomlFile, lines: Sequence[str], mistakes: list[Mistake]) -> tuple[Constraint, ...]:
    made = []
    given = file.value(("where",))
    for index, text in enumerate(given if isinstance(given, list) else ()):
        if isinstance(text, str):
            try:
                made.append(Constraint(" ".join(Constraint(text).text.split())))  # equal but for blanks is equal
            except ConstraintError as error:
                place = _inside(file.place(("where", index)), lines, text, error.offset)
                mistakes.append(Mistake(place, f"where.{index} {error}"))
    return tuple(made)


def _inside(start: Place, lines: Sequence[str], text: str, offset: int) -> Place:
    """The position of a character of a text; the text's own where escapes or line breaks stand before it."""
    shown = lines[start.line - 1][start.column :] if start.line <= len(lines) else ""
    is_plain = shown.startswith(text[: offset + 1])
    return Place(start.line, start.column + 1 + offset) if is_plain else start


def _require_rows(file: TomlFile, made: Configuration) -> None:
    """Refuse a grid that no program could go through, at its longest axis."""
    size = Grid(made).size
    if size > MAX_ROWS:
        longest = max(made.axes, key=lambda axis: len(axis.values))
        names = {longest.name, short_names().get(longest.name)}
        axes = file.value(("axes",))
        key = next(key for key in axes if key in names) if isinstance(axes, dict) else longest.name
        file.refuse(
            ("axes", key),
            f"must leave the grid at most 10^12 rows, and it has {size:,}; give this axis fewer values.",
            of_key=True,
        )

"""TOML in and out: what a file means, where each key and value stands, and values as TOML writes them."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar

import tree_sitter_toml
from tree_sitter import Language, Parser

from convcost.text.errors import ConvcostError, as_text, did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tree_sitter import Node


__all__ = [
    "Key",
    "Mistake",
    "Place",
    "Table",
    "TomlError",
    "TomlFile",
    "key_text",
    "parse_toml",
    "quoted",
    "split_source",
    "value_text",
]


def key_text(name: str) -> str:
    """A name as a TOML key: bare where it can be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)


def quoted(text: str) -> str:
    """A TOML basic string: JSON's, with the one character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def value_text(value: object) -> str:
    """A value in TOML, lists and tables on one line.

    >>> print(value_text({"a": [1, True], "b c": {"x": 0.5}}))
    { a = [1, true], "b c" = { x = 0.5 } }

    Raises:
        ConvcostError: a value that TOML has no form for, such as None.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)  # TOML spells exponents, inf and nan as Python does
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        pairs = ", ".join(f"{key_text(key)} = {value_text(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    msg = f"(={as_text(repr(value))}) must have a form in TOML; leave it out, or wrap the target in a function."
    raise ConvcostError(msg)


Key: TypeAlias = tuple[str | int, ...]
"""A way into a file's values: keys of tables and, from 0, numbers of list entries."""


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """A position in a text, both numbers from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something that is wrong at a place: what, the rule and the next step."""

    place: Place
    text: str


class TomlError(ConvcostError):
    """Everything that is wrong with a TOML file.

    Args:
        source: the file's name.
        mistakes: in the order of the file.
    """

    def __init__(self, source: str, mistakes: tuple[Mistake, ...]) -> None:
        self.source, self.mistakes = source, mistakes
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """One mistake each, as FILE:LINE:COLUMN: what, rule, next step."""
        places = (f"{self.source}:{one.place.line}:{one.place.column}" for one in self.mistakes)
        return tuple(one_line(f"{at}: {one.text}") for at, one in zip(places, self.mistakes, strict=True))


@dataclass(frozen=True, slots=True)
class TomlFile:
    """What a TOML file means, and where.

    Attributes:
        source: the file's name, for messages.
        values: as tomllib reads them.
        keys: where each key (or list entry) begins.
        starts: where each value begins.
    """

    source: str
    values: dict[str, Any]
    keys: dict[Key, Place]
    starts: dict[Key, Place]

    def place(self, key: Key, *, of_key: bool = False) -> Place:
        """Where a value begins, a table's at its key; of a key that is not there, where its table does.

        Args:
            key: the way to it.
            of_key: where the key itself begins.
        """
        found = (self.keys if of_key else self.starts).get(key)
        while found is None and key:
            found, key = self.keys.get(key), key[:-1]
        return found or Place(1, 1)

    def at(self, key: Key, *, of_key: bool = False) -> str:
        """FILE:LINE:COLUMN of a value or a key."""
        place = self.place(key, of_key=of_key)
        return f"{self.source}:{place.line}:{place.column}"


def split_source(source: str) -> tuple[str, ...]:
    """The file, the line and, where it is there, the column of a place in words.

    >>> split_source("convcost.toml:3:8"), split_source("a:b.toml:3"), split_source("")
    (('convcost.toml', '3', '8'), ('a:b.toml', '3'), ('',))
    """
    found = re.fullmatch(r"(.+?):(\d+)(?::(\d+))?", source, re.DOTALL)
    return tuple(filter(None, found.groups())) if found else (source,)


def parse_toml(data: bytes, source: str) -> TomlFile:
    """Read a TOML file.

    Args:
        data: the file.
        source: its name, for messages.

    Raises:
        TomlError: no UTF-8, or no TOML; with line and column.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        wrong = Mistake(Place(line, column), "the file must be UTF-8 text; save it with that encoding.")
        raise TomlError(source, (wrong,)) from error
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise TomlError(source, (_syntax_mistake(error, data, text),)) from error
    try:
        scanned = _Scanner(data)
    except _TooDeepError as error:
        raise TomlError(source, (Mistake(error.place, f"the file must be TOML: {_TOO_DEEP}; {_MEND}"),)) from None
    return TomlFile(source, values, scanned.keys, scanned.starts)


_MOST_LEVELS: Final = 100
"""Of tables and lists in each other: what is read can then be walked and written by functions that call themselves."""
_TOO_DEEP: Final = "it nests too deeply"
_MEND: Final = "mend the text there."


def _syntax_mistake(error: Exception, data: bytes, text: str) -> Mistake:
    """What tomllib says, at its position."""
    if not isinstance(error, (tomllib.TOMLDecodeError, RecursionError)):  # Python's own word on a number, placeless
        most = sys.get_int_max_str_digits()
        return Mistake(_longer_number(data, most), f"a number must have at most {most} digits; {_MEND}")
    what, _, where = str(error).rpartition(" (at ")
    found = re.fullmatch(r"line (\d+), column (\d+)\)", where)
    end = Place(text.count("\n") + 1, len(text.rpartition("\n")[2]) + 1)
    rule = (what or str(error)).lower() if isinstance(error, ValueError) else _TOO_DEEP
    place = Place(int(found[1]), int(found[2])) if found else end
    return Mistake(place, f"the file must be TOML: {rule}; {_MEND}")


def _root(data: bytes) -> Node:
    return Parser(Language(tree_sitter_toml.language())).parse(data).root_node


def _place(node: Node, lines: Sequence[bytes]) -> Place:
    row, column = node.start_point
    return Place(row + 1, len(lines[row][:column].decode("utf-8")) + 1)


def _longer_number(data: bytes, most: int) -> Place:
    """The first decimal number of more digits than that."""
    nodes = [_root(data)]
    while nodes:
        node = nodes.pop()
        nodes += reversed(node.named_children)
        if node.type == "integer" and re.fullmatch(rb"[+-]?(\d_?){%d,}" % (most + 1), node.text or b""):
            return _place(node, data.split(b"\n"))
    return Place(1, 1)


class _TooDeepError(Exception):
    """Tables and lists in each other, more than anybody writes."""

    def __init__(self, place: Place) -> None:
        self.place = place
        super().__init__(place)


class _Scanner:
    """Keys and values of a file that tomllib has accepted."""

    def __init__(self, data: bytes) -> None:
        self.keys: dict[Key, Place] = {}
        self.starts: dict[Key, Place] = {}
        self._lines = data.split(b"\n")
        self._lengths: dict[Key, int] = {}
        root = _root(data)
        self._pairs(root, ())
        for table in root.named_children:
            if table.type in {"table", "table_array_element"}:
                self._table(table)

    def _note(self, places: dict[Key, Place], way: Key, node: Node) -> None:
        place = _place(node, self._lines)
        if len(way) > _MOST_LEVELS:
            raise _TooDeepError(place)
        places.setdefault(way, place)

    def _table(self, table: Node) -> None:
        """A table's header, and what stands under it."""
        words = _words(table.named_children[0])
        path = [word for word, _ in words]
        if table.type == "table_array_element":
            entries = (*self._reached(path[:-1]), path[-1])
            self._lengths[entries] = self._lengths.get(entries, 0) + 1
        for depth, (_, node) in enumerate(words, start=1):
            way = self._reached(path[:depth])
            for part in (way, way[:-1] if isinstance(way[-1], int) else way):
                self._note(self.keys, part, node)
        self._pairs(table, self._reached(path))

    def _reached(self, path: Sequence[str]) -> Key:
        """The way to a header's table, through the last entry of each list of tables on it."""
        way: Key = ()
        for word in path:
            way = (*way, word)
            if way in self._lengths:
                way = (*way, self._lengths[way] - 1)
        return way

    def _pairs(self, node: Node, way: Key) -> None:
        for pair in (child for child in node.named_children if child.type == "pair"):
            key, value = (child for child in pair.named_children if child.type != "comment")
            inner = way
            for word, part in _words(key):
                inner = (*inner, word)
                self._note(self.keys, inner, part)
            self._value(inner, value)

    def _value(self, way: Key, node: Node) -> None:
        self._note(self.starts, way, node)
        if node.type == "inline_table":
            self._pairs(node, way)
        elif node.type == "array":
            for index, child in enumerate(child for child in node.named_children if child.type != "comment"):
                self._note(self.keys, (*way, index), child)
                self._value((*way, index), child)


def _words(node: Node) -> list[tuple[str, Node]]:
    """The words of a bare, quoted or dotted key, in order, each with its node."""
    nodes, words = [node], []
    while nodes:
        part = nodes.pop()
        text = (part.text or b"").decode("utf-8")
        if part.type == "dotted_key":
            nodes += reversed(part.named_children)
        else:
            words.append((text if part.type == "bare_key" else next(iter(tomllib.loads(f"{text} = 0"))), part))
    return words


Word = TypeVar("Word", bound=str)
_SHARE: Final = r"\d{1,9}(/0{0,8}[1-9]\d{0,8}|\.\d{1,17})?"
"""A number without an exponent, or a fraction whose denominator is not 0."""


@dataclass(frozen=True, slots=True)
class Table:
    """Keys and values with the place they come from.

    Attributes:
        where: the file, and the table in it, such as `net.toml: layers[3]` (counted from 1).
        values: as tomllib reads them.
    """

    where: str
    values: Mapping[str, object]

    def refuse(self, key: str, rule: str) -> NoReturn:
        """Say what is wrong with a key's value.

        Raises:
            ConvcostError: always.
        """
        msg = f"{self.where}: {key} (={as_text(self.values.get(key))}) {rule}"
        raise ConvcostError(msg)

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Refuse keys that nothing reads.

        Raises:
            ConvcostError: the first one, with the nearest known key.
        """
        for key in self.values:
            if key not in known:
                self.refuse(key, f"is no key of this table; {did_you_mean(key, known)}")

    def text(self, key: str, default: str) -> str:
        """A text that is not empty."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or not (value or not default):
            self.refuse(key, f'must be a text; write {key} = "{default or "..."}".')
        return value

    def choice(self, key: str, default: Word, choices: Collection[Word]) -> Word:
        """One of these words."""
        value = self.values.get(key, default)
        found = next((word for word in choices if word == value), None)
        if found is None:
            hint = did_you_mean(value, choices) if isinstance(value, str) else f"known: {', '.join(choices)}."
            self.refuse(key, f"must be one of its words; {hint}")
        return found

    def flag(self, key: str) -> bool:
        """True or false; false when it is not there."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            self.refuse(key, f"must be true or false; write {key} = true.")
        return value

    def integer(self, key: str, default: int, least: int = 1, most: int | None = None) -> int:
        """A whole number from `least` to `most`."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least or (most and value > most):
            upper = f" and at most {most}" if most else ""
            self.refuse(key, f"must be a whole number of at least {least}{upper}; write {key} = {max(default, least)}.")
        return value

    def share(self, key: str, default: Fraction) -> Fraction:
        """A number above 0, exactly as it is written: 0.75, or "3/4"."""
        value = self.values.get(key, default)
        text = "" if isinstance(value, bool) else str(value)
        exact = Fraction(text) if re.fullmatch(_SHARE, text, re.ASCII) else Fraction(0)
        if exact <= 0:
            self.refuse(key, f'must be a number above 0; write {key} = 0.5 or "1/2".')
        return exact

    def pair(self, key: str, default: int, least: int = 1) -> tuple[int, int]:
        """One size for both axes, or [height, width]."""
        value = self.values.get(key, default)
        sizes = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
        if len(sizes) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < least for n in sizes):  # noqa: PLR2004 - height and width
            again = max(default, least)
            self.refuse(key, f"must be a whole number of at least {least}, or [height, width]; write {key} = {again}.")
        return sizes

    def tables(self, key: str) -> list[Table]:
        """A list of tables that is not empty."""
        value = self.values.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
            self.refuse(key, f"must be a list of tables; write {key} = [{{ ... }}, {{ ... }}].")
        return [Table(f"{self.where}: {key}[{i}]", entry) for i, entry in enumerate(value, start=1)]

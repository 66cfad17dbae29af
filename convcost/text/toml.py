"""TOML in and out: the values of a file, the line and column of each, and values as TOML text."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from codecs import BOM_UTF8
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from convcost.text.errors import ConvcostError, as_text, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tree_sitter import Node


def key_text(name: str) -> str:
    """A name as a TOML key, bare if possible."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)


def quoted(text: str) -> str:
    """A TOML basic string: a JSON string in which the delete character is escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def value_text(value: object) -> str:
    """A value in TOML, lists and tables on one line.

    >>> print(value_text({"a": [1, True], "b c": {"x": 0.5}}))
    { a = [1, true], "b c" = { x = 0.5 } }

    Raises:
        ConvcostError: A value that TOML cannot express, such as None.
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
    raise ConvcostError(
        f"(={as_text(repr(value))}) must have a form in TOML; leave it out, or wrap the target in a function."
    )


def table_text(
    path: Sequence[str], values: Mapping[str, object], *, key: Callable[[str], str] = key_text, in_list: bool = False
) -> str:
    """A table of a TOML file, one key a line.

    Args:
        path: Keys that lead to the table; empty for the keys above the first header.
        values: Keys and values; a key whose value is None is left out.
        key: Function that writes a key.
        in_list: Whether the table is an entry of a list of tables.

    >>> print(table_text(("a", "b c"), {"x": 1, "y": None}), end="")
    [a."b c"]
    x = 1
    """
    head = f"[{'.'.join(map(key_text, path))}]"
    head = f"[{head}]" if in_list else head
    lines = [f"{key(name)} = {value_text(value)}" for name, value in values.items() if value is not None]
    return "".join(f"{line}\n" for line in ([head, *lines] if path else lines))


def file_text(values: Mapping[str, object]) -> str:
    """A TOML file: first the plain values, then each table and list of tables, separated by blank lines."""
    plain = {key: value for key, value in values.items() if not isinstance(value, (dict, list, tuple))}
    texts = [table_text((), plain)]
    for key, value in values.items():
        if isinstance(value, (list, tuple)):
            texts += [table_text((key,), entry, in_list=True) for entry in value]
        elif isinstance(value, dict):
            texts.append(table_text((key,), value))
    return "\n".join(texts)


Key: TypeAlias = tuple[str | int, ...]
"""The path to a value of a file: keys of tables, and indices of list entries from 0."""


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """A position in a text: line and column from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a file.

    Attributes:
        place: Position of the key or the value.
        text: The key with its value, the rule, and after the last semicolon the next step.
        missing: Whether the mistake is a missing key.
    """

    place: Place
    text: str
    missing: bool = False

    @property
    def rule(self) -> str:
        """The text without the next step."""
        return self.text.rpartition("; ")[0]


class TomlError(ConvcostError):
    """All mistakes of a TOML file.

    Args:
        source: Name of the file.
        mistakes: Mistakes in the order of the file.
    """

    def __init__(self, source: str, mistakes: tuple[Mistake, ...]) -> None:
        self.source, self.mistakes = source, mistakes
        super().__init__("\n".join(self.lines))

    @property
    def first(self) -> Mistake:
        """The mistake to report alone: a missing key comes last, since a misspelt key is also reported as missing."""
        return min(self.mistakes, key=lambda one: one.missing)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line for each mistake: FILE:LINE:COLUMN: the key with its value, the rule and the next step."""
        places = (f"{self.source}:{one.place.line}:{one.place.column}" for one in self.mistakes)
        return tuple(one_line(f"{at}: {one.text}") for at, one in zip(places, self.mistakes, strict=True))


@dataclass(frozen=True, slots=True)
class TomlFile:
    """The values of a TOML file and their positions.

    Attributes:
        source: Name of the file, for messages.
        values: Values as tomllib reads them.
        keys: Positions of the keys and the list entries.
        starts: Positions of the values, except tables with a header.
    """

    source: str
    values: dict[str, Any]
    keys: dict[Key, Place]
    starts: dict[Key, Place]

    def value(self, key: Key) -> object:
        """The value of a key; an empty table for one that is not there."""
        value: Any = self.values
        for word in key:
            value = value.get(word, {}) if isinstance(value, dict) else value[word] if isinstance(word, int) else value
        return value

    def place(self, key: Key, *, of_key: bool = False) -> Place:
        """The position where a value begins.

        A table with a header begins at its key. A missing key has the position of its table.

        Args:
            key: Path to the value.
            of_key: Whether to return the position of the key instead.
        """
        place = (self.keys if of_key else self.starts).get(key)
        while place is None and key:
            place, key = self.keys.get(key), key[:-1]
        return place or Place(1, 1)

    def at(self, key: Key, *, of_key: bool = False) -> str:
        """FILE:LINE:COLUMN of a value or a key."""
        place = self.place(key, of_key=of_key)
        return f"{self.source}:{place.line}:{place.column}"

    def refuse(self, key: Key, rule: str, *, of_key: bool = False) -> NoReturn:
        """Refuse the value of a key.

        Args:
            key: Path to the value.
            rule: Rule for the value, and the next step.
            of_key: Whether to report the position of the key instead of that of the value.

        Raises:
            TomlError: Always.
        """
        value = self.value(key) if key in self.keys else None
        text = f"{'.'.join(map(str, key))} (={as_text(value)}) {rule}"
        raise TomlError(self.source, (Mistake(self.place(key, of_key=of_key), text),))


def split_source(source: str) -> tuple[str, ...]:
    """The file, the line and the column of FILE:LINE:COLUMN; line and column may be missing.

    >>> split_source("convcost.toml:3:8"), split_source("a:b.toml:3"), split_source("")
    (('convcost.toml', '3', '8'), ('a:b.toml', '3'), ('',))
    """
    match = re.fullmatch(r"(.+?):(\d+)(?::(\d+))?", source, re.DOTALL)
    return tuple(filter(None, match.groups())) if match else (source,)


def parse_toml(data: bytes, source: str) -> TomlFile:
    """Parse the bytes of a TOML file.

    Args:
        data: Content of the file.
        source: Name of the file, for messages.

    Raises:
        TomlError: The file is not UTF-8, or not TOML; the error has line and column.
    """
    data = data.removeprefix(BOM_UTF8)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        wrong = Mistake(Place(line, column), "the file must be UTF-8 text; save it with that encoding.")
        raise TomlError(source, (wrong,)) from error
    try:
        _refuse_deep_keys(data)
        values = tomllib.loads(text)
        scanned = _Scanner(data)
    except (ValueError, RecursionError) as error:
        raise TomlError(source, (_syntax_mistake(error, data, text),)) from error
    except _TooDeepError as error:
        raise TomlError(source, (Mistake(error.place, f"the file must be TOML: {_TOO_DEEP}; {_MEND}"),)) from None
    return TomlFile(source, values, scanned.keys, scanned.starts)


_MAX_LEVELS: Final = 100
"""Maximum depth of nested tables and lists, so that recursive functions can process them."""
_WORD: Final = rb"""[ \t]*+(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_DEEP_KEY: Final = re.compile(rb"(?:^[ \t]*+(\[{0,2}+)|[{,])(?:%s\.){%d}" % (_WORD, _MAX_LEVELS), re.MULTILINE)
"""A dotted key beyond `_MAX_LEVELS`; group 1 is the bracket of a header."""
_TOO_DEEP: Final = "it nests too deeply"
_MEND: Final = "correct the text there."


def _syntax_mistake(error: Exception, data: bytes, text: str) -> Mistake:
    """The error of tomllib as a mistake at its position."""
    if not isinstance(
        error, (tomllib.TOMLDecodeError, RecursionError)
    ):  # int() refuses a number, and gives no position
        digits = sys.get_int_max_str_digits()
        return Mistake(_first_longer_number(data, digits), f"a number must have at most {digits} digits; {_MEND}")
    what, _, where = str(error).rpartition(" (at ")
    match = re.fullmatch(r"line (\d+), column (\d+)\)", where)
    end = Place(text.count("\n") + 1, len(text.rpartition("\n")[2]) + 1)
    rule = (what or str(error)).lower() if isinstance(error, ValueError) else _TOO_DEEP
    place = Place(int(match[1]), int(match[2])) if match else end
    return Mistake(place, f"the file must be TOML: {rule}; {_MEND}")


def _root(data: bytes) -> Node:
    import tree_sitter_toml
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_toml.language())).parse(data).root_node


def _place(node: Node, lines: Sequence[bytes]) -> Place:
    row, column = node.start_point
    return Place(row + 1, len(lines[row][:column].decode("utf-8")) + 1)


def _first_longer_number(data: bytes, digits: int) -> Place:
    """The position of the first decimal number with more than this number of digits."""
    nodes = [_root(data)]
    while nodes:
        node = nodes.pop()
        nodes += reversed(node.named_children)
        if node.type == "integer" and re.fullmatch(rb"[+-]?(\d_?){%d,}" % (digits + 1), node.text or b""):
            return _place(node, data.split(b"\n"))
    return Place(1, 1)


class _TooDeepError(Exception):
    """Tables and lists nest deeper than `_MAX_LEVELS`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        super().__init__(place)


def _refuse_deep_keys(data: bytes) -> None:
    """Refuse a dotted key of too many words, for which tomllib takes memory and time by the square of their number."""
    match = _DEEP_KEY.search(data)
    if match is None:
        return
    rest = b"x" + b"]" * len(match[1]) if match[1] else b"x = 0"
    with suppress(ValueError):  # what precedes it is no TOML either
        _Scanner(data[: match.end()] + rest)
    raise _TooDeepError(Place(data.count(b"\n", 0, match.end()) + 1, 1))


class _Scanner:
    """Positions of the keys and values of a file that tomllib has accepted."""

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

    def _note(self, places: dict[Key, Place], key: Key, node: Node) -> None:
        place = _place(node, self._lines)
        if len(key) > _MAX_LEVELS:
            raise _TooDeepError(place)
        places.setdefault(key, place)

    def _table(self, table: Node) -> None:
        """Note the positions of a table's header and of the pairs under it."""
        words = _words(table.named_children[0])
        path = [word for word, _ in words]
        if table.type == "table_array_element":
            entries = (*self._reached(path[:-1]), path[-1])
            self._lengths[entries] = self._lengths.get(entries, 0) + 1
        for depth, (_, node) in enumerate(words, start=1):
            key = self._reached(path[:depth])
            for part in (key, key[:-1] if isinstance(key[-1], int) else key):
                self._note(self.keys, part, node)
        self._pairs(table, self._reached(path))

    def _reached(self, path: Sequence[str]) -> Key:
        """The path to a header's table, through the last entry of each list of tables."""
        key: Key = ()
        for word in path:
            key = (*key, word)
            if key in self._lengths:
                key = (*key, self._lengths[key] - 1)
        return key

    def _pairs(self, node: Node, key: Key) -> None:
        for pair in (child for child in node.named_children if child.type == "pair"):
            name, value = (child for child in pair.named_children if child.type != "comment")
            inner = key
            for word, part in _words(name):
                inner = (*inner, word)
                self._note(self.keys, inner, part)
            self._value(inner, value)

    def _value(self, key: Key, node: Node) -> None:
        self._note(self.starts, key, node)
        if node.type == "inline_table":
            self._pairs(node, key)
        elif node.type == "array":
            for index, child in enumerate(child for child in node.named_children if child.type != "comment"):
                self._note(self.keys, (*key, index), child)
                self._value((*key, index), child)


def _words(node: Node) -> list[tuple[str, Node]]:
    """The words of a bare, quoted or dotted key, in order, each with its node."""
    nodes, words = [node], []
    while nodes:
        part = nodes.pop()
        if part.type == "dotted_key":
            nodes += reversed(part.named_children)
        else:
            text = (part.text or b"").decode("utf-8")
            words.append((text if part.type == "bare_key" else next(iter(tomllib.loads(f"{text} = 0"))), part))
    return words

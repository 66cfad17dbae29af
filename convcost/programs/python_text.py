"""Python text as PEP 8 wants it: lines of at most 79 characters, names, docstrings."""

from __future__ import annotations

import keyword
import re
import textwrap
from typing import TYPE_CHECKING, Final

from convcost.text.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_WIDTH: Final = 79
INDENT: Final = "    "
_OPENING: Final = "([{"
_CLOSING: Final = ")]}"


def identifier(text: str) -> str:
    """A text as the name of a variable.

    >>> identifier("1x1 reduce"), identifier("class")
    ('_1x1_reduce', 'class_')
    """
    name = re.sub(r"\W", "_", text)
    if not name.isidentifier():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def class_name(text: str) -> str:
    """A text as the name of a class.

    >>> class_name("depthwise-separable")
    'DepthwiseSeparable'
    """
    words = "".join(word[:1].upper() + word[1:] for word in re.split(r"[\W_]+", text))
    return identifier(words if words[:1].isalpha() else f"Block{words}")


def unique(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken; it is added to the taken names."""
    candidates = (name if number == 1 else f"{name}{number}" for number in range(1, len(taken) + 2))
    chosen = next(one for one in candidates if one not in taken)
    taken.add(chosen)
    return chosen


def code(line: str, depth: int = 0) -> str:
    """A line of code, broken inside its longest brackets if it is too long.

    >>> print(code("self.pointwise = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)", depth=2))
            self.pointwise = nn.Conv2d(
                in_channels, out_channels, kernel_size=1, bias=False
            )
    """
    return "\n".join(_broken(line, INDENT * depth))


def _broken(line: str, indent: str, end: str = "") -> Iterator[str]:
    brackets = max(_brackets(line), key=lambda one: one[1] - one[0], default=None)
    if brackets is None or len(indent) + len(line) + len(end) <= MAX_WIDTH:
        yield f"{indent}{line}{end}"
        return
    start, stop = brackets
    inside, deeper = line[start + 1 : stop], indent + INDENT
    yield f"{indent}{line[: start + 1]}"
    if len(deeper) + len(inside) <= MAX_WIDTH:
        yield f"{deeper}{inside}"
    else:
        for part in _parts(inside):
            yield from _broken(part, deeper, ",")
    yield f"{indent}{line[stop:]}{end}"


def _brackets(line: str) -> Iterator[tuple[int, int]]:
    """The positions of the outermost brackets that have something between them."""
    depth = start = 0
    for position, sign in enumerate(_masked(line)):
        if sign in _OPENING:
            start = position if depth == 0 else start
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
            if depth == 0 and position > start + 1:
                yield start, position


def _parts(arguments: str) -> Iterator[str]:
    """The arguments between the outermost commas."""
    depth = begin = 0
    for position, sign in enumerate(_masked(arguments)):
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if sign == "," and depth == 0:
            yield arguments[begin:position].strip()
            begin = position + 1
    if rest := arguments[begin:].strip():
        yield rest


def _masked(line: str) -> str:
    """The line with its strings blanked, so that no sign in them counts."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', lambda string: "_" * len(string[0]), line)


def docstring(paragraphs: Iterable[Sequence[str]], depth: int = 0) -> str:
    """A docstring of paragraphs, each of lines that are wrapped.

    An equation goes on under its right-hand side, a line of a list is indented where it goes on.
    """
    indent = INDENT * depth
    blocks = []
    for lines in paragraphs:
        deeper = INDENT * (len(lines) > 1)
        blocks.append("\n".join(row for line in lines for row in _wrapped(one_line(line), len(indent), deeper)))
    text = "\n\n".join(blocks).replace("\\", "\\\\").replace('"""', "'''")
    end = "\n" if "\n" in text else ""
    return "\n".join(f"{indent}{line}".rstrip() for line in f'"""{text}{end}"""'.split("\n"))


def _wrapped(line: str, indent: int, deeper: str) -> list[str]:
    equation = re.match(r"(\w*|\s*) = ", line)
    deeper = " " * equation.end() if equation else deeper
    unbroken = line if equation else line.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    rows = textwrap.wrap(
        unbroken, MAX_WIDTH - indent, subsequent_indent=deeper, break_long_words=False, break_on_hyphens=False
    )
    return [row.replace("\N{NO-BREAK SPACE}", " ") for row in rows]

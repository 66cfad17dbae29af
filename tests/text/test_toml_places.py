"""Positions in TOML: every key of tomllib's reading is found, where it stands."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from convcost.text.errors import ConvcostError
from convcost.text.toml import Place, parse_toml

TEXT = """\
a = 1
"b c".d = {x = [1, {y = 2}], "z\\u00e9" = 3}  # a = 7
[t.u]
k = \"\"\"multi
a = 9
line\"\"\"
[[list]]
v = 1
[list.sub]
w = 2
[[list]]
  v = 3
'é' = 'ü'
"""


def ways(value: Any, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(found for key, one in inner for found in ways(one, (*way, key)))]


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (("a",), (1, 5)),
        (("b c", "d"), (2, 11)),
        (("b c", "d", "x", 1, "y"), (2, 25)),
        (("b c", "d", "zé"), (2, 42)),
        (("t", "u", "k"), (4, 5)),
        (("list", 0, "v"), (8, 5)),
        (("list", 0, "sub", "w"), (10, 5)),
        (("list", 1, "v"), (12, 7)),
        (("list", 1, "é"), (13, 7)),
        (("t", "u", "missing"), (3, 4)),
        (("nothing",), (1, 1)),
        (("t", "u"), (3, 4)),  # a table of a header has no value: it begins at its key
        (("list",), (7, 3)),
        (("list", 1), (11, 3)),
    ],
)
def test_a_value_is_found_at_its_line_and_column(key: tuple[str | int, ...], place: tuple[int, int]) -> None:
    assert parse_toml(TEXT.encode(), "x.toml").place(key) == Place(*place)


def test_every_way_into_a_file_has_its_own_place() -> None:
    file = parse_toml(TEXT.encode(), "x.toml")
    assert {way for way in ways(file.values) if way} <= set(file.keys)


WORDS = st.text(max_size=8)
VALUES = st.recursive(
    st.one_of(st.integers(-5, 5), st.booleans(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(WORDS, VALUES, max_size=4))
def test_every_key_that_tomllib_reads_has_a_place_where_it_is_written(values: dict[str, Any]) -> None:
    text = tomli_w.dumps(values)
    file = parse_toml(text.encode(), "x.toml")
    assert file.values == tomllib.loads(text)
    lines = text.split("\n")
    for way in filter(None, ways(file.values)):
        place = file.keys[way]
        rest = lines[place.line - 1][place.column - 1 :]
        if isinstance(way[-1], str):
            key = next(iter(tomllib.loads(tomli_w.dumps({way[-1]: 0}))))
            assert rest.startswith((way[-1], tomli_w.dumps({key: 0}).partition(" = ")[0]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = \n", "x.toml:1:5: the file must be TOML: invalid value; correct the text there."),
        (b"a = 1\nb = [1,\n", "x.toml:3:1: the file must be TOML: "),
        (b"a = 1\na = 2\n", "x.toml:2:6: the file must be TOML: cannot overwrite a value; correct the text there."),
        (b"a = 'x'\nb = '\xff'\n", "x.toml:2:6: the file must be UTF-8 text; save it with that encoding."),
        (b"a = 0x%s\nb = {c = [+9_%s]}\n" % (b"f" * 5000, b"9" * 5000), "x.toml:2:11: a number must have at most 4300 digits; correct the text there."),
        (b"[a]\n" + b".".join([b"b"] * 500) + b" = 1\n", "x.toml:2:199: the file must be TOML: it nests too deeply; correct"),
        (b"[" + b".".join([b"a"] * 20000) + b"]\n", "x.toml:1:202: the file must be TOML: it nests too deeply; correct"),
        (b"a = " + b"[" * 150 + b"]" * 150, "x.toml:1:105: the file must be TOML: it nests too deeply; correct"),
        (b"a = " + b"[" * 5000, "x.toml:1:5005: the file must be TOML: it nests too deeply; correct the text there."),
    ],
)  # fmt: skip
def test_a_file_that_is_no_toml_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(ConvcostError) as refused:
        parse_toml(data, "x.toml")
    assert str(refused.value).startswith(message)

"""Inputs and networks as users write them."""

from __future__ import annotations

import pytest

from convcost.models.network import parse_network
from convcost.text.errors import ConvcostError
from convcost.text.sizes import Input, parse_arg, parse_input

NETWORK = """
name = "tiny"
resolution = 8
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1x3x224x224", Input((1, 3, 224, 224))),
        ("1x16:int64", Input((1, 16), "int64")),
        ("tokens=1x16:int64", Input((1, 16), "int64", "tokens")),
        ("scalar", Input(())),
        ("7", Input((7,))),
    ],
)
def test_an_input_is_read_and_written_alike(text: str, expected: Input) -> None:
    assert parse_input(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(("short", "long"), [("long", "int64"), ("int", "int32"), ("half", "float16")])
def test_an_input_may_have_torchs_other_names_of_dtypes(short: str, long: str) -> None:
    assert parse_input(f"1x16:{short}") == Input((1, 16), long)


@pytest.mark.parametrize("text", ["", "1x", "x3", "1x3:int65", "0x3", "a b=1x3", "1x3:", "-1x3", "1.5x3", "1x3=2"])
def test_an_illegal_input_is_one_line(text: str) -> None:
    with pytest.raises(ConvcostError, match=r"^input \(=") as caught:
        parse_input(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("width=1.0", ("width", 1.0)),
        ("act=relu", ("act", "relu")),
        ("k=[3, 5]", ("k", [3, 5])),
        ("flag=True", ("flag", True)),
    ],
)
def test_an_argument_is_a_python_literal_or_text(text: str, expected: tuple[str, object]) -> None:
    assert parse_arg(text) == expected


def test_an_argument_without_a_name_is_one_line() -> None:
    with pytest.raises(ConvcostError, match=r"^arg \(=1\.0\) must be KEY=VALUE"):
        parse_arg("1.0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml at all [", ["net.toml", "must be TOML"]),
        ('name = "x"', ["net.toml", "resolution"]),
        (NETWORK + "colour = 3", ["net.toml", "colour"]),
        (NETWORK + "alpha = -1", ["net.toml", "alpha"]),
        ('name = "x"\nresolution = "big"', ["net.toml", "resolution"]),
    ],
)
def test_an_illegal_network_names_the_file_and_the_key(text: str, words: list[str]) -> None:
    with pytest.raises(ConvcostError) as caught:
        parse_network(text.encode(), "net.toml")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_an_argument_that_no_network_has_is_refused() -> None:
    with pytest.raises(ConvcostError, match="depth"):
        parse_network(NETWORK.encode(), "net.toml", {"depth": 3})

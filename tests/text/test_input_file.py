"""Files of the user: regular, of a limited size; a refusal is one line with the next step."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from convcost.text.errors import ConvcostError
from convcost.text.input_file import is_file, read_file, require_regular
from convcost.text.toml import TomlError, parse_toml

if TYPE_CHECKING:
    from collections.abc import Callable


def loop(path: Path) -> None:
    path.symlink_to(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, r"\(No such file or directory\)"),
    "folder": (lambda path: path.mkdir(), "a regular file, not a folder"),
    "pipe": (os.mkfifo, "a regular file, not a pipe, a device or a socket"),
    "socket": (bound_socket, "a regular file, not a pipe, a device or a socket"),
    "loop": (loop, r"\(Too many levels of symbolic links\)"),
    "larger": (lambda path: path.write_bytes(b"12345"), "at most 4 bytes"),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in its folders")
@pytest.mark.parametrize(("make", "rule"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_file_of_the_size_is_refused_without_being_read(
    make: Callable[[Path], object], rule: str, tmp_path: Path
) -> None:
    make(tmp_path / "x")
    with pytest.raises(ConvcostError, match=rf"^thing \(=.*/x\) must be .*{rule}.*; name another\.$"):
        read_file(tmp_path / "x", "thing", "name another", limit=4)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "/dev/zero", "/dev/null"])
def test_a_path_that_cannot_be_a_file_is_refused(name: str) -> None:
    assert not is_file(Path(name))
    with pytest.raises(ConvcostError, match="must be a") as caught:
        require_regular(Path(name), "thing")
    assert "\n" not in str(caught.value)


def test_a_file_of_the_limit_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1234")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert read_file(tmp_path / "link", "thing", "name another", limit=4) == b"1234"


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 20_000) + " = 1",
        f"[{'.'.join('a' * 20_000)}]",
        f"x = 1\n  [[ {' . '.join(['a-1', chr(34) + 'b c' + chr(34)] * 60)} ]]",
        f"x = {{ {'.'.join('a' * 20_000)} = 1 }}",
    ],
)
def test_a_key_of_thousands_of_words_is_refused_before_it_takes_memory(text: str) -> None:
    """tomllib would take 1.6 GB for the first of these."""
    with pytest.raises(TomlError, match=r"x\.toml:\d:\d+: the file must be TOML: it nests too deeply"):
        parse_toml(text.encode(), "x.toml")


def test_many_dots_that_are_no_key_are_no_mistake() -> None:
    floats, words = ", ".join(["0.5"] * 300), ".".join("a" * 300)
    text = f'x = [{floats}]\ny = "{words}" # {words}\n{".".join("b" * 100)} = 1\n'
    assert parse_toml(text.encode(), "x.toml").value(("x",)) == [0.5] * 300

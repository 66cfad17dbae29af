"""The dialects of programs: how blocks are written for torch, Keras and oneDNN, and the files that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from convcost.programs.keras_program import keras_program
from convcost.programs.onednn_problems import onednn_problems
from convcost.programs.torch_program import torch_program
from convcost.text.errors import ConvcostError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from convcost.programs.documented_block import DocumentedBlock


class Dialect(NamedTuple):
    """A way to write blocks as a program.

    Attributes:
        suffix: Suffix of its files.
        write: Function that writes a file of blocks.
    """

    suffix: str
    write: Callable[[Sequence[DocumentedBlock]], str]


DIALECTS: Final = {
    "torch": Dialect(".py", torch_program),
    "keras": Dialect(".py", keras_program),
    "onednn": Dialect(".txt", onednn_problems),
}


WRITTEN: Final = "# Written by convcost, which may overwrite this file."
"""First line of each program."""


def write_blocks(blocks: Sequence[DocumentedBlock], dialect: str) -> str:
    """The text of a file of blocks.

    Raises:
        ConvcostError: There is no such dialect, or it has no words for one of the blocks.
    """
    if dialect not in DIALECTS:
        raise ConvcostError(f"dialect (={dialect}) must be a way to write programs; {did_you_mean(dialect, DIALECTS)}")
    return f"{WRITTEN}\n{DIALECTS[dialect].write(blocks)}"


def dialects_by_suffix(name: str | None) -> dict[str, str]:
    """The dialects of files by suffix, the first of `DIALECTS` for each; of one dialect alone if it is named."""
    suffixes: dict[str, str] = {}
    for one in DIALECTS if name is None else (name,):
        suffixes.setdefault(DIALECTS[one].suffix, one)
    return suffixes

"""What a person sees on a terminal while a program works."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, Self

from convcost.text.errors import one_line

if TYPE_CHECKING:
    from typing import TextIO

ERASE: Final = "\r\x1b[2K"


def is_terminal(stream: TextIO) -> bool:
    """Whether a person sees colours and a live table there."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def terminal_width() -> int:
    """Characters in a line of the terminal; COLUMNS in the environment wins."""
    import shutil

    return shutil.get_terminal_size().columns


class ProgressLine:
    """One line on stderr that shows what is being done; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._is_shown = is_terminal(sys.stderr)

    def __enter__(self) -> Self:
        """Take the lines of `show_progress`."""
        _lines.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        _lines.remove(self)
        self("")

    def __call__(self, line: str) -> None:
        """Show this line instead of the one before."""
        if self._is_shown:
            sys.stderr.write(f"{ERASE}{one_line(line)[: terminal_width() - 1]}")
            sys.stderr.flush()


_lines: Final[list[ProgressLine]] = []
"""The progress lines that are open, the innermost last."""


def show_progress(line: str) -> None:
    """Show what is being done on the progress line that is open; nothing where none is, as in a library call."""
    if _lines:
        _lines[-1](line)

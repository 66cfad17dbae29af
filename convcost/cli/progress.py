"""One line of progress on stderr, which vanishes at the end; nothing where no person watches."""

from __future__ import annotations

import sys
from typing import Final, Self

from convcost.cli.output import is_terminal, terminal_width

__all__ = ["ProgressLine"]

ERASE: Final = "\r\x1b[2K"


class ProgressLine:
    """Shows what is being done. Without rich: a line needs none."""

    def __init__(self) -> None:
        self._watched = is_terminal(sys.stderr)

    def __enter__(self) -> Self:
        """Show nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self("")

    def __call__(self, line: str) -> None:
        """Show this line instead of the one before."""
        if self._watched:
            sys.stderr.write(f"{ERASE}{line[: terminal_width() - 1]}")
            sys.stderr.flush()

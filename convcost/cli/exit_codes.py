"""The exit codes of the command line; 0 is done and agreed."""

from __future__ import annotations

from typing import Final

__all__ = ["DISAGREES", "INTERRUPTED", "OVER_BUDGET", "UNDECIDED", "WRONG"]

DISAGREES: Final = 1
"""An independent count differs."""
OVER_BUDGET: Final = 1
"""A limit is exceeded."""
WRONG: Final = 2
"""Wrong usage, or a crash of ours."""
UNDECIDED: Final = 3
"""With --strict, a limit that could not be decided."""
INTERRUPTED: Final = 130
"""Ctrl-C."""

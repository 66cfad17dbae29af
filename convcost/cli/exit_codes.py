"""The exit codes of the command line; 0 is done and agreed."""

from __future__ import annotations

from typing import Final

__all__ = ["DISAGREES", "INTERRUPTED", "WRONG"]

DISAGREES: Final = 1
"""An independent count differs."""
WRONG: Final = 2
"""Wrong usage, or a crash of ours."""
INTERRUPTED: Final = 130
"""Ctrl-C."""

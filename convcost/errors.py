"""The errors a user can mend: each message holds the value, the rule and the next step on one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["ConvcostError", "Disagreement", "MissingPackageError", "ShapeError", "did_you_mean"]


class ConvcostError(ValueError):
    """Something the caller can mend. The command line prints the message and exits with 2."""


class ShapeError(ConvcostError):
    """A hyper-parameter or a size that breaks a rule of the convolution or of the block."""


class MissingPackageError(ConvcostError):
    """An optional package that was asked for by name and is not installed."""


class Disagreement(Exception):  # noqa: N818 - it is a finding of the cross-check, not a failure of the program
    """Two independent counts of the same layer differ. The command line exits with 1."""


def did_you_mean(word: str, known: Collection[str], otherwise: str | None = None) -> str:
    """The next step for an unknown word: the nearest known one, else all of them or what `otherwise` says."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed for a message

    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise or f"known: {', '.join(known)}."

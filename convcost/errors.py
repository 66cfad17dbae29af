"""The errors a user can mend: each message holds the value, the rule and the next step on one line."""

from __future__ import annotations

__all__ = ["ConvcostError", "Disagreement", "MissingPackageError", "ShapeError"]


class ConvcostError(ValueError):
    """Something the caller can mend. The command line prints the message and exits with 2."""


class ShapeError(ConvcostError):
    """A hyper-parameter or a size that breaks a rule of the convolution or of the block."""


class MissingPackageError(ConvcostError):
    """An optional package that was asked for by name and is not installed."""


class Disagreement(Exception):  # noqa: N818 - it is a finding of the cross-check, not a failure of the program
    """Two independent counts of the same layer differ. The command line exits with 1."""

"""What was found of one metric: a value for the rules. Plain."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Found"]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one metric.

    Attributes:
        actual: in base units; None where it could not be obtained, and `why` says so.
        low: lower end of the 5-95 % interval of something timed.
        high: upper end.
        baseline: of the lock or the other revision; None without one.
        locked: the baseline is of the lock, which convcost check --update renews.
        recounted: the part of actual - baseline that a change of the counter made.
        growth: of something timed, as (share, low, high) from interleaved pairs; None otherwise.
        uncounted: operations without a formula.
        operations: their names.
        uncounted_calls: of all of them.
        uncounted_calls_before: likewise, in the baseline.
        why: nothing can be judged, or the growth cannot.
        lost: there is a baseline, but it could not be obtained: the growth is not decided.
        machine: that something was timed on.
        here: this machine, where a limit for another one kept everything from being timed.
        doubt: why a time decides nothing; None where it may.
        growth_doubt: likewise, of its growth.
        notes: what the reader should know, each a sentence.
    """

    actual: float | None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    locked: bool = False
    recounted: float = 0
    growth: tuple[float, float, float] | None = None
    uncounted: int = 0
    operations: tuple[str, ...] = ()
    uncounted_calls: int = 0
    uncounted_calls_before: int = 0
    why: str | None = None
    lost: bool = False
    machine: str | None = None
    here: str | None = None
    doubt: str | None = None
    growth_doubt: str | None = None
    notes: tuple[str, ...] = ()

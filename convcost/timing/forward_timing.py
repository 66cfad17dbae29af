"""What two interleaved series of forward passes say: a time, a growth, and whether there is enough to judge them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.timing.statistics import LEAST, count_pairs, median_interval, summarise, used_samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.timing.statistics import Series, Timing

__all__ = ["BASE", "HEAD", "ForwardTiming", "summed_up"]

HEAD: Final = "head"
BASE: Final = "base"


@dataclass(frozen=True, slots=True)
class ForwardTiming:
    """A model's forward pass, and how it compares with what it was.

    Attributes:
        head: of the model.
        low: lower end of the median's 5-95 % interval, seconds, run-to-run term included.
        high: upper end.
        base: of the model as it was; None where it was not timed.
        machine: that ran it.
        notes: about the machine and the timing.
        doubt: why the time decides nothing, with the next step; None where it may.
        growth_doubt: likewise, of the comparison.
    """

    head: Timing
    low: float
    high: float
    base: Timing | None
    machine: str
    notes: tuple[str, ...]
    doubt: str | None = None
    growth_doubt: str | None = None


def summed_up(  # noqa: PLR0913 - what a verdict depends on
    series: Mapping[str, Series],
    probes: Mapping[int, float],
    machine: str,
    notes: tuple[str, ...],
    *,
    pinned: bool,
    untrusted: str | None = None,
) -> ForwardTiming:
    """What was timed of `head` and `base` becomes a comparison; pure, so that recorded series can be judged again.

    Args:
        series: of `head`, and of `base` where it was timed.
        probes: seconds of the reference probe, by round.
        machine: that ran them.
        notes: about the machine.
        pinned: whether the allocator was pinned.
        untrusted: why the machine's times are not to be trusted; None where they are.
    """
    timings = summarise(series, probes, BASE, pinned=pinned)
    _, low, high = median_interval([sample.seconds for sample in used_samples(series[HEAD])])
    warned = tuple(dict.fromkeys(text for one in timings.values() for text in one.warnings))
    clean = sum(sample.clean for sample in series[HEAD].samples)
    pairs = count_pairs(series[HEAD], series[BASE], probes) if BASE in timings else 0
    return ForwardTiming(
        timings[HEAD],
        low,
        high,
        timings.get(BASE),
        machine,
        (*notes, *warned),
        untrusted or _too_few(clean, "blocks of calls"),
        untrusted or _too_few(pairs, "pairs of base and head"),
    )


def _too_few(number: int, what: str) -> str | None:
    """Why so many undisturbed ones decide nothing."""
    if number >= LEAST:
        return None
    step = "raise --time-budget, or close other programs"
    return f"too few undisturbed {what} ({number}, {LEAST} are needed): {step}"

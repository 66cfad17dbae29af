"""What one timing run gives: of blocks, of a model and its layers, of whole forward passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.timing.statistics import LEAST, count_pairs, median_interval, summarise, used_samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Series, Timing


__all__ = ["BASE", "HEAD", "ForwardTiming", "Kind", "Measured", "ModelTiming", "summed_up"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was timed on one device.

    Attributes:
        conditions: of all timings.
        timings: by block.
        refused: blocks that were not timed, with the reason.
        notes: about the machine.
    """

    conditions: Conditions
    timings: Mapping[str, Timing]
    refused: Mapping[str, str]
    notes: tuple[str, ...]


WHOLE: Final = "the whole forward"


@dataclass(frozen=True, slots=True)
class Kind:
    """What layers that share a timing have in common.

    Attributes:
        text: module, inputs and parameters, with sizes, dtypes and memory formats.
        dtypes: of its floating point inputs and parameters; one, unless it mixes them.
        memory_format: of its inputs and parameters as torch's convolutions see it, channels_last where either is;
            strided where it is none that has a name; None without tensors.
        input_format: of its inputs alone.
        has_images: whether a tensor has height and width, so that its format chooses a kernel.
        obstacle: why no fresh convolution stands for it; None where one does.
    """

    text: str
    dtypes: tuple[str, ...]
    memory_format: str | None
    input_format: str | None
    has_images: bool
    obstacle: str | None


@dataclass(frozen=True, slots=True)
class ModelTiming:
    """What was timed of a model.

    Attributes:
        conditions: of all timings; dtype and memory format are "mixed" where the layers' own differ.
        whole: the forward pass.
        layers: of each module call, by the name of its row; calls of one kind on one shape share a timing.
        notes: about the machine.
        kinds: of each row, which layer it is: equal for those that share a timing.
    """

    conditions: Conditions
    whole: Timing
    layers: Mapping[str, Timing]
    notes: tuple[str, ...]
    kinds: Mapping[str, Kind]


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
    step = "raise time_budget, or close other programs"
    return f"too few undisturbed {what} ({number}, {LEAST} are needed): {step}"

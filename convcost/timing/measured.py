"""Results of one timing run: of blocks, of a model and its layers, of whole forward passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from convcost.timing.statistics import MIN_BLOCKS, count_pairs, median_interval, summarise, used_samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Series, Timing


@dataclass(frozen=True, slots=True)
class Measured:
    """The timings of blocks on one device.

    Attributes:
        conditions: Conditions of all timings.
        timings: Timings by block.
        refused: Reasons why blocks were not timed, by block.
        notes: Remarks about the machine.
    """

    conditions: Conditions
    timings: Mapping[str, Timing]
    refused: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a layer of a sweep that was to be timed.

    Attributes:
        status: "ok" with a timing; "refused" by torch or by a rule of the block; "out-of-memory"; "too-slow" if a call
            takes longer than the time of a row.
        reason: Reason why there is no timing, with the next step; None with one.
        timing: Timing of the layer; None without one.
    """

    status: Literal["ok", "refused", "out-of-memory", "too-slow"]
    reason: str | None = None
    timing: Timing | None = None


WHOLE: Final = "the whole forward"


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a layer; layers of one kind share a timing.

    Attributes:
        text: Description of the module, its inputs and its parameters, with sizes, dtypes and memory formats.
        dtypes: Data types of its floating point inputs and parameters.
        memory_format: Memory format that torch's convolutions take: "channels_last" where an input or a parameter is;
            "strided" for a format without a name; None without tensors.
        input_format: Memory format of the inputs alone.
        has_images: Whether a tensor has height and width, so that its memory format matters.
        obstacle: Reason why a fresh convolution cannot replace the layer; None if one can.
    """

    text: str
    dtypes: tuple[str, ...]
    memory_format: str | None
    input_format: str | None
    has_images: bool
    obstacle: str | None


@dataclass(frozen=True, slots=True)
class ModelTiming:
    """The timings of a model and its layers.

    Attributes:
        conditions: Conditions of all timings; dtype and memory format are "mixed" where those of the layers differ.
        whole: Timing of the forward pass.
        layers: Timings of module calls, by row name; calls of one kind on one shape share a timing.
        notes: Remarks about the machine.
        kinds: Kinds of layers, by row name; equal for rows that share a timing.
    """

    conditions: Conditions
    whole: Timing
    layers: Mapping[str, Timing]
    notes: tuple[str, ...]
    kinds: Mapping[str, Kind]


@dataclass(frozen=True, slots=True)
class PairTiming:
    """The timings of two models next to each other, and of the layers that differ between them.

    Attributes:
        a: Timings of the first model, which speed-ups are relative to.
        b: Timings of the second model; the speed-up of its forward pass is the time of a ÷ the time of b.
        pairs: Timings of layers of b with their speed-ups over their counterparts in a, by the row names of both.
    """

    a: ModelTiming
    b: ModelTiming
    pairs: Mapping[tuple[str, str], Timing]


HEAD: Final = "head"
BASE: Final = "base"


@dataclass(frozen=True, slots=True)
class ForwardTiming:
    """A model's forward pass, next to that of an earlier version.

    Attributes:
        head: Timing of the model.
        low: Lower end of the 5-95 % interval of its median, seconds, run-to-run term included.
        high: Upper end of that interval, seconds.
        base: Timing of the earlier version; None where it was not timed.
        machine: Name of the machine.
        notes: Remarks about the machine and the timing.
        doubt: Reason why no verdict can rest on the time, with the next step; None where one can.
        growth_doubt: Reason why no verdict can rest on the comparison, with the next step; None where one can.
    """

    head: Timing
    low: float
    high: float
    base: Timing | None
    machine: str
    notes: tuple[str, ...]
    doubt: str | None = None
    growth_doubt: str | None = None


def summarise_forwards(  # noqa: PLR0913 - the measurements, and the facts about the machine that a verdict needs
    series: Mapping[str, Series],
    probes: Mapping[int, float],
    machine: str,
    notes: tuple[str, ...],
    *,
    pinned: bool,
    untrusted: str | None = None,
) -> ForwardTiming:
    """The forward timing from the series of `head` and `base`, which may be recorded ones.

    Args:
        series: Series of `head`, and of `base` where it was timed.
        probes: Seconds of the reference probe, by round.
        machine: Name of the machine.
        notes: Remarks about the machine.
        pinned: Whether the allocator was pinned.
        untrusted: Reason not to trust any timing of the machine; None on a quiet machine.
    """
    timings = summarise(series, probes, BASE if BASE in series else None, pinned=pinned)
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
    """The reason why so few undisturbed blocks or pairs allow no verdict; None if there are enough."""
    if number >= MIN_BLOCKS:
        return None
    step = "raise time_budget, or close other programs"
    return f"too few undisturbed {what} ({number}, {MIN_BLOCKS} are needed): {step}"

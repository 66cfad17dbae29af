"""Trials of the alternatives that hints propose, each timed next to the row or stage that it would replace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Final

import torch

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.nn.explain.instruments import primitives_of
from convcost.timing.hints import PINNED, Trial
from convcost.timing.statistics import summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Node
    from convcost.nn.explain.fresh_calls import FreshCalls
    from convcost.nn.measure.session import TimingSession
    from convcost.timing.hints import Suggestion
    from convcost.timing.statistics import Timing

    Pair = tuple[Callable[[], object], Callable[[], object]]

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Subject:
    """The block for which alternatives are tried.

    Attributes:
        tree: Tree of the block.
        shape: Shape of the input.
        fresh: Source of new modules and inputs under the conditions of the timing.
        session: Open timing session with the time budget of one trial.
    """

    tree: Node
    shape: Shape
    fresh: FreshCalls
    session: TimingSession


def attempt(subject: Subject, suggestion: Suggestion, timing: Timing) -> Trial | None:
    """Time an alternative; None if torch cannot run it.

    Args:
        subject: Block that the suggestion is about.
        suggestion: Suggestion with the alternative.
        timing: Timing of the row, made before the allocator was pinned.
    """
    threads = torch.get_num_threads()
    if suggestion.alternative == PINNED:
        return _pinned(subject, timing)
    try:
        before, after = PAIRS[suggestion.alternative](subject, suggestion.stage)
        series, probes = subject.session.run({BEFORE: before, AFTER: after})
        kernels = _kernels(after) if suggestion.alternative == "two_threads" else ()
    except RuntimeError:  # too little memory, or no kernel: the suggestion stays unverified
        return None
    finally:
        torch.set_num_threads(threads)
    timings = summarise(series, probes, BEFORE, pinned=False)
    low, high = timings[AFTER].speedup_low, timings[AFTER].speedup_high
    return Trial(timings[BEFORE].time_s, timings[AFTER].time_s, low or 0.0, kernels, high or inf)


def _pinned(subject: Subject, timing: Timing) -> Trial:
    """Re-time the row with a pinned allocator and compare with the original quartiles; pinning cannot be undone."""
    series, probes = subject.session.run({AFTER: _row(subject)})
    now = summarise(series, probes, None, pinned=False)[AFTER]
    return Trial(timing.time_s, now.time_s, timing.time_q25_s / now.time_q75_s)


def _kernels(call: Callable[[], object]) -> tuple[str, ...]:
    captures = primitives_of(call, 1)
    return tuple(one.kernel for one in captures[0] if one.is_convolution) if captures else ()


def _row(subject: Subject) -> Callable[[], object]:
    return subject.fresh.tree_call(subject.tree, subject.shape)


def _laid_out(subject: Subject, layout: torch.memory_format) -> Pair:
    other = replace(subject.fresh, layout=layout, contiguous_input=False)
    return _row(subject), other.tree_call(subject.tree, subject.shape)


def _twice_the_batch(subject: Subject, _: Layer | None) -> Pair:
    shape = subject.shape
    twice = Shape(2 * shape.batch, shape.channels, shape.spatial)
    return _row(subject), subject.fresh.tree_call(subject.tree, twice)


def _two_threads(subject: Subject, _: Layer | None) -> Pair:
    call, threads = _row(subject), torch.get_num_threads()

    def on(number: int) -> Callable[[], object]:
        def run() -> object:
            torch.set_num_threads(number)
            return call()

        return run

    return on(threads), on(2)


def _multiplier_1(subject: Subject, stage: Layer | None) -> Pair:
    """Calls of the stage, and of one with as many MACs, m·C channels and depth multiplier 1."""
    conv, shape = _convolution(stage)
    m = conv.out_channels // conv.in_channels
    wide = replace(conv, in_channels=conv.out_channels, groups=conv.out_channels)
    wide_shape = Shape(shape.batch, m * shape.channels, shape.spatial)
    return subject.fresh.conv_call(conv, shape), subject.fresh.conv_call(wide, wide_shape)


def _packed(subject: Subject, stage: Layer | None) -> Pair:
    """Calls of the stage without and with packed weights; uneven padding is applied to the input beforehand."""
    conv, shape = _convolution(stage)
    pairs = conv.explicit_padding(shape.spatial)
    if any(before != after for before, after in pairs):
        conv = replace(conv, padding=((0, 0),) * len(pairs))
        padded = (size + before + after for size, (before, after) in zip(shape.spatial, pairs, strict=True))
        shape = Shape(shape.batch, shape.channels, tuple(padded))
    return subject.fresh.conv_call(conv, shape), subject.fresh.packed_call(conv, shape)


def _float32(subject: Subject, _: Layer | None) -> Pair:
    other = replace(subject.fresh, dtype=torch.float32)
    return _row(subject), other.tree_call(subject.tree, subject.shape)


def _copy(subject: Subject, stage: Layer | None) -> Pair:
    """Calls of the stage, and of a copy of as many bytes as it writes."""
    conv, shape = _convolution(stage)
    source = subject.fresh.random(conv.output_shape(shape))
    target = torch.empty_like(source)
    return subject.fresh.conv_call(conv, shape), lambda: target.copy_(source)


def _convolution(stage: Layer | None) -> tuple[Conv, Shape]:
    if stage is None or not isinstance(stage.op, Conv):
        raise TypeError("this alternative is about a convolution.")
    return stage.op, stage.input


PAIRS: Final[dict[str, Callable[[Subject, Layer | None], Pair]]] = {
    "channels_last": lambda subject, _: _laid_out(subject, torch.channels_last),
    "contiguous": lambda subject, _: _laid_out(subject, torch.contiguous_format),
    "twice_the_batch": _twice_the_batch,
    "two_threads": _two_threads,
    "packed_weights": _packed,
    "onednn": _packed,
    "float32": _float32,
    "multiplier_1": _multiplier_1,
    "copy": _copy,
}
"""Functions that make the calls of the row or stage and of its alternative, by alternative."""

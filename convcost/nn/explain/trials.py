"""The alternatives that hints propose, each timed next to what it is an alternative to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.nn.explain.instruments import primitives_of
from convcost.nn.measure.clock import clock_for, interleave
from convcost.timing.hints import PINNED, Trial
from convcost.timing.statistics import summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Node
    from convcost.nn.explain.fresh_calls import Setting
    from convcost.timing.hints import Suggestion
    from convcost.timing.statistics import Timing

    Pair = tuple[Callable[[], object], Callable[[], object]]

__all__ = ["Subject", "attempt"]

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alternative is tried on.

    Attributes:
        tree: of the block.
        shape: of its input.
        setting: its conditions.
        probe: the clock's fixed piece of work.
    """

    tree: Node
    shape: Shape
    setting: Setting
    probe: Callable[[], object]


def attempt(subject: Subject, suggestion: Suggestion, budget_s: float, timing: Timing) -> Trial | None:
    """Time an alternative; None where torch cannot run it.

    Args:
        subject: what it is an alternative to; the caller has set one thread or more, and inference mode.
        suggestion: names the alternative.
        budget_s: seconds.
        timing: of the row, which stands for a call before the allocator was pinned.
    """
    threads = torch.get_num_threads()
    if suggestion.alternative == PINNED:
        return _pinned(subject, budget_s, timing)
    try:
        before, after = PAIRS[suggestion.alternative](subject, suggestion.stage)
        clock = clock_for(subject.setting.device, threads)
        series, probes = interleave({BEFORE: before, AFTER: after}, subject.probe, clock, budget_s)
        kernels = _kernels(after) if suggestion.alternative == "two_threads" else ()
    except RuntimeError:  # too little memory, or no kernel: the claim stays untried
        return None
    finally:
        torch.set_num_threads(threads)
    timings = summarise(series, probes, BEFORE, pinned=False)
    return Trial(timings[BEFORE].time_s, timings[AFTER].time_s, timings[AFTER].speedup_low or 0.0, kernels)


def _pinned(subject: Subject, budget_s: float, timing: Timing) -> Trial:
    """The row's call with the allocator pinned, which nothing undoes: its quartiles stand against those of the row."""
    clock = clock_for(subject.setting.device, torch.get_num_threads())
    series, probes = interleave({AFTER: _row(subject)}, subject.probe, clock, budget_s)
    now = summarise(series, probes, None, pinned=False)[AFTER]
    return Trial(timing.time_s, now.time_s, timing.time_q25_s / now.time_q75_s)


def _kernels(call: Callable[[], object]) -> tuple[str, ...]:
    captures = primitives_of(call, 1)
    return tuple(one.kernel for one in captures[0] if one.is_convolution) if captures else ()


def _row(subject: Subject) -> Callable[[], object]:
    return subject.setting.tree_call(subject.tree, subject.shape)


def _in_format(subject: Subject, *, channels_last: bool) -> Pair:
    other = replace(subject, setting=subject.setting.in_format(channels_last=channels_last))
    return _row(subject), _row(other)


def _twice_the_batch(subject: Subject, _: Layer | None) -> Pair:
    shape = subject.shape
    twice = Shape(2 * shape.batch, shape.channels, shape.spatial)
    return _row(subject), subject.setting.tree_call(subject.tree, twice)


def _two_threads(subject: Subject, _: Layer | None) -> Pair:
    call, threads = _row(subject), torch.get_num_threads()

    def on(number: int) -> Callable[[], object]:
        def run() -> object:
            torch.set_num_threads(number)
            return call()

        return run

    return on(threads), on(2)


def _multiplier_1(subject: Subject, stage: Layer | None) -> Pair:
    """As many MACs in a depthwise stage of m·C channels."""
    conv, shape = _convolution(stage)
    m = conv.out_channels // conv.in_channels
    wide = Conv(
        conv.out_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.out_channels,
        conv.bias,
    )
    wide_shape = Shape(shape.batch, m * shape.channels, shape.spatial)
    return subject.setting.conv_call(conv, shape), subject.setting.conv_call(wide, wide_shape)


def _packed(subject: Subject, stage: Layer | None) -> Pair:
    """The stage with weights that oneDNN has laid out once; zeros that torch puts around the input first are there."""
    conv, shape = _convolution(stage)
    pairs = conv.explicit_padding(shape.spatial)
    if any(before != after for before, after in pairs):
        conv = replace(conv, padding=((0, 0),) * len(pairs))
        padded = (size + before + after for size, (before, after) in zip(shape.spatial, pairs, strict=True))
        shape = Shape(shape.batch, shape.channels, tuple(padded))
    return subject.setting.conv_call(conv, shape), subject.setting.packed_call(conv, shape)


def _copy(subject: Subject, stage: Layer | None) -> Pair:
    """A copy of as many bytes as the stage writes."""
    conv, shape = _convolution(stage)
    source = subject.setting.random(conv.output_shape(shape))
    target = torch.empty_like(source)
    return subject.setting.conv_call(conv, shape), lambda: target.copy_(source)


def _convolution(stage: Layer | None) -> tuple[Conv, Shape]:
    if stage is None or not isinstance(stage.op, Conv):
        msg = "this alternative is about a convolution."
        raise TypeError(msg)
    return stage.op, stage.input


PAIRS: Final[dict[str, Callable[[Subject, Layer | None], Pair]]] = {
    "channels_last": lambda subject, _: _in_format(subject, channels_last=True),
    "contiguous": lambda subject, _: _in_format(subject, channels_last=False),
    "twice_the_batch": _twice_the_batch,
    "two_threads": _two_threads,
    "packed_weights": _packed,
    "multiplier_1": _multiplier_1,
    "copy": _copy,
}
"""Before and after of each alternative."""

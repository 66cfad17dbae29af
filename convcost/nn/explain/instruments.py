"""One block under all instruments, beside each other: plain calls, oneDNN's lines, the profiler, and empty calls.

An empty call runs the same stages with next to no arithmetic in them: the same kernels are looked up, the same tensors
allocated. It follows a real call each time, since after one the caches hold as little of torch's code as in one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import torch

from convcost.convolution.conv import Add, Conv
from convcost.convolution.shape import Shape
from convcost.convolution.tree import place
from convcost.nn.explain.onednn import primitives_of
from convcost.nn.explain.profiler import operator_seconds
from convcost.nn.measure.clock import clock_for, seconds_of
from convcost.timing.account import Observed
from convcost.timing.onednn_problem import agreement, parse_problem, problem_of
from convcost.timing.parts import cpu_kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.convolution.conv import Layer
    from convcost.convolution.tree import Node
    from convcost.nn.explain.fresh_calls import Setting
    from convcost.nn.measure.clock import Clock
    from convcost.timing.onednn_lines import Primitive
    from convcost.timing.onednn_problem import Agreement, Problem

__all__ = ["LEAST_CALLS", "empty_call", "observe"]

CAPTURES: Final = 5
ROUNDS: Final = 3
LEAST_CALLS: Final = 6
"""Of the block, however slow it is: to warm up, for the sizes, for a first time, and one for each instrument."""
LONG_CALL_S: Final = 0.02
"""A longer call is looked at only once a round by each instrument."""
WORTH_NAMING: Final = 0.01
"""An operator below this share of the call is no part of its own: its time is within `unexplained`."""
EMPTY_SIZE: Final = 4
MOST_CHANNELS: Final = {True: 256, False: 16}
"""Of a group in an empty call. Inside oneDNN the channels choose the kernel and the layouts, and the primitives are
taken off; outside it the arithmetic stays in."""
LARGE_BATCH: Final = 16
"""From this batch torch gives every 1x1 convolution to oneDNN; from 2 it gives it small inputs of larger kernels."""


@dataclass(slots=True)
class _Best:
    """The fastest of everything, over the rounds."""

    plain_s: float = float("inf")
    empty_s: float = float("inf")
    primitives: tuple[Primitive, ...] = ()
    primitives_s: float = float("inf")
    empty_primitives_s: float = float("inf")
    operators: dict[str, float] = field(default_factory=dict)
    empty_operators: dict[str, float] = field(default_factory=dict)


def observe(tree: Node, shape: Shape, setting: Setting, threads: int, budget_s: float) -> tuple[Observed, Agreement]:
    """Look at a block on the CPU; the caller has set threads and inference mode, and pinned the allocator.

    Args:
        tree: of the block.
        shape: of its input.
        setting: its conditions.
        threads: of torch.
        budget_s: no round begins later.
    """
    layers, _ = place(tree, shape)
    call, clock = setting.tree_call(tree, shape), clock_for(setting.device, threads)
    call()
    texts = [one.problem for one in _first(primitives_of(call, 1)) if one.is_convolution]
    ran = Counter(map(parse_problem, texts))
    convs = [layer for layer in layers if isinstance(layer.op, Conv)]
    inside = {layer.name for layer in convs if _take(ran, layer)}
    empty = empty_call(layers, inside, setting)
    empty()
    empty()
    best, start, number = _Best(), clock.read().wall_s, 0
    call_s = seconds_of(call, clock)
    while number == 0 or (number < ROUNDS and clock.read().wall_s - start < budget_s):
        _round(best, call, empty, CAPTURES if call_s < LONG_CALL_S else 1, clock)
        number += 1
    beyond = {name: seconds - best.empty_operators.get(name, 0.0) for name, seconds in best.operators.items()}
    kernels = cpu_kernels(best.primitives, beyond, WORTH_NAMING * best.plain_s)
    return Observed(best.plain_s, best.empty_s - best.empty_primitives_s, kernels), agreement(layers, texts)


def _first(captures: Sequence[tuple[Primitive, ...]]) -> tuple[Primitive, ...]:
    return captures[0] if captures else ()


def _take(ran: Counter[Problem | None], layer: Layer) -> bool:
    """Whether oneDNN ran a convolution of these sizes that no stage before has taken."""
    problem = problem_of(layer)
    if not ran[problem]:
        return False
    ran[problem] -= 1
    return True


def _round(best: _Best, call: Callable[[], object], empty: Callable[[], object], times: int, clock: Clock) -> None:
    """Each instrument once; what was seen fastest stays."""
    for captured in primitives_of(call, times):
        seconds = sum(one.seconds for one in captured)
        if seconds < best.primitives_s:
            best.primitives, best.primitives_s = captured, seconds
    for _ in range(times):
        best.plain_s = min(best.plain_s, seconds_of(call, clock))
        best.empty_s = min(best.empty_s, seconds_of(empty, clock))
    for _ in range(times - 1):
        best.plain_s = min(best.plain_s, seconds_of(call, clock))
    _keep(best.operators, operator_seconds(call, times))
    for captured in primitives_of(empty, CAPTURES):
        best.empty_primitives_s = min(best.empty_primitives_s, sum(one.seconds for one in captured))
    _keep(best.empty_operators, operator_seconds(empty, CAPTURES))


def _keep(best: dict[str, float], seen: Mapping[str, float]) -> None:
    for name, seconds in seen.items():
        best[name] = min(seconds, best.get(name, seconds))


def empty_call(layers: Sequence[Layer], inside: set[str], setting: Setting) -> Callable[[], object]:
    """The stages one after the other, each on a few pixels of its own."""
    calls: list[Callable[[], object]] = []
    for layer in layers:
        if isinstance(layer.op, Conv):
            calls.append(setting.conv_call(*_emptied(layer, layer.op, onednn=layer.name in inside)))
        elif isinstance(layer.op, Add):
            one = setting.random(Shape(1, 1, (EMPTY_SIZE, EMPTY_SIZE)))
            calls.append(partial(torch.add, one, one))

    def call() -> None:
        for each in calls:
            each()

    return call


def _emptied(layer: Layer, conv: Conv, *, onednn: bool) -> tuple[Conv, Shape]:
    """The same convolution on a few pixels and channels, which torch hands to the same library.

    Torch decides by groups, kernel, stride and dilation, which stay, and by the batch and the size of the input.
    """
    most = MOST_CHANNELS[onednn]
    into, out = (min(channels // conv.groups, most) for channels in (conv.in_channels, conv.out_channels))
    small = replace(conv, in_channels=conv.groups * into, out_channels=conv.groups * out)
    sizes = tuple(max(EMPTY_SIZE, d * (k - 1) + 1) for k, d in zip(conv.kernel_size, conv.dilation, strict=True))
    batch = (LARGE_BATCH if layer.input.batch >= LARGE_BATCH else 2) if onednn else 1
    return small, Shape(batch, small.in_channels, sizes)

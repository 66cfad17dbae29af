"""The contents of one call: primitives of oneDNN, operators of ATen, and on CUDA the kernels."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd import profiler
from torch.profiler import ProfilerActivity, profile

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Add
from convcost.convolution.shape import Shape
from convcost.convolution.tree import place
from convcost.nn.measure.clock import clock_for, seconds_of
from convcost.system.streams import STDERR, STDOUT, taken_from
from convcost.timing.account import Observed, cpu_kernels, gpu_kernels, hidden_launches
from convcost.timing.hints import LARGE_BATCH
from convcost.timing.onednn import agreement, parse_lines, parse_problem, problem_of, separate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Node
    from convcost.nn.explain.fresh_calls import FreshCalls
    from convcost.nn.measure.clock import Clock
    from convcost.timing.onednn import Agreement, Primitive, Problem


QUEUES: Final = 7
QUEUED_CALLS: Final = 50
"""Calls of a series: the wait at its end, some 10 µs on a GPU, is then a small share of each."""
GPU_CAPTURES: Final = 5


def observe_gpu(tree: Node, shape: Shape, fresh: FreshCalls) -> Observed:
    """Observe a block on a CUDA device with torch's profiler, in inference mode.

    Args:
        tree: Tree of the block.
        shape: Shape of the input.
        fresh: Source of its module and input.
    """
    layers, _ = place(tree, shape)
    call, clock = fresh.tree_call(tree, shape), clock_for(fresh.device, 1)
    names = {layer.name for layer in layers if isinstance(layer.op, Conv)}
    empty = empty_call(layers, names, fresh)
    plain_s, empty_s = _queued_seconds(call, clock), _queued_seconds(empty, clock)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as seen:
        for _ in range(GPU_CAPTURES):
            call()
        clock.read()
    kernels = gpu_kernels(kernel_seconds(seen.events() or [], GPU_CAPTURES))
    return Observed(plain_s, hidden_launches(min(empty_s, plain_s), kernels), kernels)


def kernel_seconds(events: Iterable[Any], calls: int) -> list[tuple[str, float]]:
    """Names and mean seconds per call of the kernels on the device, in the order of their first run.

    Args:
        events: Events of torch's profiler.
        calls: Number of calls that were profiled.
    """
    seconds: dict[str, float] = {}
    for event in events:
        if event.device_type.name == "CUDA":
            seconds[event.name] = seconds.get(event.name, 0.0) + event.time_range.elapsed_us() * 1e-6 / calls
    return list(seconds.items())


def _queued_seconds(call: Callable[[], object], clock: Clock) -> float:
    """Mean seconds per call of calls that are queued one after the other: the fastest of several series."""
    call()
    means = []
    for _ in range(QUEUES):
        before = clock.read().wall_s
        for _ in range(QUEUED_CALLS):
            call()
        means.append((clock.read().wall_s - before) / QUEUED_CALLS)
    return min(means)


CAPTURES: Final = 5
ROUNDS: Final = 3
MIN_CALLS: Final = 6
"""Minimum number of calls of a block: a warm-up, the sizes, a first timing, and one for each instrument."""
LONG_CALL_S: Final = 0.02
"""Seconds of a call beyond which each instrument observes it only once in a round."""
MIN_OPERATOR_SHARE: Final = 0.01
"""Minimum share of the call for an operator to be a part of its own; the time of others stays in `unexplained`."""
EMPTY_SIZE: Final = 4
MAX_CHANNELS: Final = {True: 256, False: 16}
"""Maximum number of channels per group of an empty call: inside oneDNN (True) and outside it (False).

Inside oneDNN the channels decide the kernel and the layouts, and the time of the primitives is subtracted. Outside it
the time of the arithmetic remains, so there are fewer channels."""


@dataclass(slots=True)
class _Best:
    """The fastest result of each instrument over all rounds."""

    plain_s: float = float("inf")
    empty_s: float = float("inf")
    primitives: tuple[Primitive, ...] = ()
    primitives_s: float = float("inf")
    empty_primitives_s: float = float("inf")
    operators: dict[str, float] = field(default_factory=dict)
    empty_operators: dict[str, float] = field(default_factory=dict)


def observe(tree: Node, shape: Shape, fresh: FreshCalls, threads: int, budget_s: float) -> tuple[Observed, Agreement]:
    """Observe a block on the CPU, with threads and inference mode set and the allocator pinned.

    Args:
        tree: Tree of the block.
        shape: Shape of the input.
        fresh: Source of its module and input.
        threads: Threads of torch.
        budget_s: Seconds after which no new round begins.
    """
    layers, _ = place(tree, shape)
    call, clock = fresh.tree_call(tree, shape), clock_for(fresh.device, threads)
    call()
    texts = [one.problem for one in _first(primitives_of(call, 1)) if one.is_convolution]
    ran = Counter(map(parse_problem, texts))
    convs = [layer for layer in layers if isinstance(layer.op, Conv)]
    inside = {layer.name for layer in convs if _take(ran, layer)}
    empty = empty_call(layers, inside, fresh)
    empty()
    empty()
    best, start, number = _Best(), clock.read().wall_s, 0
    call_s = seconds_of(call, clock)
    while number == 0 or (number < ROUNDS and clock.read().wall_s - start < budget_s):
        _round(best, call, empty, CAPTURES if call_s < LONG_CALL_S else 1, clock)
        number += 1
    beyond = {name: seconds - best.empty_operators.get(name, 0.0) for name, seconds in best.operators.items()}
    kernels = cpu_kernels(best.primitives, beyond, MIN_OPERATOR_SHARE * best.plain_s)
    return Observed(best.plain_s, best.empty_s - best.empty_primitives_s, kernels), agreement(layers, texts)


def _first(captures: Sequence[tuple[Primitive, ...]]) -> tuple[Primitive, ...]:
    return captures[0] if captures else ()


def _take(ran: Counter[Problem | None], layer: Layer) -> bool:
    """Whether oneDNN ran a convolution of these sizes that no earlier stage accounts for."""
    problem = problem_of(layer)
    if not ran[problem]:
        return False
    ran[problem] -= 1
    return True


def _round(best: _Best, call: Callable[[], object], empty: Callable[[], object], times: int, clock: Clock) -> None:
    """Use each instrument once, and keep the fastest results."""
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


def empty_call(layers: Sequence[Layer], inside: set[str], fresh: FreshCalls) -> Callable[[], object]:
    """A call of all stages in order, each on a few pixels: the overhead without the arithmetic."""
    calls: list[Callable[[], object]] = []
    for layer in layers:
        if isinstance(layer.op, Conv):
            calls.append(fresh.conv_call(*_emptied(layer, layer.op, onednn=layer.name in inside)))
        elif isinstance(layer.op, Add):
            one = fresh.random(Shape(1, 1, (EMPTY_SIZE, EMPTY_SIZE)))
            calls.append(partial(torch.add, one, one))

    def call() -> None:
        for each in calls:
            each()

    return call


def _emptied(layer: Layer, conv: Conv, *, onednn: bool) -> tuple[Conv, Shape]:
    """A convolution with fewer pixels and channels that torch runs in the same library.

    Torch chooses the library by groups, kernel, stride and dilation, which are kept, and by the batch and the input
    size: from 2 samples on, for 1×1 from `LARGE_BATCH`, it takes oneDNN.
    """
    most = MAX_CHANNELS[onednn]
    into, out = (min(channels // conv.groups, most) for channels in (conv.in_channels, conv.out_channels))
    small = replace(conv, in_channels=conv.groups * into, out_channels=conv.groups * out)
    sizes = tuple(max(EMPTY_SIZE, d * (k - 1) + 1) for k, d in zip(conv.kernel_size, conv.dilation, strict=True))
    batch = (LARGE_BATCH if layer.input.batch >= LARGE_BATCH else 2) if onednn else 1
    return small, Shape(batch, small.in_channels, sizes)


def primitives_of(call: Callable[[], object], times: int = 5) -> list[tuple[Primitive, ...]]:
    """The primitives that oneDNN ran in each of several calls.

    Args:
        call: Call that ran at least once before, so that no primitive is created meanwhile.
        times: Number of calls.

    Returns:
        The primitives of each call; empty if the calls differ, since a line cannot be assigned to a call then.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # untyped in torch
        return [()] * times
    text = taken_from(STDOUT, lambda: _verbose(call, times), separate)
    ran = parse_lines(text.splitlines())
    length, rest = divmod(len(ran), times)
    calls = [ran[number * length : (number + 1) * length] for number in range(times)]
    same = {tuple((one.kind, one.implementation, one.problem) for one in each) for each in calls}
    return [] if rest or len(same) != 1 else calls


def _verbose(call: Callable[[], object], times: int) -> None:
    verbose: Any = torch.backends.mkldnn.verbose
    with verbose(torch.backends.mkldnn.VERBOSE_ON):
        for _ in range(times):
            call()
    if wanted := _user_level():
        verbose(wanted).__enter__()  # the end of the block above has switched it off


def _user_level() -> int:
    """The verbosity of oneDNN in the user's environment; 0 without one."""
    level = os.environ.get("ONEDNN_VERBOSE") or os.environ.get("DNNL_VERBOSE") or "0"
    return int(level) if level in {"1", "2"} else 0


PROFILER_LINES: Final = re.compile(r"USDT:[^\n]*(?:\n|$)")
"""Lines that the profiler of torch 2.13 writes to stderr when it starts and stops."""


def operator_seconds(call: Callable[[], object], times: int = 5) -> dict[str, float]:
    """Seconds of each ATen operator itself, without those that it calls: the fastest of several calls.

    Args:
        call: Call to profile.
        times: Number of calls.
    """
    seen = profiler.profile(use_kineto=False)

    def observe_calls() -> None:
        with seen:
            for _ in range(times):
                call()

    taken_from(STDERR, observe_calls, lambda text: ("", PROFILER_LINES.sub("", text)))
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    events: Any = seen.function_events
    for event in events:
        seconds[event.name].append(event.self_cpu_time_total * 1e-6)
    return {name: _fastest(each, times) for name, each in seconds.items()}


def _fastest(each: list[float], times: int) -> float:
    """The smallest total of a call; the mean if the calls differ in their operators."""
    count, rest = divmod(len(each), times)
    if rest:
        return sum(each) / times
    return min(sum(each[start : start + count]) for start in range(0, len(each), count))

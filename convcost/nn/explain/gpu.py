"""One block on a CUDA device under torch's profiler: the kernels that ran, and how long. Experimental."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch.profiler import ProfilerActivity, profile

from convcost.convolution.conv import Conv
from convcost.convolution.tree import place
from convcost.nn.explain.instruments import empty_call
from convcost.nn.measure.clock import clock_for
from convcost.timing.account import Observed
from convcost.timing.parts import gpu_kernels, hidden_launches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.nn.explain.fresh_calls import Setting
    from convcost.nn.measure.clock import Clock

__all__ = ["kernel_seconds", "observe_gpu"]

CALLS: Final = 20
CAPTURES: Final = 5


def observe_gpu(tree: Node, shape: Shape, setting: Setting) -> Observed:
    """Look at a block on a CUDA device; the caller has set inference mode.

    Args:
        tree: of the block.
        shape: of its input.
        setting: its conditions.
    """
    layers, _ = place(tree, shape)
    call, clock = setting.tree_call(tree, shape), clock_for(setting.device, 1)
    names = {layer.name for layer in layers if isinstance(layer.op, Conv)}
    empty = empty_call(layers, names, setting)
    plain_s, empty_s = _a_call(call, clock), _a_call(empty, clock)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        for _ in range(CAPTURES):
            call()
        clock.read()
    kernels = gpu_kernels(kernel_seconds(seen.events() or [], CAPTURES))
    return Observed(plain_s, hidden_launches(empty_s, kernels), kernels)


def kernel_seconds(events: Iterable[Any], calls: int) -> list[tuple[str, float]]:
    """Name and mean seconds a call of every kernel on the device, in the order of their first run.

    Args:
        events: of torch's profiler.
        calls: that were looked at.
    """
    seconds: dict[str, float] = {}
    for event in events:
        if event.device_type.name == "CUDA":
            seconds[event.name] = seconds.get(event.name, 0.0) + event.time_range.elapsed_us() * 1e-6 / calls
    return list(seconds.items())


def _a_call(call: Callable[[], object], clock: Clock) -> float:
    """Seconds of one of many calls that are queued one after the other."""
    call()
    before = clock.read().wall_s
    for _ in range(CALLS):
        call()
    return (clock.read().wall_s - before) / CALLS

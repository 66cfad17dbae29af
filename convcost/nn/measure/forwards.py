"""Whole forward passes of several models, timed next to each other: a model and what it was before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from convcost.nn.load.user_code import running_users_code
from convcost.nn.measure.blocks import LOOK_S, conditions_for, look_at_machine, reference_probe, timing_settings
from convcost.nn.measure.clock import clock_for, interleave
from convcost.nn.measure.device import cpu_name, refusal, resolve_device, resolve_threads
from convcost.nn.measure.models import does_not_run, forward_call
from convcost.text.errors import ConvcostError
from convcost.timing.forward_timing import BASE, HEAD, ForwardTiming, summed_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from convcost.comparison.request import TimingOptions
    from convcost.timing.statistics import Series

    Forward: TypeAlias = tuple[nn.Module, Sequence[Any], Mapping[str, Any]]
    """A module with its positional and keyword inputs."""

__all__ = ["Forward", "machine_here", "measure_forwards", "measured_series", "this_machine"]


def measure_forwards(head: Forward, base: Forward | None, request: TimingOptions) -> ForwardTiming:
    """Time a model, interleaved with what it was.

    Args:
        head: module with real weights on the CPU, positional and keyword inputs.
        base: likewise; None to time the model alone.
        request: device, threads, allocator and time budget.

    Raises:
        ConvcostError: a device that is not there, too little memory, or a model that does not run.
    """
    where = resolve_device(request.devices[0])
    models = {HEAD: head} if base is None else {BASE: base, HEAD: head}
    held = sum(p.numel() * p.element_size() for module, _, _ in models.values() for p in module.parameters())
    if reason := refusal(2 * held, where):
        msg = f"{reason}; or leave out the latency."
        raise ConvcostError(msg)
    conditions, pinned = conditions_for(request, request.devices[0])
    look = look_at_machine(request, where, conditions.threads, pinned=pinned)
    series, probes = measured_series(models, where, conditions.threads, request.time_budget - LOOK_S)
    return summed_up(series, probes, this_machine(where), look.notes, pinned=pinned, untrusted=look.untrusted)


def measured_series(
    models: Mapping[str, Forward], device: torch.device, threads: int, budget_s: float
) -> tuple[dict[str, Series], dict[int, float]]:
    """The interleaved blocks of each model, and the reference probe of each round."""
    with timing_settings(threads):
        calls = {name: forward_call(*model, device) for name, model in models.items()}
        probe, _ = reference_probe(device)
        with running_users_code(does_not_run):
            return interleave(calls, probe, clock_for(device, threads), max(0.01, budget_s))


def machine_here(name: str) -> str:
    """What `this_machine` says of a device as the user named it, one that is not there too."""
    try:
        return this_machine(resolve_device(name))
    except ConvcostError:
        return f"{this_machine(torch.device('cpu'))}, without {name}"


def this_machine(device: torch.device) -> str:
    """What tells one machine's times from another's: the processor and how many cores, or the accelerator."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {resolve_threads('all')} cores" + ("" if device.type == "cpu" else f", {device.type}")

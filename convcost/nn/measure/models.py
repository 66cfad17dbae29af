"""Whole forward passes of several models, timed next to each other: a model and what it was before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch.utils._pytree import tree_leaves, tree_map

from convcost.nn.build.conv_module import is_plain
from convcost.nn.count.trace import is_one_row, tensor_text
from convcost.nn.load.user_code import mended, raised, running_users_code
from convcost.nn.measure.clock import clock_for, interleave
from convcost.nn.measure.device import refusal, resolve_device, resolve_threads
from convcost.nn.measure.layouts import CHANNELS_LAST, CONTIGUOUS, dtypes_of, format_of
from convcost.nn.measure.session import (
    LOOK_S,
    conditions_for,
    look_at_machine,
    machine_notes,
    reference_probe,
    timing_settings,
)
from convcost.system.processor import cpu_name
from convcost.text.errors import ConvcostError
from convcost.timing.measured import BASE, HEAD, WHOLE, ForwardTiming, Kind, ModelTiming, summed_up
from convcost.timing.statistics import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import nn

    from convcost.timing.conditions import Conditions
    from convcost.timing.options import TimingOptions
    from convcost.timing.statistics import Series

    Forward: TypeAlias = tuple[nn.Module, Sequence[Any], Mapping[str, Any]]
    """A module with its positional and keyword inputs."""

__all__ = [
    "Forward",
    "does_not_run",
    "forward_call",
    "machine_here",
    "measure_forwards",
    "measure_model",
    "measured_series",
    "this_machine",
]


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


MIXED: Final = "mixed"
"""In place of a condition that differs between the layers of a model."""


def measure_model(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    request: TimingOptions,
    tell: Callable[[str], None] = lambda _: None,
) -> ModelTiming:
    """Time a model on one device.

    Args:
        model: with real weights on the CPU; it is moved to the device.
        args: positional inputs; of tensors only sizes and dtypes are used, and indices.
        kwargs: keyword inputs, likewise.
        request: device, threads, allocator and time budget.
        tell: is called with lines of progress.

    Raises:
        ConvcostError: a device that is not there, too little memory, or a model that does not run.
    """
    conditions, pinned = conditions_for(request, request.devices[0])
    where = resolve_device(request.devices[0])
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    if reason := refusal(2 * held, where):
        msg = f"{reason}; or turn time off."
        raise ConvcostError(msg)
    tell("looking at the machine ...")
    notes = machine_notes(request, where, conditions.threads, pinned=pinned)
    with timing_settings(conditions.threads):
        model = model.to(where).eval()
        placed = tree_map(lambda value: _filled(value, where), (args, kwargs))
        kinds, calls = _distinct_calls(model, placed)
        conditions = _of_all(conditions, set(kinds.values()), [*model.parameters(), *_tensors(placed)])
        probe, _ = reference_probe(where)
        candidates = {WHOLE: lambda: model(*placed[0], **placed[1])}
        candidates |= {kind.text: call for kind, call in calls.items()}
        budget = max(0.01, request.time_budget - LOOK_S)
        clock = clock_for(where, conditions.threads)
        with running_users_code(does_not_run):
            series, probes = interleave(candidates, probe, clock, budget, lambda _, __, line: tell(line))
    timings = summarise(series, probes, None, pinned=pinned)
    layers = {name: timings[kind.text] for name, kind in kinds.items()}
    return ModelTiming(conditions, timings[WHOLE], layers, notes, kinds)


def _of_all(conditions: Conditions, kinds: Iterable[Kind], tensors: Iterable[torch.Tensor]) -> Conditions:
    """The conditions of a whole model: what all its layers have in common.

    Args:
        conditions: with what was asked for.
        kinds: of its layers.
        tensors: of the model, for one without layers.
    """
    dtypes = {name for kind in kinds for name in kind.dtypes} or set(dtypes_of(tensors)) or {conditions.dtype}
    formats = {kind.memory_format or CONTIGUOUS for kind in kinds if kind.has_images} or {CONTIGUOUS}
    dtype, memory_format = (next(iter(said)) if len(said) == 1 else MIXED for said in (dtypes, formats))
    return replace(conditions, dtype=dtype, memory_format=memory_format)


def forward_call(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device
) -> Callable[[], object]:
    """One forward pass on a device, after the model has shown that it runs.

    Raises:
        ConvcostError: it does not run.
    """
    model = model.to(device).eval()
    placed = tree_map(lambda value: _filled(value, device), (tuple(args), dict(kwargs)))

    def call() -> object:
        return model(*placed[0], **placed[1])

    with running_users_code(does_not_run):
        call()
    return call


def does_not_run(error: BaseException) -> ConvcostError:
    """What to say of a forward pass that raises when it is timed."""
    return ConvcostError(f"the model could not run: {raised(error)}; {mended(error)}.")


def _distinct_calls(
    model: nn.Module, placed: tuple[Sequence[Any], Mapping[str, Any]]
) -> tuple[dict[str, Kind], dict[Kind, Callable[[], object]]]:
    """Run once and remember each call of a module without parts: of each row its kind, and one call of each kind."""
    kinds: dict[str, Kind] = {}
    calls: dict[Kind, Callable[[], object]] = {}
    seen: dict[str, int] = {}
    paths = {id(part): name for name, part in reversed(list(model.named_modules()))}
    hooked = {id(part) for part in model.modules() if part._forward_pre_hooks or part._forward_hooks}  # noqa: SLF001 - torch has no other way to ask

    def remember(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        del output
        path = paths.get(id(module), type(module).__name__) or type(module).__name__
        seen[path] = seen.get(path, 0) + 1
        kind = _kind(module, _tensors((args, kwargs)), hooked=id(module) in hooked)
        kinds[path if seen[path] == 1 else f"{path}#{seen[path]}"] = kind
        if kind not in calls:
            inputs = tree_map(_own_copy, (args, kwargs))
            calls[kind] = lambda: module(*inputs[0], **inputs[1])

    hooks = [p.register_forward_hook(remember, with_kwargs=True) for p in model.modules() if is_one_row(p)]
    try:
        with running_users_code(does_not_run):
            model(*placed[0], **placed[1])
    finally:
        for hook in hooks:
            hook.remove()
    return kinds, calls


def _kind(module: nn.Module, inputs: list[torch.Tensor], *, hooked: bool) -> Kind:
    """What a call of a module is, by all that decides its time."""
    weights = list(module.parameters())
    name = type(module).__name__
    obstacle = None if is_plain(module) and not hooked else f"this {name} may do more than convolve"
    described = ", ".join(map(_described, inputs)), ", ".join(map(_described, weights))
    return Kind(
        f"{type(module).__module__}.{module} ({described[0]}; {described[1]}){' with hooks' if hooked else ''}",
        dtypes_of([*inputs, *weights]),
        format_of([*inputs, *weights]),
        format_of(inputs),
        any(tensor.dim() > 3 for tensor in (*inputs, *weights)),  # noqa: PLR2004 - samples, channels, height, width
        obstacle,
    )


def _described(tensor: torch.Tensor) -> str:
    """Sizes, dtype and, where it is not plain, how it lies in memory."""
    known = format_of([tensor])
    layout = "" if known == CONTIGUOUS else f" {known}" if known == CHANNELS_LAST else f" {tuple(tensor.stride())}"
    return f"{tensor_text(tensor)}{layout}"


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _filled(value: Any, device: torch.device) -> Any:
    """A tensor on the device, with random values where it can have them; zeros are legal indices everywhere."""
    if not isinstance(value, torch.Tensor):
        return value
    return torch.randn_like(value, device=device) if value.is_floating_point() else value.to(device)


def _own_copy(value: Any) -> Any:
    """A tensor of its own with the same layout, so that a layer that works in place changes nobody else's."""
    return value.clone(memory_format=torch.preserve_format) if isinstance(value, torch.Tensor) else value

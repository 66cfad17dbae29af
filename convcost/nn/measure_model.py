"""A whole forward pass and each distinct layer alone, timed next to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils._pytree import tree_leaves, tree_map

from convcost.errors import ConvcostError
from convcost.nn.clock import clock_for, interleave
from convcost.nn.device import refusal, resolve_device
from convcost.nn.measure import LOOK_S, conditions_for, machine_notes, reference_probe, timing_settings
from convcost.nn.user_code import mended, raised, running_users_code
from convcost.timing import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from convcost.request import TimingOptions
    from convcost.timing import Conditions, Timing

__all__ = ["ModelTiming", "does_not_run", "forward_call", "measure_model"]

WHOLE: Final = "the whole forward"


@dataclass(frozen=True, slots=True)
class ModelTiming:
    """What was timed of a model.

    Attributes:
        conditions: of all timings.
        whole: the forward pass.
        layers: of each module call, by the name of its row; calls of one kind on one shape share a timing.
        notes: about the machine.
        kinds: of each row that was timed, which layer it is: equal for those that share a timing.
    """

    conditions: Conditions
    whole: Timing
    layers: Mapping[str, Timing]
    notes: tuple[str, ...]
    kinds: Mapping[str, str]


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
        msg = f"{reason}; or leave out --time."
        raise ConvcostError(msg)
    tell("looking at the machine ...")
    notes = machine_notes(request, where, conditions.threads, pinned=pinned)
    with timing_settings(conditions.threads):
        model = model.to(where).eval()
        placed = tree_map(lambda value: _filled(value, where), (args, kwargs))
        names, calls = _distinct_calls(model, placed)
        probe, _ = reference_probe(where)
        candidates = {WHOLE: lambda: model(*placed[0], **placed[1]), **calls}
        budget = max(0.01, request.time_budget - LOOK_S)
        clock = clock_for(where, conditions.threads)
        with running_users_code(does_not_run):
            series, probes = interleave(candidates, probe, clock, budget, lambda _, __, line: tell(line))
    timings = summarise(series, probes, None, pinned=pinned)
    layers = {name: timings[key] for name, key in names.items()}
    return ModelTiming(conditions, timings[WHOLE], layers, notes, names)


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
) -> tuple[dict[str, str], dict[str, Callable[[], object]]]:
    """Run once and remember each call of a module without parts: its row's name, and one call of each kind."""
    names: dict[str, str] = {}
    calls: dict[str, Callable[[], object]] = {}
    seen: dict[str, int] = {}
    paths = {id(part): name for name, part in reversed(list(model.named_modules()))}

    def remember(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        del output
        path = paths.get(id(module), type(module).__name__) or type(module).__name__
        seen[path] = seen.get(path, 0) + 1
        shapes = [tuple(leaf.shape) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        key = f"{module} {shapes}"
        names[path if seen[path] == 1 else f"{path}#{seen[path]}"] = key
        if key not in calls:
            inputs = tree_map(_own_copy, (args, kwargs))
            calls[key] = lambda: module(*inputs[0], **inputs[1])

    from convcost.nn.trace import is_one_row  # noqa: PLC0415 - beside its one use

    hooks = [p.register_forward_hook(remember, with_kwargs=True) for p in model.modules() if is_one_row(p)]
    try:
        with running_users_code(does_not_run):
            model(*placed[0], **placed[1])
    finally:
        for hook in hooks:
            hook.remove()
    return names, calls


def _filled(value: Any, device: torch.device) -> Any:
    """A tensor on the device, with random values where it can have them; zeros are legal indices everywhere."""
    if not isinstance(value, torch.Tensor):
        return value
    return torch.randn_like(value, device=device) if value.is_floating_point() else value.to(device)


def _own_copy(value: Any) -> Any:
    """A tensor of its own with the same layout, so that a layer that works in place changes nobody else's."""
    return value.clone(memory_format=torch.preserve_format) if isinstance(value, torch.Tensor) else value

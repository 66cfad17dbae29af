"""A whole forward pass and each distinct layer alone, timed next to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils._pytree import tree_leaves, tree_map

from convcost.nn.build.conv_module import is_plain
from convcost.nn.count.trace import is_one_row, tensor_text
from convcost.nn.load.user_code import mended, raised, running_users_code
from convcost.nn.measure.blocks import LOOK_S, conditions_for, machine_notes, reference_probe, timing_settings
from convcost.nn.measure.clock import clock_for, interleave
from convcost.nn.measure.device import refusal, resolve_device
from convcost.nn.measure.layouts import CHANNELS_LAST, CONTIGUOUS, dtypes_of, format_of
from convcost.text.errors import ConvcostError
from convcost.timing.statistics import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import nn

    from convcost.comparison.request import TimingOptions
    from convcost.timing.statistics import Conditions, Timing

__all__ = ["Kind", "ModelTiming", "does_not_run", "forward_call", "measure_model"]

WHOLE: Final = "the whole forward"
MIXED: Final = "mixed"
"""In place of a condition that differs between the layers of a model."""


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

"""The timing of models: the forward pass with each distinct layer, or next to an earlier version of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch.utils._pytree import tree_leaves, tree_map

from convcost.nn.build.conv_module import is_plain
from convcost.nn.count.one_row import is_one_row
from convcost.nn.count.tensors import tensor_text
from convcost.nn.load.user_code import forward_failure, running_user_code
from convcost.nn.measure.device import CHANNELS_LAST, CONTIGUOUS, dtypes_of, format_of, refusal, resolve_device
from convcost.nn.measure.session import timing_session
from convcost.nn.measure.this_machine import machine_name
from convcost.text.errors import ConvcostError
from convcost.timing.measured import BASE, HEAD, WHOLE, ForwardTiming, Kind, ModelTiming, summarise_forwards
from convcost.timing.statistics import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from torch import nn

    from convcost.timing.conditions import Conditions, TimingOptions

    Forward: TypeAlias = tuple[nn.Module, Sequence[Any], Mapping[str, Any]]
    """A module with its positional and keyword inputs."""


def measure_forwards(head: Forward, base: Forward | None, options: TimingOptions) -> ForwardTiming:
    """Time a model's forward pass next to that of its earlier version.

    Args:
        head: Model with real weights on the CPU.
        base: Earlier version of the model; None to time the model alone.
        options: Conditions and time budget.

    Raises:
        ConvcostError: A device that is not there, too little memory, or a model that does not run.
    """
    models = {HEAD: head} if base is None else {BASE: base, HEAD: head}
    require_memory([module for module, _, _ in models.values()], options, "leave out the latency")
    with timing_session(options) as session:
        calls = {name: forward_call(*model, session.device) for name, model in models.items()}
        with running_user_code(model_failure):
            series, probes = session.run(calls)
    machine = machine_name(session.device)
    return summarise_forwards(series, probes, machine, session.notes, pinned=session.pinned, untrusted=session.doubt)


def measure_models(
    models: Mapping[str, Forward], options: TimingOptions, progress: Callable[[str], None]
) -> dict[str, ModelTiming]:
    """Time the forward passes of several models next to each other; speed-ups are relative to the first.

    Args:
        models: Models with real weights on the CPU, by name.
        options: Conditions and time budget.
        progress: Called with lines of progress.

    Raises:
        ConvcostError: A device that is not there, too little memory, or a model that does not run.
    """
    require_memory([module for module, _, _ in models.values()], options, "give fewer models")
    with timing_session(options, progress) as session:
        calls = {name: forward_call(*model, session.device) for name, model in models.items()}
        with running_user_code(model_failure):
            series, probes = session.run(calls, lambda _, __, line: progress(line))
    timings = summarise(series, probes, next(iter(models)), pinned=session.pinned)
    results = {}
    for name, (module, args, kwargs) in models.items():
        conditions = conditions_of(session.conditions, (), [*module.parameters(), *tensors_in((args, kwargs))])
        results[name] = ModelTiming(conditions, timings[name], {}, session.notes, {})
    return results


def require_memory(models: Iterable[nn.Module], options: TimingOptions, step: str) -> None:
    """Refuse models that do not fit the device together with activations as large as their parameters."""
    held = sum(p.numel() * p.element_size() for model in models for p in model.parameters())
    if reason := refusal(2 * held, resolve_device(options.devices[0])):
        raise ConvcostError(f"{reason}; or {step}.")


MIXED: Final = "mixed"
"""Value of a condition that differs between the layers of a model."""


def measure_model(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: TimingOptions,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelTiming:
    """Time a model and each of its distinct layers on one device.

    Args:
        model: Module with real weights on the CPU, which is moved to the device.
        args: Positional inputs; the floating point values of tensors are replaced by random ones.
        kwargs: Keyword inputs, whose floating point values are replaced too.
        options: Conditions and time budget.
        progress: Called with lines of progress.

    Raises:
        ConvcostError: A device that is not there, too little memory, or a model that does not run.
    """
    require_memory([model], options, "turn time off")
    with timing_session(options, progress) as session:
        model = model.to(session.device).eval()
        placed = tree_map(lambda value: filled(value, session.device), (args, kwargs))
        kinds, calls = distinct_calls(model, placed)
        conditions = conditions_of(session.conditions, set(kinds.values()), [*model.parameters(), *tensors_in(placed)])
        candidates = {WHOLE: lambda: model(*placed[0], **placed[1])}
        candidates |= {kind.text: call for kind, call in calls.items()}
        with running_user_code(model_failure):
            series, probes = session.run(candidates, lambda _, __, line: progress(line))
    timings = summarise(series, probes, None, pinned=session.pinned)
    layers = {name: timings[kind.text] for name, kind in kinds.items()}
    return ModelTiming(conditions, timings[WHOLE], layers, session.notes, kinds)


def conditions_of(conditions: Conditions, kinds: Iterable[Kind], tensors: Iterable[torch.Tensor]) -> Conditions:
    """The conditions of a whole model: those that its layers share, else "mixed".

    Args:
        conditions: Requested conditions.
        kinds: Kinds of the layers.
        tensors: Tensors of the model, for one without layers.
    """
    dtypes = {name for kind in kinds for name in kind.dtypes} or set(dtypes_of(tensors)) or {conditions.dtype}
    formats = {kind.memory_format or CONTIGUOUS for kind in kinds if kind.has_images} or {CONTIGUOUS}
    dtype, memory_format = (next(iter(each)) if len(each) == 1 else MIXED for each in (dtypes, formats))
    return replace(conditions, dtype=dtype, memory_format=memory_format)


def forward_call(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device
) -> Callable[[], object]:
    """A call of one forward pass on a device, which is run once to check that the model runs.

    Raises:
        ConvcostError: The model does not run.
    """
    model = model.to(device).eval()
    placed = tree_map(lambda value: filled(value, device), (tuple(args), dict(kwargs)))

    def call() -> object:
        return model(*placed[0], **placed[1])

    with running_user_code(model_failure):
        call()
    return call


def model_failure(error: BaseException) -> ConvcostError:
    """The error of a forward pass that raises while it is timed."""
    return ConvcostError(f"the model could not run: {forward_failure(error)}")


def distinct_calls(
    model: nn.Module, placed: tuple[Sequence[Any], Mapping[str, Any]], names: Collection[str] | None = None
) -> tuple[dict[str, Kind], dict[Kind, Callable[[], object]]]:
    """Run the model once; returns the kind of each layer call, by row name, and one call of each kind.

    Args:
        model: Module on the device.
        placed: Positional and keyword inputs on the device.
        names: Rows to have a call, which may be of modules with submodules; None for those of all layers. A row that
            is no module's, such as that of a function, has none.
    """
    kinds: dict[str, Kind] = {}
    calls: dict[Kind, Callable[[], object]] = {}
    seen: dict[str, int] = {}
    paths = {id(part): name for name, part in reversed(list(model.named_modules()))}
    hooked = {id(part) for part in model.modules() if part._forward_pre_hooks or part._forward_hooks}  # noqa: SLF001 - torch has no public access to hooks

    def path_of(module: nn.Module) -> str:
        return paths.get(id(module)) or type(module).__name__

    def remember(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        del output
        path = path_of(module)
        seen[path] = seen.get(path, 0) + 1
        name = path if seen[path] == 1 else f"{path}#{seen[path]}"
        hooked_inside = any(id(part) in hooked for part in module.modules())
        kinds[name] = kind = _kind(module, path, tensors_in((args, kwargs)), hooked=hooked_inside)
        if kind not in calls and (names is None or name in names):
            inputs = tree_map(_own_copy, (args, kwargs))
            calls[kind] = lambda: module(*inputs[0], **inputs[1])

    paths_of_names = {name.partition("#")[0] for name in names or ()}
    timed = [
        part
        for part in model.modules()
        if (is_one_row(part) or path_of(part) in paths_of_names) and not isinstance(part, torch.jit.ScriptModule)
    ]
    hooks = [part.register_forward_hook(remember, with_kwargs=True) for part in timed]
    try:
        with running_user_code(model_failure):
            model(*placed[0], **placed[1])
    finally:
        for hook in hooks:
            hook.remove()
    return kinds, calls


def _kind(module: nn.Module, path: str, inputs: list[torch.Tensor], *, hooked: bool) -> Kind:
    """The kind of a module's call: all that decides its time."""
    weights = list(module.parameters())
    name = type(module).__name__
    obstacle = None if is_plain(module) and not hooked else f"this {name} may do more than convolve"
    alone = "" if is_one_row(module) or _is_described(module) else f" at {path}"
    described = ", ".join(map(_described, inputs)), ", ".join(map(_described, weights))
    return Kind(
        f"{type(module).__module__}.{module} ({described[0]}; {described[1]}){' with hooks' if hooked else ''}{alone}",
        dtypes_of([*inputs, *weights]),
        format_of([*inputs, *weights]),
        format_of(inputs),
        any(tensor.shape[3:] for tensor in (*inputs, *weights)),  # samples, channels, height, width
        obstacle,
    )


def _is_described(module: nn.Module) -> bool:
    """Whether the text of a module with submodules says what it does: a user's class may do anything with them."""
    return all(type(part).__module__.partition(".")[0] in {"torch", "convcost"} for part in module.modules())


def _described(tensor: torch.Tensor) -> str:
    """Sizes and dtype of a tensor; for one that is not contiguous also its memory format or strides."""
    known = format_of([tensor])
    layout = "" if known == CONTIGUOUS else f" {known}" if known == CHANNELS_LAST else f" {tuple(tensor.stride())}"
    return f"{tensor_text(tensor)}{layout}"


def tensors_in(values: Any) -> list[torch.Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def filled(value: Any, device: torch.device) -> Any:
    """The value on the device; floating point tensors get random values, others may be indices and keep theirs."""
    if not isinstance(value, torch.Tensor):
        return value
    return torch.randn_like(value, device=device) if value.is_floating_point() else value.to(device)


def _own_copy(value: Any) -> Any:
    """A copy with the same layout, so that a layer that works in place changes no other layer's input."""
    return value.clone(memory_format=torch.preserve_format) if isinstance(value, torch.Tensor) else value

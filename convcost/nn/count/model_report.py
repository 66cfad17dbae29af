"""The report of a module's forward pass, traced on meta tensors without weights or arithmetic."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map

from convcost.models.call import Call
from convcost.models.report import NOT_REQUESTED, ModelReport, Totals, Uncounted
from convcost.nn.count.cross_check import check_with_fvcore, check_with_torch
from convcost.nn.count.memory import numel, total_bytes
from convcost.nn.count.packed_weights import packed_weights
from convcost.nn.count.tensors import dtype_text, tensor_text, tensors_in
from convcost.nn.count.trace import Recorder
from convcost.nn.load.meta_device import any_device_allowed, on_device, restored_after, switch_to_eval
from convcost.nn.load.user_code import forward_failure, running_user_code, user_line
from convcost.system.streams import quiet_stdout
from convcost.text.errors import ConvcostError, NeedsValuesError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from convcost.nn.count.row import Row

NEEDS_VALUES = ("meta tensor", "item()", "data-dependent", "no data", "Could not guard", "bool value of Tensor")
"""Parts of torch's messages for code that needs the values of a tensor."""


def report(
    model: nn.Module,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: str = "meta",
    cross_check: bool = False,
) -> ModelReport:
    """Count a module's forward pass.

    Args:
        model: Any module; it is left exactly as it was.
        inputs: Positional arguments, real or meta tensors.
        kwargs: Keyword arguments.
        device: "meta" allocates nothing; "cpu" runs the model, for one that depends on the values of its tensors.
        cross_check: Whether to run torch's FlopCounterMode and fvcore too.

    Raises:
        ConvcostError: The module refuses its input, or needs the values of a tensor; the message says where.
    """
    call = _call(model, inputs, kwargs)
    special = next((kind for leaf in _leaves(call) if (kind := _kind_without_meta(leaf))), None)
    if device == "meta" and special is None:
        try:
            return _counted(model, call, device, cross_check=cross_check)
        except ConvcostError:
            if not _needs_values(model):
                raise
    counted = _counted(model, _mapped(_zeros_for_meta, call), "cpu", cross_check=cross_check)
    if device != "meta":
        return counted
    what = "a scripted or quantised part does" if special is None else f"{special} inputs do"
    note = f"{what} not run on meta tensors: the model was run once on the CPU."
    return replace(counted, notes=(*counted.notes, note))


def _call(model: object, inputs: object, kwargs: Mapping[str, Any] | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the call.

    Raises:
        ConvcostError: Not a module, or not a sequence of inputs.
    """
    if not isinstance(model, torch.nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        step = "call it to make a module" if isinstance(model, type) else "wrap it in a module whose forward calls it"
        raise ConvcostError(f"model must be a torch.nn.Module, not {what}; {step}.")
    if isinstance(inputs, (PackedSequence, torch.Tensor)):  # one input, though it has items
        return (inputs,), dict(kwargs or {})
    if not isinstance(inputs, Iterable):
        raise ConvcostError(f"inputs must be a tuple of positional arguments, not a {type(inputs).__name__}.")
    return tuple(inputs), dict(kwargs or {})


def _is_packed(value: object) -> bool:
    return isinstance(value, PackedSequence)


def _leaves(values: Any) -> list[Any]:
    return tree_leaves(values, is_leaf=_is_packed)


def _mapped(function: Callable[[Any], Any], values: Any) -> Any:
    return tree_map(function, values, is_leaf=_is_packed)


def _kind_without_meta(value: object) -> str | None:
    """The kind of an input that has no meta tensor of its sizes."""
    if not isinstance(value, torch.Tensor) or value.device.type == "meta":
        return None
    if value.is_nested:
        return "nested"
    if value.is_quantized:
        return "quantised"
    return None if value.layout is torch.strided else "sparse"


def _needs_values(model: nn.Module) -> bool:
    """Whether a part is scripted or quantised: compiled code that may not run on meta tensors."""
    return any(isinstance(p, torch.jit.ScriptModule) or "quantized" in type(p).__module__ for p in model.modules())


def _zeros_for_meta(value: Any) -> Any:
    is_meta = isinstance(value, torch.Tensor) and value.device.type == "meta"
    return torch.zeros(value.shape, dtype=value.dtype) if is_meta else value


def _counted(
    model: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]], device: str, *, cross_check: bool
) -> ModelReport:
    placed = _mapped(lambda value: on_device(value, device), inputs)
    with quiet_stdout(), torch.random.fork_rng(devices=[]), torch.no_grad(), restored_after(model, device):
        with running_user_code(partial(_eval_error, model)):
            switch_to_eval(model)
        recorder = _run(model, placed[0], placed[1], device)
        counted = _report(recorder, model, _input_texts(*inputs), device)
        by_torch = check_with_torch(model, placed, recorder.rows) if cross_check else NOT_REQUESTED
    with quiet_stdout():
        by_fvcore = check_with_fvcore(model, inputs, recorder.rows, counted.totals) if cross_check else NOT_REQUESTED
    return replace(counted, cross_check={"fvcore": by_fvcore, "torch": by_torch})


def _eval_error(model: nn.Module, error: BaseException) -> ConvcostError:
    where = user_line(error) or type(model).__name__
    return ConvcostError(
        f"eval() of the model raises {type(error).__name__} at {where}: {first_line(error)}; "
        "call eval() before counting."
    )


def _run(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], device: str) -> Recorder:
    recorder = Recorder(model, tensors_in((args, kwargs)), device)
    describe = partial(_forward_error, model, recorder, args)
    may_be_compiled = "torch._dynamo" in sys.modules
    eager = torch.compiler.set_stance("force_eager") if may_be_compiled else nullcontext()
    allowed = any_device_allowed() if device == "meta" else nullcontext()
    with running_user_code(describe), warnings.catch_warnings(), eager, allowed, recorder:
        warnings.simplefilter("ignore")  # the model's own warnings belong to its runs, not to its counts
        model(*args, **kwargs)
    return recorder


def _forward_error(model: nn.Module, recorder: Recorder, args: tuple[Any, ...], error: BaseException) -> ConvcostError:
    """The error for a forward pass that raised: the module, what it expects, and its input."""
    path = recorder.path
    if any(sign in str(error) for sign in NEEDS_VALUES):
        reason = str(error).strip().partition("\n")[0]
        where = user_line(error) or path or type(model).__name__
        return NeedsValuesError(
            f"{where} needs the values of a tensor, which a meta tensor does not have ({reason}); "
            "run it with device cpu."
        )
    part = dict(model.named_modules()).get(path, model)
    channels = (name for name in ("in_channels", "in_features") if hasattr(part, name))
    expected = next((f"expects {name} {getattr(part, name)}, " for name in channels), "")
    shape = recorder.failed_shape or next((tuple(a.shape) for a in args if isinstance(a, torch.Tensor)), None)
    outcome = f"got input {'x'.join(map(str, shape))}" if shape else "could not run"
    name = f"{path or 'the model'} ({type(part).__name__})"
    return ConvcostError(f"{name} {expected}{outcome}: {forward_failure(error)}")


def _input_texts(inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    def text(value: object) -> str:
        return tensor_text(value) if isinstance(value, torch.Tensor) else type(value).__name__

    return (*map(text, inputs), *(f"{name}={text(value)}" for name, value in kwargs.items()))


def _report(recorder: Recorder, model: nn.Module, inputs: tuple[str, ...], device: str) -> ModelReport:
    rows, weights = recorder.rows, recorder.weights
    kinds: Counter[str] = Counter()
    for row in rows:
        for event in row.events:
            kinds[event.kind] += event.macs
    totals = Totals(
        params=sum(map(numel, weights)),
        trainable_params=sum(numel(p) for p in weights if p.requires_grad),
        macs=kinds.total(),
        weight_bytes=total_bytes(weights),
        activation_bytes=sum(row.activation_bytes for row in rows),
        peak_activation_bytes=recorder.memory.peak,
    )
    calls = tuple(_calls(rows, weights, totals.macs))
    conditions = {"device": device, "torch_version": str(torch.__version__), "mode": "eval"}
    return ModelReport(
        type(model).__name__,
        inputs,
        conditions,
        totals,
        calls,
        dict(kinds),
        _uncounted(rows),
        {},
        notes=packed_weights(model),
    )


def _calls(rows: Sequence[Row], weights: list[nn.Parameter], total: int) -> Iterable[Call]:
    """The rows under unique names, each parameter in the row that owns it."""
    left = {id(p): p for p in weights}
    owners = _owners(rows)
    names: list[str] = []
    seen: Counter[str] = Counter()
    for index, row in enumerate(rows):
        seen[row.name] += 1
        names.append(f"{row.name}#{seen[row.name]}" if row.function or seen[row.name] > 1 else row.name)
        macs = sum(event.macs for event in row.events)
        before = (owners[id(tensor)] for tensor in row.weights if owners[id(tensor)] < index)
        shares = next((names[owner] for owner in before), None)
        own = [left.pop(id(p)) for p in row.weights if id(p) in left and owners[id(p)] == index]
        yield Call(
            name=names[index],
            op=row.op,
            input_shape=row.input_shape,
            output_shape=row.output_shape,
            params=sum(map(numel, own)),
            macs=macs,
            traffic_bytes=row.traffic_bytes,
            least_bytes=row.least_bytes,
            macs_share=macs / total if total else None,
            conv=row.events[0].conv if len(row.events) == 1 else None,
            inputs=row.input_texts,
            weights=_dtypes(row.weights),
            shares=shares,
            uncounted=len(row.uncounted),
        )
    if unused := sum(map(numel, left.values())):
        share, name = (0.0 if total else None), "(parameters outside any call)"
        yield Call(name, "parameters", (), (), unused, 0, 0, share, weights=_dtypes(left.values()))


def _owners(rows: Sequence[Row]) -> dict[int, int]:
    """The row of each parameter: the first that uses it together with activations, else the first that uses it."""
    owners: dict[int, int] = {}
    for is_preparation in (False, True):
        for index, row in enumerate(rows):
            if row.is_preparation is is_preparation:
                for tensor in row.weights:
                    owners.setdefault(id(tensor), index)
    return owners


def _dtypes(tensors: Iterable[torch.Tensor]) -> tuple[str, ...]:
    return tuple(sorted(set(map(dtype_text, tensors))))


def _uncounted(rows: Iterable[Row]) -> tuple[Uncounted, ...]:
    """The operators without a formula, each with the rows that call it."""
    names: dict[str, dict[str, None]] = {}  # a dict keeps the order
    calls: Counter[str] = Counter()
    for row in rows:
        for op, times in row.uncounted.items():
            calls[op] += times
            names.setdefault(op, {})[row.name] = None
    return tuple(Uncounted(op, times, tuple(names[op])) for op, times in calls.items())

"""A module and its inputs become a report: traced on meta tensors, without weights or arithmetic."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from convcost.models.call import Call
from convcost.models.report import NOT_ASKED, ModelReport, Totals, Uncounted
from convcost.nn.count.borrowed import borrowed, on_device
from convcost.nn.count.cross_check import check_with_fvcore, check_with_torch
from convcost.nn.count.trace import Recorder, dtype_text, tensor_text
from convcost.nn.load.user_code import mended, raised, running_users_code, users_line
from convcost.system.streams import quiet_stdout
from convcost.text.errors import ConvcostError, NeedsValuesError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import nn

    from convcost.nn.count.trace import Row

__all__ = ["report"]

NEEDS_VALUES = ("meta tensor", "item()", "data-dependent", "no data", "Could not guard", "bool value of Tensor")


def report(  # noqa: PLR0913 - what a report is made of
    model: nn.Module,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: str = "meta",
    cross_check: bool = False,
    target: str | None = None,
    notes: tuple[str, ...] = (),
) -> ModelReport:
    """Count a module's forward pass.

    Args:
        model: any module; it is left exactly as it was.
        inputs: positional arguments, real or meta tensors.
        kwargs: keyword arguments.
        device: "meta" allocates nothing; "cpu" runs for real, for models that look at the values of their tensors.
        cross_check: ask torch's FlopCounterMode and fvcore too.
        target: what to call the model.
        notes: what the reader should know beside what is found here.

    Raises:
        ConvcostError: the module refuses its input, or needs the values of a tensor; the message says where.
    """
    named = dict(kwargs or {})
    name = target or type(model).__name__
    try:
        return _counted(model, (tuple(inputs), named), device, name, notes, cross_check=cross_check)
    except ConvcostError:
        if device != "meta" or not _only_runs_for_real(model):
            raise
    real = tree_map(_zeros_for_meta, (tuple(inputs), named))
    note = "a scripted or quantised part does not run on meta tensors: the model was run once on the CPU."
    return _counted(model, real, "cpu", name, (*notes, note), cross_check=cross_check)


def _only_runs_for_real(model: nn.Module) -> bool:
    """Whether a part is scripted or quantised: compiled code that torch may not be able to run without values."""
    return any(isinstance(p, torch.jit.ScriptModule) or "quantized" in type(p).__module__ for p in model.modules())


def _zeros_for_meta(value: Any) -> Any:
    is_meta = isinstance(value, torch.Tensor) and value.device.type == "meta"
    return torch.zeros(value.shape, dtype=value.dtype) if is_meta else value


def _counted(  # noqa: PLR0913 - what a report is made of
    model: nn.Module,
    inputs: tuple[tuple[Any, ...], dict[str, Any]],
    device: str,
    target: str,
    notes: tuple[str, ...],
    *,
    cross_check: bool,
) -> ModelReport:
    placed = tree_map(lambda value: on_device(value, device), inputs)
    with quiet_stdout(), torch.random.fork_rng(devices=[]), torch.no_grad(), borrowed(model, device):
        recorder = _run(model, placed[0], placed[1], device)
        weights = list(model.parameters())
        made = _report(recorder, weights, target, _texts(*inputs), device, notes)
        by_torch = check_with_torch(model, placed, recorder.rows) if cross_check else NOT_ASKED
    with quiet_stdout():
        by_fvcore = check_with_fvcore(model, inputs, recorder.rows, made.totals) if cross_check else NOT_ASKED
    return replace(made, cross_check={"fvcore": by_fvcore, "torch": by_torch})


def _run(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], device: str) -> Recorder:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    recorder = Recorder(model, tensors, device)
    told = partial(_refusal, model, recorder, args)
    with running_users_code(told), warnings.catch_warnings(), _eager(), recorder:
        warnings.simplefilter("ignore")  # the model's own warnings come when it is run, not when it is counted
        model(*args, **kwargs)
    return recorder


def _eager() -> Any:
    """Let torch.compile'd parts run uncompiled, where there can be any."""
    from contextlib import nullcontext

    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _refusal(model: nn.Module, recorder: Recorder, args: tuple[Any, ...], error: BaseException) -> ConvcostError:
    if any(sign in str(error) for sign in NEEDS_VALUES):
        reason = str(error).strip().partition("\n")[0]
        where = users_line(error) or (recorder.path[-1] if recorder.path else type(model).__name__)
        lacks = f"needs the values of a tensor, which a meta tensor does not have ({reason})"
        return NeedsValuesError(f"{where} {lacks}; run it with device cpu.")
    path = recorder.path[-1] if recorder.path else ""
    parts = dict(model.named_modules())
    part = parts.get(path, model)
    expected = next(
        (f"expects {name} {getattr(part, name)}, " for name in ("in_channels", "in_features") if hasattr(part, name)),
        "",
    )
    seen = recorder.failed_shape or next((tuple(a.shape) for a in args if isinstance(a, torch.Tensor)), None)
    got = f"got input {'x'.join(map(str, seen))}" if seen else "could not run"
    name = f"{path or 'the model'} ({type(part).__name__})"
    return ConvcostError(f"{name} {expected}{got}: {raised(error)}; {mended(error)}.")


def _texts(inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    def text(value: object) -> str:
        return tensor_text(value) if isinstance(value, torch.Tensor) else type(value).__name__

    return (*map(text, inputs), *(f"{name}={text(value)}" for name, value in kwargs.items()))


def _report(  # noqa: PLR0913, PLR0917 - what a report is made of
    recorder: Recorder,
    weights: list[nn.Parameter],
    target: str,
    inputs: tuple[str, ...],
    device: str,
    notes: tuple[str, ...],
) -> ModelReport:
    rows = recorder.rows
    total = sum(event.macs for row in rows for event in row.events)
    calls = list(_calls(rows, weights, total))
    kinds: Counter[str] = Counter()
    for row in rows:
        for event in row.events:
            kinds[event.kind] += event.macs
    totals = Totals(
        params=sum(_numel(p) for p in weights),
        trainable_params=sum(_numel(p) for p in weights if p.requires_grad),
        macs=total,
        weight_bytes=sum(_numel(p) * p.element_size() for p in weights),
        activation_bytes=sum(row.activation_bytes for row in rows),
        peak_activation_bytes=recorder.memory.peak,
    )
    conditions = {"device": device, "torch_version": str(torch.__version__), "mode": "eval"}
    return ModelReport(target, inputs, conditions, totals, tuple(calls), dict(kinds), _uncounted(rows), {}, notes)


def _numel(tensor: torch.Tensor) -> int:
    return 0 if torch.nn.parameter.is_lazy(tensor) else tensor.numel()


def _calls(rows: Iterable[Row], weights: list[nn.Parameter], total: int) -> Iterable[Call]:
    """Rows with their names, and each parameter in the first row that uses it."""
    left = {id(p): p for p in weights}
    users: dict[int, str] = {}
    seen: Counter[str] = Counter()
    for row in rows:
        base = row.base
        seen[base] += 1
        number = f"#{seen[base]}" if row.function or seen[base] > 1 else ""
        count = sum(event.macs for event in row.events)
        convs = [event.conv for event in row.events if event.conv is not None]
        name = base + number
        used_before = [users[id(tensor)] for tensor in row.weights if id(tensor) in users]
        users |= {id(tensor): name for tensor in row.weights if id(tensor) not in users}
        own = [left.pop(id(tensor)) for tensor in row.weights if id(tensor) in left]
        yield Call(
            name=name,
            op=row.op,
            input_shape=row.input_shape,
            output_shape=row.output_shape,
            params=sum(map(_numel, own)),
            macs=count,
            traffic_bytes=row.traffic_bytes,
            least_bytes=row.least_bytes,
            macs_share=count / total if total else None,
            conv=convs[0] if len(row.events) == 1 and convs else None,
            inputs=row.input_texts,
            weights=_dtypes(row.weights),
            shares=next(iter(used_before), None),
            uncounted=len(row.uncounted),
        )
    if unused := sum(map(_numel, left.values())):
        share, name = (0.0 if total else None), "(parameters outside any call)"
        yield Call(name, "parameters", (), (), unused, 0, 0, share, weights=_dtypes(left.values()))


def _dtypes(tensors: Iterable[torch.Tensor]) -> tuple[str, ...]:
    return tuple(sorted({dtype_text(tensor) for tensor in tensors}))


def _uncounted(rows: Iterable[Row]) -> tuple[Uncounted, ...]:
    where: dict[str, list[str]] = {}
    calls: Counter[str] = Counter()
    for row in rows:
        for op, times in row.uncounted.items():
            calls[op] += times
            if row.base not in where.setdefault(op, []):
                where[op].append(row.base)
    return tuple(Uncounted(op, times, tuple(where[op])) for op, times in calls.items())

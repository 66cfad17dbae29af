"""A target, as `convcost model` names it, becomes a report: loaded and counted, then timed; or two forward passes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from convcost.archive.storing import keep_model
from convcost.conv import Conv
from convcost.errors import ConvcostError
from convcost.machines.bound import bound_of
from convcost.tree import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from convcost.inputs import Input
    from convcost.machines.machine import Machine
    from convcost.models.report import Call, ModelReport
    from convcost.nn.load import Loaded
    from convcost.nn.measure_forwards import Forward
    from convcost.nn.measure_model import ModelTiming
    from convcost.nn.why import Answer
    from convcost.request import TimingOptions

__all__ = ["count_target", "load_forward", "time_target"]

_NO_ACCOUNT: Final = ("--why looks into convolutions, each built anew and alone; other layers have no account.",)


def count_target(
    target: str, inputs: tuple[Input, ...], args: Mapping[str, object], *, cross_check: bool, device: str
) -> ModelReport:
    """Load a target and count it, as `convcost model` does.

    Args:
        target: as the user names it.
        inputs: of the model; empty for its own.
        args: for the callable.
        cross_check: ask torch's FlopCounterMode and fvcore too.
        device: meta, or cpu.

    Raises:
        ConvcostError: the target does not load, has no input, or refuses it.
    """
    from convcost.nn.load import load_target, tensors_for  # noqa: PLC0415 - the predicted table does without torch
    from convcost.nn.report import report  # noqa: PLC0415 - the same
    from convcost.nn.user_code import users_code  # noqa: PLC0415 - the same

    if device not in {"meta", "cpu"}:
        msg = f"device (={device}) must be meta or cpu for counting; --time-device says where to time."
        raise ConvcostError(msg)
    with users_code(target):
        loaded = load_target(target, args, device)
        given, named = tensors_for(_wanted(target, inputs, loaded), device)
        notes = () if loaded.note is None else (loaded.note,)
        return report(loaded.module, given, named, device=device, cross_check=cross_check, target=target, notes=notes)


def time_target(
    counted: ModelReport,
    inputs: tuple[Input, ...],
    args: Mapping[str, object],
    options: TimingOptions,
    tell: Callable[[str], None],
) -> ModelReport:
    """A report with times: the target is loaded once more, with weights.

    Args:
        counted: from `count_target` with the same inputs and args.
        inputs: of the model; empty for its own.
        args: for the callable.
        options: where and how long to time.
        tell: is called with lines of progress.

    Raises:
        ConvcostError: a device that is not there, too little memory, or a model that does not run.
    """
    from convcost.nn.device import resolve_device, resolve_threads  # noqa: PLC0415 - the predicted table does without torch
    from convcost.nn.here import calibration_for  # noqa: PLC0415 - the same
    from convcost.nn.load import load_real, tensors_for  # noqa: PLC0415 - the same
    from convcost.nn.measure_model import measure_model  # noqa: PLC0415 - the same
    from convcost.nn.user_code import users_code  # noqa: PLC0415 - the same

    with users_code(counted.target):
        loaded = load_real(counted.target, args)
        options = replace(options, dtype=_weights_dtype(loaded))
        where = resolve_device(options.devices[0])
        machine, said = calibration_for(where, options.dtype, resolve_threads(options.threads))
        tensors = tensors_for(_wanted(counted.target, inputs, loaded), "cpu")
        timed = measure_model(loaded.module, *tensors, options, tell)
    kept = keep_model(counted, timed, options, args) if options.store else ()
    layers = tuple(_timed(row, timed, machine, options) for row in counted.layers)
    layers = _accounted(layers, timed, tell) if options.why else layers
    return replace(
        counted,
        layers=layers,
        forward=timed.whole,
        timed=timed.conditions,
        explained=sum(row.time_s or 0.0 for row in layers) / timed.whole.time_s,
        notes=(
            *counted.notes,
            said,
            *(_NO_ACCOUNT if options.why else ()),
            *timed.notes,
            *(f"forward: {text}" for text in timed.whole.warnings),
            *kept,
        ),
    )


def _weights_dtype(loaded: Loaded) -> str:
    """The dtype of the weights, the narrowest where they differ: the one with the highest roof."""
    kinds = {p.dtype for p in loaded.module.parameters() if p.is_floating_point()}
    return "float32" if not kinds else str(min(kinds, key=lambda kind: kind.itemsize)).removeprefix("torch.")


def _timed(row: Call, timed: ModelTiming, machine: Machine | None, options: TimingOptions) -> Call:
    """A row with its time and, where it has arithmetic, its bound."""
    if row.name not in timed.layers:
        return replace(row, time_s=None)
    work = row.work(options.dtype)
    bound = None
    if machine is not None and work is not None:
        bound = bound_of([work], machine, options.dtype, timed.conditions.threads)
    return replace(row, time_s=timed.layers[row.name].time_s, bound=bound)


def _accounted(layers: tuple[Call, ...], timed: ModelTiming, tell: Callable[[str], None]) -> tuple[Call, ...]:
    """The rows of convolutions with where their time goes; those that share a timing share the answer."""
    from convcost.nn.why import Asker  # noqa: PLC0415 - the predicted table does without torch

    asker = Asker(timed.conditions)
    answers: dict[str, Answer | str] = {}
    rows = []
    for row in layers:
        layer = row.layer
        if layer is not None and isinstance(layer.op, Conv) and row.name in timed.layers:
            kind = timed.kinds[row.name]
            if kind not in answers:
                tell(f"looking into {row.name} ...")
                answers[kind] = asker.ask(Stage(row.name, layer.op), layer.input, timed.layers[row.name])
            answer = answers[kind]
            if isinstance(answer, str):
                rows.append(replace(row, note=answer))
            else:
                rows.append(replace(row, account=answer.account, hint=answer.hint))
        else:
            rows.append(row)
    return tuple(rows)


def load_forward(target: str, inputs: tuple[Input, ...], args: Mapping[str, object]) -> Forward:
    """A target with weights and its inputs, ready to be timed.

    Raises:
        ConvcostError: as `count_target`.
    """
    from convcost.nn.load import load_real, tensors_for  # noqa: PLC0415 - the predicted table does without torch

    loaded = load_real(target, args)
    return (loaded.module, *tensors_for(_wanted(target, inputs, loaded), "cpu"))


def _wanted(target: str, given: tuple[Input, ...], loaded: Loaded) -> tuple[Input, ...]:
    """The inputs that were given, else the target's own."""
    wanted = given or loaded.default_input
    if not wanted:
        msg = f"target (={target}) must be given an input; write one such as 1x3x224x224."
        raise ConvcostError(msg)
    return wanted

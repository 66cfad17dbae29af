"""A target, as `convcost model` names it, becomes a report: loaded and counted, then timed; or two forward passes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from convcost.archive.storing import keep_model
from convcost.convolution.cost import ITEMSIZE
from convcost.convolution.tree import Stage
from convcost.text.errors import ConvcostError
from convcost.timing.bound import bound_of
from convcost.timing.options import MEMORY_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from convcost.models.call import Call
    from convcost.models.report import ModelReport
    from convcost.nn.explain.answer import Answer, Explainer
    from convcost.nn.load.target import Loaded
    from convcost.nn.measure.models import Forward
    from convcost.text.sizes import Input
    from convcost.timing.conditions import Conditions
    from convcost.timing.machine import Machine
    from convcost.timing.measured import Kind, ModelTiming
    from convcost.timing.options import TimingOptions
    from convcost.timing.statistics import Timing

__all__ = ["count_target", "load_forward", "time_target"]

_NO_ACCOUNT: Final = ("why looks into convolutions, each built anew and alone; other layers have no account.",)


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
    from convcost.nn.count.model_report import report
    from convcost.nn.load.target import load_target, tensors_for
    from convcost.nn.load.user_code import users_code

    if device not in {"meta", "cpu"}:
        msg = f"device (={device}) must be meta or cpu for counting; time_device says where to time."
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
) -> Iterator[ModelReport]:
    """A report with times, then after each account: the target is loaded once more, with weights.

    Args:
        counted: from `count_target` with the same inputs and args.
        inputs: of the model; empty for its own.
        args: for the callable.
        options: where and how long to time.
        tell: is called with lines of progress.

    Raises:
        ConvcostError: a device that is not there, too little memory, or a model that does not run.
    """
    from convcost.nn.load.target import load_real, tensors_for
    from convcost.nn.load.user_code import users_code
    from convcost.nn.measure.device import resolve_device, resolve_threads
    from convcost.nn.measure.models import measure_model
    from convcost.nn.measure.this_machine import calibration_for, fingerprint

    with users_code(counted.target):
        loaded = load_real(counted.target, args)
        options = replace(options, dtype=_weights_dtype(loaded))
        where = resolve_device(options.devices[0])
        machine, said = calibration_for(where, options.dtype, resolve_threads(options.threads))
        tensors = tensors_for(_wanted(counted.target, inputs, loaded), "cpu")
        timed = measure_model(loaded.module, *tensors, options, tell)
    setup = fingerprint(timed.conditions.device)
    kept = keep_model(counted, timed, options.time_budget, args, setup) if options.store else ()
    layers = tuple(_timed(row, timed, machine) for row in counted.layers)
    report = replace(
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
    yield report
    if options.why:
        for rows in _accounted(layers, timed, tell):
            yield replace(report, layers=rows)


def _weights_dtype(loaded: Loaded) -> str:
    """The dtype of the weights, the narrowest where they differ: the one with the highest roof."""
    kinds = {p.dtype for p in loaded.module.parameters() if p.is_floating_point()}
    return "float32" if not kinds else str(min(kinds, key=lambda kind: kind.itemsize)).removeprefix("torch.")


def _timed(row: Call, timed: ModelTiming, machine: Machine | None) -> Call:
    """A row with its time, under its own dtype and memory format, and its bound where one is known."""
    if row.name not in timed.layers:
        return replace(row, time_s=None)
    kind = timed.kinds[row.name]
    conditions = replace(timed.conditions, dtype=" ".join(kind.dtypes), memory_format=kind.memory_format or "")
    work = row.work(conditions.dtype) if conditions.dtype in ITEMSIZE else None
    bound = None
    if machine is not None and work is not None:
        bound = bound_of([work], machine, conditions.dtype, conditions.threads)
    return replace(row, time_s=timed.layers[row.name].time_s, bound=bound, conditions=conditions)


def _accounted(layers: tuple[Call, ...], timed: ModelTiming, tell: Callable[[str], None]) -> Iterator[tuple[Call, ...]]:
    """The rows of convolutions with where their time goes, after each; those that share a timing share the answer."""
    explainers: dict[tuple[Conditions, bool], Explainer] = {}
    answers: dict[str, Answer | str] = {}
    rows = list(layers)
    for index, row in enumerate(layers):
        conditions = row.conditions
        if row.conv is None or conditions is None:
            continue
        kind = timed.kinds[row.name]
        if kind.text not in answers:
            tell(f"looking into {row.name} ...")
            answers[kind.text] = _answer(row, kind, timed.layers[row.name], conditions, explainers)
        answer = answers[kind.text]
        if isinstance(answer, str):
            rows[index] = replace(row, note=answer)
        else:
            rows[index] = replace(row, account=answer.account, hint=answer.hint)
        yield tuple(rows)


def _answer(
    row: Call, kind: Kind, timing: Timing, conditions: Conditions, explainers: dict[tuple[Conditions, bool], Explainer]
) -> Answer | str:
    """The account of a fresh convolution, or why none stands for the row's."""
    from convcost.nn.explain.answer import Explainer

    layer = row.layer
    if kind.obstacle is not None or layer is None or row.conv is None:
        return f"no account: {kind.obstacle or f'this {row.op} may do more than convolve'}"
    if conditions.dtype not in ITEMSIZE:
        return f"no account: it computes in {' and '.join(kind.dtypes)}"
    known = MEMORY_FORMATS if len(layer.input.spatial) == 2 else MEMORY_FORMATS[:1]  # noqa: PLR2004 - height and width
    if kind.memory_format not in known:
        return f"no account: its tensors are {kind.memory_format}"
    contiguous = kind.input_format == MEMORY_FORMATS[0]
    if (conditions, contiguous) not in explainers:
        explainers[conditions, contiguous] = Explainer(conditions, contiguous_input=contiguous)
    return explainers[conditions, contiguous].explain(Stage(row.name, row.conv), layer.input, timing)


def load_forward(target: str, inputs: tuple[Input, ...], args: Mapping[str, object]) -> Forward:
    """A target with weights and its inputs, ready to be timed.

    Raises:
        ConvcostError: as `count_target`.
    """
    from convcost.nn.load.target import load_real, tensors_for

    loaded = load_real(target, args)
    return (loaded.module, *tensors_for(_wanted(target, inputs, loaded), "cpu"))


def _wanted(target: str, given: tuple[Input, ...], loaded: Loaded) -> tuple[Input, ...]:
    """The inputs that were given, else the target's own."""
    wanted = given or loaded.default_input
    if not wanted:
        msg = f"target (={target}) must be given an input; write one such as 1x3x224x224."
        raise ConvcostError(msg)
    return wanted

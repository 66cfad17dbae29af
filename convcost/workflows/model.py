"""`convcost model`: a target loaded and counted, then timed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from convcost.archive.storing import keep_model
from convcost.convolution.cost import ITEMSIZE
from convcost.convolution.tree import Stage
from convcost.models.report import COUNT_DEVICES
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError
from convcost.timing.bound import bound_of
from convcost.timing.conditions import MEMORY_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from convcost.models.call import Call
    from convcost.models.report import ModelReport
    from convcost.nn.explain.answer import Answer, Explainer
    from convcost.nn.load.target import Loaded
    from convcost.nn.measure.models import Forward
    from convcost.text.sizes import Input
    from convcost.timing.conditions import Conditions, TimingOptions
    from convcost.timing.machine import Machine
    from convcost.timing.measured import Kind, ModelTiming
    from convcost.timing.statistics import Timing

IMAGE_AXES: Final = 2
_NO_ACCOUNT: Final = ("why looks into convolutions, each built anew and alone; other layers have no account.",)


def count_target(  # noqa: PLR0913 - the options of `convcost model`, and that of a strict check
    target: str,
    inputs: tuple[Input, ...],
    args: Mapping[str, object],
    *,
    cross_check: bool,
    device: str,
    recount: bool = False,
) -> Iterator[ModelReport]:
    """Load a target and count it, as `convcost model` does; then again with the results of the other counters.

    Args:
        target: Target as the user names it.
        inputs: Inputs of the model; empty for its own.
        args: Arguments of the callable.
        cross_check: Whether to run torch's FlopCounterMode and fvcore too.
        device: "meta"; "cpu", for a model that needs the values of its tensors; or "auto", which is the right one.
        recount: Whether to count a second call, and once more on the CPU with other inputs.

    Raises:
        ConvcostError: The target does not load, has no input, or refuses it.
    """
    show_progress("importing torch ...")
    from convcost.nn.count.model_report import reports
    from convcost.nn.load.target import load_target, tensors_for
    from convcost.nn.load.user_code import user_code_context

    require_count_device(device)
    first = "cpu" if device == "cpu" else "meta"
    show_progress(f"loading {target} ...")
    with user_code_context(target):
        loaded = load_target(target, args, first)
        positional, named = tensors_for(inputs_of(target, inputs, loaded), first)
        notes = () if loaded.note is None else (loaded.note,)
        show_progress(f"tracing {target} ...")
        steps = reports(
            loaded.module,
            positional,
            named,
            device=device,
            cross_check=cross_check,
            load_real=lambda: load_target(target, args, "cpu").module,
            recount=recount,
        )
        counted: ModelReport | None = next(steps)
    while counted is not None:
        yield replace(counted, target=target, args=args, notes=(*notes, *counted.notes))
        with user_code_context(target):
            counted = next(steps, None)


def time_target(
    counted: ModelReport,
    inputs: tuple[Input, ...],
    args: Mapping[str, object],
    options: TimingOptions,
    tell: Callable[[str], None],
) -> Iterator[ModelReport]:
    """The report with times, then after each account; loads the target again, with weights.

    Args:
        counted: Report of `count_target` with the same inputs and args.
        inputs: The model's inputs; empty for its own.
        args: Arguments of the callable.
        options: Device, threads and time budget.
        tell: Called with lines of progress.

    Raises:
        ConvcostError: An unknown device, too little memory, or a model that does not run.
    """
    from convcost.nn.load.user_code import user_code_context
    from convcost.nn.measure.device import resolve_device, resolve_threads
    from convcost.nn.measure.models import measure_model
    from convcost.nn.measure.this_machine import calibration_for, fingerprint

    with user_code_context(counted.target):
        forward = load_forward(counted.target, inputs, args)
        options = replace(options, dtype=weights_dtype(forward))
        where = resolve_device(options.devices[0])
        machine, machine_note = calibration_for(where, options.dtype, resolve_threads(options.threads))
        timed = measure_model(*forward, options, tell)
    setup = fingerprint(timed.conditions.device)
    kept = keep_model(counted, timed, options.time_budget, args, setup) if options.store else ()
    report = with_times(counted, timed, machine, machine_note, why=options.why)
    added_up = sum(row.time_s or 0.0 for row in report.layers)
    explained = added_up / timed.whole.time_s if timed.layers else None
    report = replace(report, explained=explained, notes=(*report.notes, *kept))
    yield report
    if options.why:
        for rows in accounted(report.layers, timed, tell):
            yield replace(report, layers=rows)


def with_times(
    counted: ModelReport, timed: ModelTiming, machine: Machine | None, machine_note: str, *, why: bool
) -> ModelReport:
    """The report with the times of the forward pass and of the timed layers, and with what is to be said of them.

    Args:
        counted: Report of the model.
        timed: Its timings.
        machine: Calibration of this machine; None without a valid one.
        machine_note: Note on the calibration.
        why: Whether accounts will follow.
    """
    return replace(
        counted,
        layers=tuple(_timed(row, timed, machine) for row in counted.layers),
        forward=timed.whole,
        timed=timed.conditions,
        notes=(
            *counted.notes,
            machine_note,
            *(_NO_ACCOUNT if why else ()),
            *timed.notes,
            *(f"forward: {text}" for text in timed.whole.warnings),
        ),
    )


def weights_dtype(forward: Forward) -> str:
    """The dtype of the model's weights; the narrowest if they differ, since it has the highest roof."""
    kinds = {p.dtype for p in forward[0].parameters() if p.is_floating_point()}
    return "float32" if not kinds else str(min(kinds, key=lambda kind: kind.itemsize)).removeprefix("torch.")


def _timed(row: Call, timed: ModelTiming, machine: Machine | None) -> Call:
    """A row with its time, its own dtype and memory format, and its bound where one is known."""
    if row.name not in timed.layers:
        return replace(row, time_s=None)
    kind = timed.kinds[row.name]
    conditions = replace(timed.conditions, dtype=" ".join(kind.dtypes), memory_format=kind.memory_format or "")
    work = row.work(conditions.dtype) if conditions.dtype in ITEMSIZE else None
    bound = None
    if machine is not None and work is not None:
        bound = bound_of([work], machine, conditions.dtype, conditions.threads)
    return replace(row, time_s=timed.layers[row.name].time_s, bound=bound, conditions=conditions)


def accounted(layers: tuple[Call, ...], timed: ModelTiming, tell: Callable[[str], None]) -> Iterator[tuple[Call, ...]]:
    """The rows after each convolution's account; layers of one kind share one account."""
    explainers: dict[tuple[Conditions, bool], Explainer] = {}
    answers: dict[str, Answer | str] = {}
    rows = list(layers)
    for index, row in enumerate(layers):
        conditions = row.conditions
        if row.conv is None or conditions is None:
            continue
        kind = timed.kinds[row.name]
        if kind.text not in answers:
            tell(f"accounting for the time of {row.name} ...")
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
    """The account of a newly built convolution, or why it would not hold for the row."""
    from convcost.nn.explain.answer import Explainer

    layer = row.layer
    if kind.obstacle is not None or layer is None or row.conv is None:
        return f"no account: {kind.obstacle or f'this {row.op} may do more than convolve'}"
    if conditions.dtype not in ITEMSIZE:
        return f"no account: it computes in {' and '.join(kind.dtypes)}"
    is_image = len(layer.input.spatial) == IMAGE_AXES
    if kind.memory_format not in (MEMORY_FORMATS if is_image else MEMORY_FORMATS[:1]):
        return f"no account: its tensors are {kind.memory_format}"
    contiguous = kind.input_format == MEMORY_FORMATS[0]
    if (conditions, contiguous) not in explainers:
        explainers[conditions, contiguous] = Explainer(conditions, contiguous_input=contiguous)
    return explainers[conditions, contiguous].explain(Stage(row.name, row.conv), layer.input, timing)


def load_forward(target: str, inputs: tuple[Input, ...], args: Mapping[str, object]) -> Forward:
    """A target with weights and inputs, ready to be timed.

    Raises:
        ConvcostError: As `count_target`.
    """
    from convcost.nn.load.target import load_real, tensors_for

    loaded = load_real(target, args)
    return (loaded.module, *tensors_for(inputs_of(target, inputs, loaded), "cpu"))


def load_as_counted(
    target: str, inputs: tuple[Input, ...], args: Mapping[str, object], counted: ModelReport
) -> Forward:
    """A target with weights and inputs, ready to be timed, which is the same model as when it was counted.

    Raises:
        ConvcostError: As `count_target`; or it is another model than before.
    """
    from convcost.nn.count.model_report import report

    forward = load_forward(target, inputs, args)
    again = report(*forward, device=str(counted.conditions["device"]))
    require_same_model(
        counted, again, "between the count and the timing", "make it without chance, or leave out the time"
    )
    return forward


def require_same_model(counted: ModelReport, again: ModelReport, when: str, step: str) -> None:
    """Refuse a target that makes another model when it is loaded again.

    Args:
        counted: Report of the first model.
        again: Report of the second one.
        when: Words for the time between them.
        step: Next step.

    Raises:
        ConvcostError: A layer differs.
    """
    from convcost.changes.change import what_changed
    from convcost.changes.layer_cost import entry_of

    for change in what_changed(entry_of(counted), entry_of(again)):
        raise ConvcostError(
            f"target (={counted.target}) must make the same model each time: {when}, {change.layer} is {change.kind} "
            f"({change.what}); {step}."
        )


def require_count_device(device: str) -> None:
    """Refuse a device on which nothing is counted."""
    if device not in COUNT_DEVICES:
        msg = f"device (={device}) must be auto, meta or cpu for counting; time_device says where to time."
        raise ConvcostError(msg)


def inputs_of(target: str, inputs: tuple[Input, ...], loaded: Loaded) -> tuple[Input, ...]:
    """The user's inputs, else the target's own."""
    if not inputs and not loaded.default_input:
        raise ConvcostError(f"target (={target}) must be given an input; write one such as 1x3x224x224.")
    return inputs or loaded.default_input

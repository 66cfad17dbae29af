"""A target, as `convcost model` names it, becomes a report: loaded and counted, then timed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from convcost.errors import ConvcostError
from convcost.inputs import parse_arg, parse_input
from convcost.storing import keep_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.inputs import Input
    from convcost.nn.load import Loaded
    from convcost.report import ModelReport
    from convcost.request import TimingOptions

__all__ = ["count_target", "time_target"]


def count_target(
    target: str, inputs: Sequence[str], args: Sequence[str], *, cross_check: bool, device: str
) -> ModelReport:
    """Load a target and count it, as `convcost model` does.

    Raises:
        ConvcostError: the target does not load, has no input, or refuses it.
    """
    from convcost.nn.load import load_target, tensors_for  # noqa: PLC0415 - the predicted table does without torch
    from convcost.nn.report import report  # noqa: PLC0415 - the same

    if device not in {"meta", "cpu"}:
        msg = f"device (={device}) must be meta or cpu for counting; --time-device says where to time."
        raise ConvcostError(msg)
    given, arguments = tuple(map(parse_input, inputs)), dict(map(parse_arg, args))
    loaded = load_target(target, arguments, device)
    positional, named = tensors_for(_wanted(target, given, loaded), device)
    notes = () if loaded.note is None else (loaded.note,)
    return report(loaded.module, positional, named, device=device, cross_check=cross_check, target=target, notes=notes)


def time_target(
    counted: ModelReport, inputs: Sequence[str], args: Sequence[str], options: TimingOptions
) -> ModelReport:
    """A report with times: the target is loaded once more, with weights.

    Args:
        counted: from `count_target` with the same inputs and args.
        inputs: as the user types them.
        args: as the user types them.
        options: where and how long to time.

    Raises:
        ConvcostError: a device that is not there, too little memory, or a model that does not run.
    """
    from convcost.nn.load import load_real, tensors_for  # noqa: PLC0415 - the predicted table does without torch
    from convcost.nn.measure_model import measure_model  # noqa: PLC0415 - the same

    given, arguments = tuple(map(parse_input, inputs)), dict(map(parse_arg, args))
    loaded = load_real(counted.target, arguments)
    timed = measure_model(loaded.module, *tensors_for(_wanted(counted.target, given, loaded), "cpu"), options)
    kept = keep_model(counted, timed, options, arguments) if options.store else ()
    layers = tuple(
        replace(row, time_s=timed.layers[row.name].time_s if row.name in timed.layers else None)
        for row in counted.layers
    )
    return replace(
        counted,
        layers=layers,
        forward=timed.whole,
        timed=timed.conditions,
        explained=sum(row.time_s or 0.0 for row in layers) / timed.whole.time_s,
        notes=(*counted.notes, *timed.notes, *(f"forward: {text}" for text in timed.whole.warnings), *kept),
    )


def _wanted(target: str, given: tuple[Input, ...], loaded: Loaded) -> tuple[Input, ...]:
    """The inputs that were given, else the target's own."""
    wanted = given or loaded.default_input
    if not wanted:
        msg = f"target (={target}) must be given an input; write --input 1x3x224x224."
        raise ConvcostError(msg)
    return wanted

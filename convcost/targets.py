"""A target, as `convcost model` names it, becomes a report: loaded, counted, and timed where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from convcost.errors import ConvcostError
from convcost.filling import require_devices
from convcost.inputs import parse_arg, parse_input

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.inputs import Input
    from convcost.report import ModelReport
    from convcost.timing import TimingOptions

__all__ = ["report_target"]


def report_target(  # noqa: PLR0913 - the options of the command, one by one
    target: str,
    inputs: Sequence[str],
    args: Sequence[str],
    *,
    cross_check: bool,
    device: str,
    timing: TimingOptions | None = None,
) -> ModelReport:
    """Load a target and count it, as `convcost model` does; with `timing`, time it too.

    Raises:
        ConvcostError: the target does not load, has no input, or refuses it.
    """
    from convcost.nn.load import load_target, tensors_for  # noqa: PLC0415 - the predicted table does without torch
    from convcost.nn.report import report  # noqa: PLC0415 - the same

    if device not in {"meta", "cpu"}:
        msg = f"device (={device}) must be meta or cpu for counting; --time-device says where to time."
        raise ConvcostError(msg)
    if timing is not None:
        require_devices(timing.devices)
    given, arguments = tuple(map(parse_input, inputs)), dict(map(parse_arg, args))
    loaded = load_target(target, arguments, device)
    wanted = given or loaded.default_input
    if not wanted:
        msg = f"target (={target}) must be given an input; write --input 1x3x224x224."
        raise ConvcostError(msg)
    positional, named = tensors_for(wanted, device)
    notes = () if loaded.note is None else (loaded.note,)
    counted = report(
        loaded.module, positional, named, device=device, cross_check=cross_check, target=target, notes=notes
    )
    return counted if timing is None else _time_model(counted, target, arguments, wanted, timing)


def _time_model(
    counted: ModelReport,
    target: str,
    arguments: Mapping[str, object],
    wanted: Sequence[Input],
    timing: TimingOptions,
) -> ModelReport:
    from convcost.nn.load import load_real, tensors_for  # noqa: PLC0415 - the predicted table does without torch
    from convcost.nn.measure_model import measure_model  # noqa: PLC0415 - the same

    timed = measure_model(load_real(target, arguments), *tensors_for(wanted, "cpu"), timing)
    layers = tuple(
        replace(row, time_s=timed.layers[row.name].time_s if row.name in timed.layers else None)
        for row in counted.layers
    )
    return replace(
        counted,
        layers=layers,
        forward=timed.whole,
        timed=timed.conditions,
        explained=timed.explained,
        notes=(*counted.notes, *timed.notes, *(f"forward: {text}" for text in timed.whole.warnings)),
    )

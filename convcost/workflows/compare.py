"""`convcost compare`: blocks predicted, then counted one by one, then timed device by device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from convcost.comparison.request import predict
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.comparison.request import Request
    from convcost.comparison.result import Comparison
    from convcost.comparison.rows import Placed, Row
    from convcost.timing.bound import Bound
    from convcost.timing.conditions import TimingOptions
    from convcost.timing.machine import Machine
    from convcost.timing.measured import Measured

COUNTED_FIELDS: Final = ("fvcore_macs", "torch_flops", "counts_agree")
TIMED_FIELDS: Final = ("time_s", "time_q25_s", "time_q75_s", "time_runs", "speedup", "flop_per_s")


class Watch(Protocol):
    """Function that is called with each partial result: first the predictions, then with counts, then with timings."""

    def __call__(self, comparison: Comparison, waiting: Sequence[str], line: str) -> None:
        """Take the partial result, the names of the fields that are missing, and a line of progress."""


def ignore(comparison: Comparison, waiting: Sequence[str], line: str) -> None:
    """Do nothing with a partial result."""


def fill(request: Request, watch: Watch) -> Comparison:
    """Predict the blocks of a request, then count and time them as requested.

    Args:
        request: Request of the comparison.
        watch: Called with each partial result.

    Raises:
        ConvcostError: A shape that allows no block, a missing device, a module that does not run, or a roofline of a
            machine that is not calibrated.
    """
    from convcost.comparison.result import Comparison

    prediction = predict(request)
    result = Comparison(prediction.rows, request.command, request.settings, prediction.notes)
    timed = TIMED_FIELDS if request.time else ()
    watch(result, ((*COUNTED_FIELDS, *timed) if request.count else timed), "")
    if request.time:
        watch(result, timed, "importing torch ...")
        require_devices(request.timing.devices)
        calibrations = {device: _calibration(request.timing, device) for device in request.timing.devices}
        for device, (machine, note) in calibrations.items():
            if request.roofline and machine is None:
                raise ConvcostError(f"roofline (=true) must have a calibration of {device}: {note}")
    if request.count:
        result = _count(result, watch, timed)
    if request.time:
        result = _time(result, prediction.baseline, request, calibrations, watch)
    if request.timing.why:
        result = _account(result, watch)
    watch(result, (), "")
    return result


def _count(result: Comparison, watch: Watch, waiting: tuple[str, ...]) -> Comparison:
    """The comparison with the counts of each row."""
    watch(result, (*COUNTED_FIELDS, *waiting), "importing torch and fvcore ...")
    from convcost.nn.count.block_count import count_each

    blocks = {row.placed.block.name: (row.placed.tree, row.placed.spec.input) for row in result.rows}
    for name, counts in count_each(blocks):
        rows = (replace(row, counts=counts) if row.placed.block.name == name else row for row in result.rows)
        result = replace(result, rows=tuple(rows))
        watch(result, (*COUNTED_FIELDS, *waiting), f"counted {name} with fvcore and torch")
    return result


def _time(
    result: Comparison,
    baseline: Placed | None,
    request: Request,
    calibrations: Mapping[str, tuple[Machine | None, str]],
    watch: Watch,
) -> Comparison:
    """The comparison with timed rows for each device; the devices share the time budget."""
    from convcost.archive.storing import keep
    from convcost.nn.measure.blocks import measure
    from convcost.nn.measure.this_machine import fingerprint
    from convcost.workflows.history import NOTHING, recall

    blocks = ([] if baseline is None else [baseline]) + [row.placed for row in result.rows]
    finished: tuple[Row, ...] = ()
    notes = result.notes
    machines: dict[str, Machine] = {}
    devices = request.timing.devices
    for device in devices:
        options = replace(request.timing, devices=(device,), time_budget=request.timing.time_budget / len(devices))
        machine, note = calibrations[device]
        recalled = recall(blocks, request.baseline, options) if request.reuse else NOTHING
        if machine is not None and recalled.measured is not None:  # the stored run has its own intervals
            note = replace(machine, noise=None).note
        notes = (*notes, note, *recalled.notes)

        def filled(
            measured: Measured,
            before: tuple[Row, ...] = finished,
            reused_from: str | None = recalled.measured_at,
            known: tuple[str, ...] = notes,
            machine: Machine | None = machine,
        ) -> Comparison:
            rows = tuple(
                replace(
                    row,
                    conditions=measured.conditions,
                    timing=measured.timings.get(row.placed.block.name),
                    notes=tuple(filter(None, [measured.refused.get(row.placed.block.name)])),
                    reused_from=reused_from,
                    bound=_bound(row, measured, machine),
                )
                for row in result.rows
            )
            return replace(result, rows=before + rows, notes=known + measured.notes)

        def show(measured: Measured, line: str, filled: Callable[[Measured], Comparison] = filled) -> None:
            watch(filled(measured), TIMED_FIELDS, line)

        measured = recalled.measured or measure(blocks, request.baseline, options, show, _noise(machine))
        finished, notes = filled(measured).rows, (*notes, *measured.notes)
        machines |= {} if machine is None else {measured.conditions.device: machine}
        if options.store and recalled.measured is None:
            setup = fingerprint(measured.conditions.device)
            notes += keep(blocks, measured, request.baseline, options.time_budget, setup)
    return replace(result, rows=finished, notes=notes, machines=machines)


def _account(result: Comparison, watch: Watch) -> Comparison:
    """The comparison with the accounts of its timed rows."""
    from convcost.nn.explain.answer import Explainer

    rows = list(result.rows)
    explainers: dict[str, Explainer] = {}
    for index, row in enumerate(rows):
        if row.timing is None or row.conditions is None:
            continue
        watch(result, (), f"accounting for the time of {row.placed.block.name} ...")
        explainer = explainers.setdefault(row.conditions.device, Explainer(row.conditions))
        answer = explainer.explain(row.placed.tree, row.placed.spec.input, row.timing)
        if isinstance(answer, str):
            rows[index] = replace(row, notes=(*row.notes, answer))
        else:
            rows[index] = replace(row, account=answer.account, hint=answer.hint)
        result = replace(result, rows=tuple(rows))
    return result


def _calibration(options: TimingOptions, device: str) -> tuple[Machine | None, str]:
    """The calibration that is valid for a timing, if any, and a note about it."""
    from convcost.nn.measure.device import resolve_device, resolve_threads
    from convcost.nn.measure.this_machine import calibration_for

    where = resolve_device(device)
    return calibration_for(where, options.dtype, resolve_threads(options.threads))


def _noise(machine: Machine | None) -> float:
    """The run-to-run term of the speed-ups: that of the machine if it was measured, else the default."""
    from convcost.timing.statistics import RUN_TO_RUN

    return RUN_TO_RUN if machine is None or machine.noise is None else machine.noise.run_to_run


def _bound(row: Row, measured: Measured, machine: Machine | None) -> Bound | None:
    if machine is None or row.placed.block.name not in measured.timings:
        return None
    from convcost.timing.bound import bound_of

    works = row.placed.works(row.dtype, fused=measured.conditions.compiled)
    return bound_of(works, machine, row.dtype, measured.conditions.threads)


def require_devices(names: Sequence[str]) -> None:
    """Refuse missing devices before anything is counted."""
    from convcost.nn.measure.device import resolve_device

    for name in names:
        resolve_device(name)

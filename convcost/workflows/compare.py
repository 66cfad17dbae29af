"""`convcost compare`: blocks predicted, then counted one by one, then timed next to each other on each device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final, Protocol

from convcost.comparison.request import predict
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.comparison.request import Request
    from convcost.comparison.result import Comparison
    from convcost.comparison.rows import Placed, Row
    from convcost.timing.bound import Bound
    from convcost.timing.conditions import Conditions, TimingOptions
    from convcost.timing.machine import Machine
    from convcost.timing.measured import Measured
    from convcost.workflows.history import Recalled

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

    def show(comparison: Comparison, waiting: Sequence[str], line: str) -> None:
        watch(comparison.sorted_by(request.sort), waiting, line)

    show(result, ((*COUNTED_FIELDS, *timed) if request.count else timed), "")
    if request.time:
        show(result, timed, "importing torch ...")
        require_devices([device for timing in request.timings for device in timing.devices])
        distinct = _distinct(request.timings)
        if distinct != request.timings:
            request = replace(request, timings=distinct)
            same = "conditions that are the same on this machine are timed once."
            result = replace(result, settings=request.settings, notes=(*result.notes, same))
        calibrations = [_calibration(timing) for timing in request.timings]
        for timing, (machine, note) in zip(request.timings, calibrations, strict=True):
            if request.roofline and machine is None:
                raise ConvcostError(f"roofline (=true) must have a calibration of {timing.devices[0]}: {note}")
    if request.count:
        result = _count(result, show, timed)
    if request.time:
        result = _time(result, request, calibrations, show)
    if request.timing.why:
        result = _account(result, show)
    show(result, (), "")
    return result.sorted_by(request.sort)


def _distinct(timings: tuple[TimingOptions, ...]) -> tuple[TimingOptions, ...]:
    """The conditions without those that another name of a device or of the threads makes equal to earlier ones."""
    from convcost.nn.measure.device import resolve_device, resolve_threads

    known: dict[TimingOptions, TimingOptions] = {}
    for one in timings:
        devices = tuple(str(resolve_device(name)) for name in one.devices)
        known.setdefault(replace(one, devices=devices, threads=resolve_threads(one.threads)), one)
    return tuple(known.values())


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
    result: Comparison, request: Request, calibrations: Sequence[tuple[Machine | None, str]], watch: Watch
) -> Comparison:
    """The comparison with timed rows for each condition; the conditions share the time budget.

    Those of one device are timed next to each other.
    """
    conditions = []
    for timing, (machine, note) in zip(request.timings, calibrations, strict=True):
        options = replace(timing, time_budget=timing.time_budget / len(request.timings))
        own = tuple(row for row in result.rows if row.dtype == timing.dtype)
        conditions.append(_Condition(options, machine, note, own))
    rows: tuple[Row, ...] = ()
    for _, group in groupby(conditions, lambda one: one.options.devices):
        finished = _time_device(list(group), replace(result, rows=rows), request, watch)
        result, rows = finished, finished.rows
    return result


@dataclass(frozen=True, slots=True)
class _Condition:
    """One condition of the timing.

    Attributes:
        options: Options of the timing, with the condition's share of the time budget.
        machine: Calibration that is valid for it; None without one.
        note: Note about the calibration.
        rows: Predicted and counted rows.
    """

    options: TimingOptions
    machine: Machine | None
    note: str
    rows: tuple[Row, ...]

    @property
    def blocks(self) -> list[Placed]:
        """The blocks to time, the baseline first."""
        baseline = self.rows[0].baseline
        return ([] if baseline is None else [baseline]) + [row.placed for row in self.rows]

    def timed(self, measured: Measured, reused_from: str | None = None) -> tuple[Row, ...]:
        """The rows with their timings."""
        return tuple(
            replace(
                row,
                conditions=measured.conditions,
                timing=measured.timings.get(row.placed.block.name),
                notes=tuple(filter(None, [measured.refused.get(row.placed.block.name)])),
                reused_from=reused_from,
                bound=_bound(row, measured, self.machine),
            )
            for row in self.rows
        )


def _time_device(conditions: list[_Condition], result: Comparison, request: Request, watch: Watch) -> Comparison:
    """The comparison with the timed rows of one more device."""
    from convcost.archive.storing import keep
    from convcost.nn.measure.blocks import Run, measure
    from convcost.nn.measure.this_machine import fingerprint
    from convcost.timing.machine import run_to_run_of
    from convcost.workflows.history import NOTHING, recall

    recalled = [recall(one.blocks, request.baseline, one.options) if request.reuse else NOTHING for one in conditions]
    notes = [*result.notes]
    for one, old in zip(conditions, recalled, strict=True):
        stored = one.machine is not None and old.measured is not None  # the stored run has its own intervals
        notes += [replace(one.machine, noise=None).note if stored and one.machine else one.note, *old.notes]

    def together(measured: Sequence[Measured]) -> list[tuple[_Condition, Recalled, Measured]]:
        fresh = iter(measured)
        return [(one, old, old.measured or next(fresh)) for one, old in zip(conditions, recalled, strict=True)]

    def filled(measured: Sequence[Measured]) -> Comparison:
        known = together(measured)
        rows = (row for one, old, each in known for row in one.timed(each, old.measured_at))
        remarks = dict.fromkeys([*notes, *(note for _, _, each in known for note in each.notes)])
        return replace(result, rows=(*result.rows, *rows), notes=tuple(remarks))

    def show(measured: Sequence[Measured], line: str) -> None:
        watch(filled(measured), TIMED_FIELDS, line)

    new = [one for one, old in zip(conditions, recalled, strict=True) if old.measured is None]
    runs = [Run(one.blocks, one.options, run_to_run_of(one.machine)) for one in new]
    measured = measure(runs, request.baseline, show) if runs else ()
    machines = dict(result.machines)
    kept: dict[str, None] = {}
    for one, old, each in together(measured):
        machines |= {} if one.machine is None else {each.conditions.device: one.machine}
        if one.options.store and old.measured is None:
            setup = fingerprint(each.conditions.device)
            kept |= dict.fromkeys(keep(one.blocks, each, request.baseline, one.options.time_budget, setup))
    finished = filled(measured)
    return replace(finished, notes=(*finished.notes, *kept), machines=machines)


def _account(result: Comparison, watch: Watch) -> Comparison:
    """The comparison with the accounts of its timed rows."""
    from convcost.nn.explain.answer import Explainer

    rows = list(result.rows)
    explainers: dict[Conditions, Explainer] = {}
    for index, row in enumerate(rows):
        if row.timing is None or row.conditions is None:
            continue
        watch(result, (), f"accounting for the time of {result.name(row)} ...")
        explainer = explainers.setdefault(row.conditions, Explainer(row.conditions))
        answer = explainer.explain(row.placed.tree, row.placed.spec.input, row.timing)
        if isinstance(answer, str):
            rows[index] = replace(row, notes=(*row.notes, answer))
        else:
            rows[index] = replace(row, account=answer.account, hint=answer.hint)
        result = replace(result, rows=tuple(rows))
    return result


def _calibration(options: TimingOptions) -> tuple[Machine | None, str]:
    """The calibration that is valid for a timing, if any, and a note about it."""
    from convcost.nn.measure.device import resolve_device, resolve_threads
    from convcost.nn.measure.this_machine import calibration_for

    where = resolve_device(options.devices[0])
    return calibration_for(where, options.dtype, resolve_threads(options.threads))


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

"""`convcost model` for several targets: each counted, then all timed next to each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from convcost.archive.storing import keep_model
from convcost.models.model_table import ModelTable
from convcost.text.errors import ConvcostError
from convcost.workflows.claims import answer_for_target
from convcost.workflows.model import count_target, load_forward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from convcost.models.report import ModelReport
    from convcost.text.sizes import Input
    from convcost.timing.conditions import TimingOptions


def count_targets(  # noqa: PLR0913 - the targets, and the options of a count
    targets: Sequence[str],
    inputs: tuple[Input, ...],
    args: Mapping[str, object],
    *,
    cross_check: bool,
    device: str,
    claims: Sequence[str] = (),
) -> Iterator[ModelTable]:
    """Count each target; after each step the table so far. A target that fails has its reason in place of a row.

    Args:
        targets: Targets as the user names them.
        inputs: Inputs of every model; empty for its own.
        args: Arguments of every callable.
        cross_check: Whether to run the other counters too.
        device: As for `count_target`.
        claims: Claimed numbers of operations.

    Raises:
        ConvcostError: No target can be counted; the message is that of the first.
    """
    reports: list[ModelReport] = []
    failures: dict[str, str] = {}
    first: ConvcostError | None = None
    for target in targets:
        try:
            for counted in count_target(target, inputs, args, cross_check=cross_check, device=device):
                yield ModelTable((*reports, counted), dict(failures))
            reports.append(answer_for_target(counted, args, claims) if claims else counted)
        except ConvcostError as error:
            first, failures[target] = first or error, str(error)
        if reports:
            yield ModelTable(tuple(reports), dict(failures))
    if first is not None and not reports:
        raise first


def time_targets(
    table: ModelTable,
    inputs: tuple[Input, ...],
    args: Mapping[str, object],
    options: TimingOptions,
    tell: Callable[[str], None],
) -> ModelTable:
    """The table with the times of the forward passes; speed-ups are relative to the first.

    If a model does not run or fit into the memory, there are no times, and the reason is among the failures.

    Args:
        table: Table of `count_targets` with the same inputs and args.
        inputs: Inputs of every model; empty for its own.
        args: Arguments of every callable.
        options: Device, threads and time budget of all models together.
        tell: Called with lines of progress.
    """
    from convcost.nn.load.user_code import user_code_context
    from convcost.nn.measure.models import measure_models
    from convcost.nn.measure.this_machine import fingerprint

    forwards = {}
    try:
        for number, report in enumerate(table.reports):
            with user_code_context(report.target):
                forwards[str(number)] = load_forward(report.target, inputs, args)
        timings = measure_models(forwards, options, tell)
    except ConvcostError as error:
        return replace(table, failures={**table.failures, "timing": str(error)})
    notes: dict[str, None] = {}
    reports = []
    for report, timed in zip(table.reports, timings.values(), strict=True):
        setup = fingerprint(timed.conditions.device)
        alone = replace(timed, whole=replace(timed.whole, speedup=None, speedup_low=None, speedup_high=None))
        kept = keep_model(report, alone, options.time_budget, args, setup) if options.store else ()
        notes |= dict.fromkeys((*timed.notes, *kept))
        reports.append(replace(report, forward=timed.whole, timed=timed.conditions))
    return replace(table, reports=tuple(reports), notes=(*table.notes, *notes))

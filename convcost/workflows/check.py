"""`convcost check`: count the budgets' models, find their baselines, judge the limits, and update the lock."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.budgets.remedy import REMEDIED, find_remedy
from convcost.budgets.result import BudgetResult, CheckResult
from convcost.budgets.verdict import Reading, counted_reading, judge, timed_reading
from convcost.changes.change import what_changed
from convcost.changes.layer_cost import entry_of
from convcost.models.report import COUNT_DEVICES
from convcost.system.git_revision import checked_out
from convcost.system.processor import collection_paused
from convcost.system.signals import interrupts_held
from convcost.system.whole_files import require_writable
from convcost.text.errors import ConvcostError, did_you_mean
from convcost.text.units import number_of
from convcost.timing.conditions import TimingOptions, require_time_budget
from convcost.workflows.baseline import (
    Baseline,
    BaseRevision,
    baseline_at,
    baseline_from_lock,
    read_base,
)
from convcost.workflows.budget_process import count_budget, machine_for, time_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.budgets.configuration import Configuration
    from convcost.budgets.limits import Budget, Limit
    from convcost.budgets.verdict import Judgement
    from convcost.changes.change import Change
    from convcost.changes.layer_cost import Entry
    from convcost.models.report import ModelReport
    from convcost.timing.measured import ForwardTiming
    from convcost.workflows.budget_process import Timed


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Options of a check.

    Attributes:
        base: Git revision that is the baseline; None for the lock.
        strict: Whether an inconclusive limit, or an improvement that the lock lacks, fails.
        accept: Whether growth is accepted, because today's figures are about to become the lock.
        time_budget: Seconds for the timing of each budget that limits latency.
        tell: Called with a line of progress.
        store: Whether timings go into the history.
        device: Where to count every model, in place of its budget's own `device`.
    """

    base: str | None = None
    strict: bool = False
    accept: bool = False
    time_budget: float = 8.0
    tell: Callable[[str], None] = lambda _: None
    store: bool = True
    device: str | None = None

    def __post_init__(self) -> None:
        """Refuse options that no budget could be checked with, before any is counted.

        Raises:
            ConvcostError: A time budget below its minimum, an unknown device, or both `base` and `accept`.
        """
        if self.device is not None and self.device not in COUNT_DEVICES:
            raise ConvcostError(
                f"device (={self.device}) must be auto, meta or cpu; leave it out for the budget's own."
            )
        require_time_budget(self.time_budget)
        if self.base is not None and self.accept:
            msg = f"base (={self.base}) and update exclude each other: the lock holds today's figures; leave one out."
            raise ConvcostError(msg)


class LockNotWrittenError(ConvcostError):
    """The lock could not be written; the check itself was done.

    Attributes:
        result: The result of the check.
    """

    def __init__(self, reason: ConvcostError, result: CheckResult) -> None:
        super().__init__(str(reason))
        self.result = result


def check_configuration(configuration: Configuration, options: CheckOptions) -> tuple[CheckResult, tuple[str, ...]]:
    """Check all budgets of a configuration, and write the lock if growth is accepted.

    Returns:
        The result, and the names of the budgets whose entries in the lock changed.

    Raises:
        ConvcostError: As `check`.
        LockNotWrittenError: The lock cannot be written; nothing else is lost.
    """
    from convcost.budgets.config_files import load_lock, lock_path, save_lock
    from convcost.budgets.lock import Lock

    path = lock_path(configuration)
    names = [budget.name for budget in configuration.budgets]
    if options.accept:
        require_writable(path, what="the lock")
    try:
        lock = load_lock(path, names, rewritten=options.accept) if configuration.source else Lock()
    except ConvcostError as error:
        if options.base is None:
            raise
        lock = Lock(notes=tuple(f"no growth is accepted: {line}" for line in error.lines))
    result = check_budgets(configuration, lock.entries, options)
    result = replace(result, notes=(*result.notes, *lock.notes))
    if not options.accept or result.interrupted:
        return result, ()
    entries = {one.budget.name: one.entry for one in result.budgets if one.entry is not None}
    changed = {name: entry for name, entry in entries.items() if entry != lock.entries.get(name)}
    if changed:
        try:
            with interrupts_held():
                save_lock(path, {**lock.entries, **changed}, lock.kept)
        except ConvcostError as error:
            raise LockNotWrittenError(error, result) from error
        except KeyboardInterrupt:
            result = replace(result, interrupted=True)
    unchecked = ", ".join(one.budget.name for one in result.budgets if one.entry is None)
    notes = (f"convcost.lock: left as it was for {unchecked}, which could not be checked.",) if unchecked else ()
    return replace(result, notes=(*result.notes, *notes)), tuple(changed)


def check_report(
    report: ModelReport, maxima: Mapping[str, str | int | None], *, strict: bool = False, before: Entry | None = None
) -> CheckResult:
    """Check a counted model against maxima, as the pytest helper does.

    Args:
        report: Result of `count`.
        maxima: Quantities with their units, by metric.
        strict: Whether a lower bound is inconclusive.
        before: Costs of the model when it last passed, since which the layers that grew are listed; None if unknown.

    Raises:
        ConvcostError: A quantity of another kind, or no limit.
    """
    from convcost.budgets.limits import Budget, limits_from

    budget = Budget(report.target, report.target, Path.cwd(), limits=limits_from(maxima))
    baseline = Baseline(before, "its last pass")
    result = _judge_report(budget, report, baseline, CheckOptions(strict=strict))
    return CheckResult("", (replace(result, growth_alone=True),), strict)


def choose_budgets(configuration: Configuration, only: Sequence[str]) -> Configuration:
    """The configuration with only the budgets of these names, each once; all of them if there are no names.

    Raises:
        ConvcostError: An unknown name.
    """
    known = {budget.name: budget for budget in configuration.budgets}
    for name in only:
        if name not in known:
            msg = f"only (={name}) must be a budget of {configuration.source}; {did_you_mean(name, known)}"
            raise ConvcostError(msg)
    chosen = tuple(known[name] for name in dict.fromkeys(only))
    return replace(configuration, budgets=chosen) if only else configuration


def check_budgets(configuration: Configuration, lock: Mapping[str, Entry], options: CheckOptions) -> CheckResult:
    """Check every budget of a configuration, each in a process of its own.

    A model that does not load, or ends its process, is an error in its budget's result.

    Args:
        configuration: Configuration with the budgets.
        lock: Accepted costs of the models, by budget: the baseline, or, with `base`, growth that passes.
        options: Options of the check.

    Raises:
        ConvcostError: An unknown base revision.
    """
    results: list[BudgetResult] = []
    interrupted = False
    try:
        with ExitStack() as stack:
            stack.enter_context(collection_paused())  # this process runs no model
            base = None
            if options.base is not None:
                checkout = stack.enter_context(checked_out(options.base, configuration.folder))
                base = read_base(checkout, configuration, lock)
            for budget in _on_device(configuration.budgets, options.device):
                baseline = base or baseline_from_lock(budget, lock)
                results.append(_check_one(budget, baseline, options))
    except KeyboardInterrupt:
        interrupted = True
        rest = configuration.budgets[len(results) :]
        results += (_unchecked(budget, f"{budget.name}: interrupted") for budget in rest)
    return CheckResult(configuration.source, tuple(results), options.strict, interrupted=interrupted)


def _on_device(budgets: Sequence[Budget], device: str | None) -> Sequence[Budget]:
    """The budgets with the device that was requested for all."""
    return budgets if device is None else [replace(budget, device=device) for budget in budgets]


def _check_one(budget: Budget, base: Baseline | BaseRevision, options: CheckOptions) -> BudgetResult:
    try:
        counted = count_budget(budget, recount=options.strict)
    except ConvcostError as error:
        return _unchecked(budget, f"{_prefix(budget.source)}{budget.name}: {error}")
    report = counted.report
    baseline = baseline_at(budget, base, counted.sources) if isinstance(base, BaseRevision) else base
    latency = next((limit for limit in budget.limits if limit.metric == "latency"), None)
    if latency is None:
        return _judge_report(budget, report, baseline, options)
    try:
        timed = _elsewhere(latency, baseline) or _timed(budget, latency, baseline, options)
    except ConvcostError as error:  # the counted limits are still judged
        message = f"{_prefix(latency.source)}{budget.name} latency: {error}"
        return replace(_judge_report(budget, report, baseline, options), error=message)
    if isinstance(timed, str):
        return _judge_report(budget, report, baseline, options, timed)
    if timed.untimed:
        baseline = replace(baseline, untimed=timed.untimed, lost=True)
    result = _judge_report(budget, report, baseline, options, timed.timing)
    notes: tuple[str, ...] = ()
    if options.store:
        from convcost.archive.storing import keep_check

        source = None if timed.timing.base is None else baseline.source
        arguments = budget.args, source, timed.setup
        notes = keep_check(report, timed.timing.head, timed.conditions, options.time_budget, *arguments)
    return replace(result, timed=timed.conditions, notes=(*result.notes, *notes))


def _prefix(source: str) -> str:
    return f"{source}: " if source else ""


def _timing_options(limit: Limit, options: CheckOptions) -> TimingOptions:
    return TimingOptions((limit.device,), limit.threads, "pinned", options.time_budget)


def _unchecked(budget: Budget, error: str) -> BudgetResult:
    judged = tuple(judge(limit, Reading(None, why="the model could not be checked")) for limit in budget.limits)
    return BudgetResult(budget, judged, error=error)


def _judge_report(
    budget: Budget,
    report: ModelReport,
    baseline: Baseline,
    options: CheckOptions,
    timing: ForwardTiming | str | None = None,
) -> BudgetResult:
    """The verdicts on a counted model.

    Args:
        budget: Budget with its limits.
        report: Count of the model.
        baseline: Earlier cost of the model.
        options: Options of the check.
        timing: Timing for a limit on latency; the name of this machine if the limit is for another one.
    """
    entry = entry_of(report)
    before = entry if options.accept else baseline.entry
    changes = () if baseline.entry is None else what_changed(baseline.entry, entry)
    operations = tuple(one.op for one in report.uncounted)
    judged = []
    for limit in budget.limits:
        reading = (
            timed_reading(limit, timing, baseline.untimed)
            if limit.metric == "latency"
            else counted_reading(limit, entry, before, () if options.accept else changes, baseline.why)
        )
        doubt = report.doubts.get("macs" if limit.metric == "flops" else limit.metric, reading.doubt)
        reading = replace(
            reading,
            doubt=doubt,
            lost=baseline.lost,
            locked=baseline.locked,
            accepted=getattr(baseline.accepted, limit.metric, None),
            operations=operations,
        )
        judged.append(judge(limit, reading, strict=options.strict))
    passed = _passed_limits(judged)
    return BudgetResult(
        budget,
        tuple(judged),
        entry,
        baseline.entry,
        baseline.source,
        changes,
        report.uncounted,
        find_remedy(entry, changes, passed) if passed else None,
        (*report.notes, *_baseline_notes(baseline, entry, changes, options)),
        mendable=bool(passed),
    )


def _elsewhere(limit: Limit, baseline: Baseline) -> str | None:
    """The name of this machine, if a limit is for another one and no growth needs timing here."""
    if limit.max is None or limit.machine is None or (limit.grow is not None and baseline.earlier is not None):
        return None
    here = machine_for(limit.device)
    return None if here == limit.machine else here


def _timed(budget: Budget, limit: Limit, baseline: Baseline, options: CheckOptions) -> Timed:
    options.tell(f"timing {budget.name} for {options.time_budget:g} s ...")
    earlier = baseline.earlier if limit.grow is not None else None
    return time_models(budget, earlier, baseline.checkout, _timing_options(limit, options))


def _passed_limits(judged: Sequence[Judgement]) -> dict[str, float]:
    """The failed limits that another block could meet, by metric."""
    passed: dict[str, float] = {}
    for one in judged:
        limit, reading = one.limit, one.reading
        if one.verdict == "fail" and limit.metric in REMEDIED and reading.actual is not None:
            maximum = limit.bound("max")
            allowed = [] if maximum is None else [maximum]
            if limit.grow is not None and reading.baseline is not None:
                allowed.append(reading.baseline + limit.allowance(reading.baseline) + reading.recounted)
            if allowed and reading.actual > min(allowed):
                passed[limit.metric] = min(allowed)
    return passed


def _baseline_notes(baseline: Baseline, entry: Entry, changes: Sequence[Change], options: CheckOptions) -> list[str]:
    """Notes on changes of the counter or of the input since the baseline."""
    notes = list(baseline.notes)
    before = baseline.entry
    if before is None:
        return notes
    if recounted := sum(change.kind == "recounted" for change in changes):
        layers = f"{number_of('layer', recounted)} of the same structure {'is' if recounted == 1 else 'are'}"
        notes.append(
            f"the counter may have changed, not the model: {layers} counted differently "
            f"({before.versions} then; {entry.versions} now); accept that with convcost check --update."
        )
    elif options.accept and before.versions != entry.versions:
        notes.append(f"the lock was counted by {before.versions}; now it is by {entry.versions}.")
    if before.input != entry.input:
        notes.append(f"the baseline's input was {', '.join(before.input)}, now it is {', '.join(entry.input)}.")
    return notes

"""`convcost check`, step by step: count what the budgets name, find the baselines, judge, and keep the lock."""

from __future__ import annotations

from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.budgets.changes import what_changed
from convcost.budgets.layer_cost import entry_of
from convcost.budgets.remedy import REMEDIED, find_remedy
from convcost.budgets.result import BudgetResult, CheckResult
from convcost.budgets.verdict import Reading, counted_reading, judge, timed_reading
from convcost.system.git_revision import checked_out
from convcost.text.errors import ConvcostError, did_you_mean
from convcost.text.units import number_of
from convcost.timing.options import TimingOptions, require_time_budget
from convcost.workflows.baseline import (
    Baseline,
    BaseRevision,
    baseline_at,
    baseline_from_lock,
    count_budget,
    load_budget,
    read_base,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from convcost.budgets.changes import Change
    from convcost.budgets.configuration import Configuration
    from convcost.budgets.layer_cost import Entry
    from convcost.budgets.limits import Budget, Limit
    from convcost.budgets.verdict import Judgement
    from convcost.models.report import ModelReport
    from convcost.timing.measured import ForwardTiming


__all__ = [
    "CheckOptions",
    "check_budgets",
    "check_configuration",
    "check_report",
    "choose_budgets",
    "judge_report",
    "updated_lock",
]


def check_configuration(configuration: Configuration, options: CheckOptions) -> tuple[CheckResult, tuple[str, ...]]:
    """Check budgets that were read; the names of those whose lock was written, too.

    Raises:
        ConvcostError: as `check`.
    """
    from convcost.budgets.config_files import load_lock, lock_path, save_lock
    from convcost.budgets.lock import Lock
    from convcost.system.whole_files import require_writable

    path = lock_path(configuration)
    names = [budget.name for budget in configuration.budgets]
    if options.accept:
        require_writable(path, what="the lock")
    locked = bool(configuration.source) and options.base is None
    lock = load_lock(path, names, rewritten=options.accept) if locked else Lock()
    result = check_budgets(configuration, lock.entries, options)
    result = replace(result, notes=(*result.notes, *lock.notes))
    if not options.accept or result.interrupted:
        return result, ()
    new, moved = updated_lock(lock.entries, result)
    if moved:
        save_lock(path, new, lock.kept)
    left = ", ".join(one.budget.name for one in result.budgets if one.entry is None)
    notes = (f"convcost.lock: left as it was for {left}, which could not be checked.",) if left else ()
    return replace(result, notes=(*result.notes, *notes)), moved


def check_report(report: ModelReport, maxima: Mapping[str, str | int | None], *, strict: bool = False) -> CheckResult:
    """Check a counted model against limits that are maxima, as the pytest helper does.

    Args:
        report: of `count`.
        maxima: by metric, each a quantity with its unit.
        strict: a lower bound does not pass.

    Raises:
        ConvcostError: a quantity of another kind, or no limit.
    """
    from convcost.budgets.limits import Budget, limits_from
    from convcost.budgets.result import CheckResult

    budget = Budget(report.target, report.target, Path.cwd(), limits=limits_from(maxima))
    return CheckResult("", (judge_report(budget, report, options=CheckOptions(strict=strict)),), strict)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How to check.

    Attributes:
        base: the revision that is the baseline; None for the lock.
        strict: what could not be decided, and an improvement that the lock does not know, fail.
        accept: growth is accepted: the figures of today are about to become the lock.
        time_budget: seconds for the timing of each budget that limits latency.
        tell: is called with a line of progress.
        store: whether timings go into the history.
    """

    base: str | None = None
    strict: bool = False
    accept: bool = False
    time_budget: float = 8.0
    tell: Callable[[str], None] = lambda line: None  # noqa: ARG005 - nobody listens
    store: bool = True

    def __post_init__(self) -> None:
        """Refuse what would be refused for each budget after it was counted, and what contradicts itself.

        Raises:
            ConvcostError: a time budget below its least, or both a base and growth that is accepted.
        """
        require_time_budget(self.time_budget)
        if self.base is not None and self.accept:
            msg = f"base (={self.base}) and update exclude each other: the lock holds today's figures; leave one out."
            raise ConvcostError(msg)


def choose_budgets(configuration: Configuration, only: Sequence[str]) -> Configuration:
    """The configuration with these budgets alone, each once; with all for no names.

    Raises:
        ConvcostError: no such budget.
    """
    known = {budget.name: budget for budget in configuration.budgets}
    for name in only:
        if name not in known:
            msg = f"only (={name}) must be a budget of {configuration.source}; {did_you_mean(name, known)}"
            raise ConvcostError(msg)
    chosen = tuple(known[name] for name in dict.fromkeys(only))
    return replace(configuration, budgets=chosen) if only else configuration


def check_budgets(configuration: Configuration, lock: Mapping[str, Entry], options: CheckOptions) -> CheckResult:
    """Check every budget of a configuration.

    Args:
        configuration: of which to check all budgets.
        lock: what the models cost before, by budget.
        options: how.

    Raises:
        ConvcostError: no such base revision; a model that does not load is told in its budget's result.
    """
    from convcost.nn.load.user_code import isolated_imports

    results: list[BudgetResult] = []
    try:
        with ExitStack() as stack:
            base = None
            if options.base is not None:
                checkout = stack.enter_context(checked_out(options.base, configuration.folder))
                base = read_base(checkout, configuration)
            drop_stale_modules = stack.enter_context(isolated_imports(_homes(configuration)))
            for budget in configuration.budgets:
                with _own_imports(budget, drop_stale_modules):
                    results.append(_check_one(budget, base or baseline_from_lock(budget, lock), options))
    except KeyboardInterrupt:
        left = configuration.budgets[len(results) :]
        results += (_unchecked(budget, f"{budget.name}: interrupted") for budget in left)
        return CheckResult(configuration.source, tuple(results), options.strict, interrupted=True)
    return CheckResult(configuration.source, tuple(results), options.strict)


def _homes(configuration: Configuration) -> set[Path]:
    """The folders in which the modules of the budgets' models lie."""
    files = ((budget.folder / budget.target.rpartition(":")[0]).resolve() for budget in configuration.budgets)
    return {configuration.folder.resolve(), *(file.parent for file in files)}


@contextmanager
def _own_imports(budget: Budget, drop_stale_modules: Callable[[], None]) -> Iterator[None]:
    """A budget's folders come first on the import path, also while its model runs, and no other budget's modules."""
    from convcost.nn.load.user_code import import_folders, import_path

    with chdir(budget.folder if budget.folder.is_dir() else Path.cwd()):
        folders = import_folders(budget.target)
    with import_path(*folders):
        drop_stale_modules()
        yield


def updated_lock(lock: Mapping[str, Entry], result: CheckResult) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """The lock with the figures of today, and the names of the budgets whose entries moved; others stay as they are.

    An entry with the versions of another counter moves too: what it excuses as counted differently must not stay open.
    """
    new, moved = dict(lock), []
    for one in result.budgets:
        before = lock.get(one.budget.name)
        if one.entry is not None and before != one.entry:
            new[one.budget.name] = one.entry
            moved.append(one.budget.name)
    return new, tuple(moved)


def _check_one(budget: Budget, baseline: Baseline | BaseRevision, options: CheckOptions) -> BudgetResult:
    try:
        report = count_budget(budget)
    except ConvcostError as error:
        return _unchecked(budget, f"{f'{budget.source}: ' if budget.source else ''}{budget.name}: {error}")
    latency = next((limit for limit in budget.limits if limit.metric == "latency"), None)
    if isinstance(baseline, BaseRevision):
        baseline = baseline_at(budget, baseline, timed=latency is not None and latency.grow is not None)
    if latency is None:
        return judge_report(budget, report, baseline, options)
    try:
        timing = _elsewhere(latency, baseline) or _timed(budget, latency, baseline, options)
    except ConvcostError as error:  # what was counted is judged all the same
        told = f"{f'{latency.source}: ' if latency.source else ''}{budget.name} latency: {error}"
        return replace(judge_report(budget, report, baseline, options), error=told)
    result = judge_report(budget, report, baseline, options, timing)
    if isinstance(timing, str):
        return result
    from convcost.archive.storing import keep_check
    from convcost.nn.measure.session import conditions_for
    from convcost.nn.measure.this_machine import fingerprint

    conditions = conditions_for(_timing_options(latency, options))
    base = None if timing.base is None else baseline.source
    kept: tuple[str, ...] = ()
    if options.store:
        setup = fingerprint(conditions.device)
        kept = keep_check(report, timing.head, conditions, options.time_budget, budget.args, base, setup)
    return replace(result, timed=conditions, notes=(*result.notes, *kept))


def _timing_options(limit: Limit, options: CheckOptions) -> TimingOptions:
    return TimingOptions((limit.device,), limit.threads, "pinned", options.time_budget)


def _unchecked(budget: Budget, error: str) -> BudgetResult:
    judged = tuple(judge(limit, Reading(None, why="the model could not be checked")) for limit in budget.limits)
    return BudgetResult(budget, judged, error=error)


def judge_report(
    budget: Budget,
    report: ModelReport,
    baseline: Baseline | None = None,
    options: CheckOptions | None = None,
    timing: ForwardTiming | str | None = None,
) -> BudgetResult:
    """The verdicts on a counted model.

    Args:
        budget: with its limits.
        report: of the model.
        baseline: what it was; None for no baseline.
        options: how to judge.
        timing: of a budget that limits latency; the name of this machine where the limit is for another one.
    """
    baseline, options = baseline or Baseline(why="there is no baseline"), options or CheckOptions()
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
        reading = replace(reading, lost=baseline.lost, locked=baseline.locked, operations=operations)
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
    """The name of this machine, where a limit is for another one and no growth is to be timed here."""
    from convcost.nn.measure.this_machine import machine_here

    if limit.max is None or limit.machine is None or (limit.grow is not None and baseline.forward is not None):
        return None
    here = machine_here(limit.device)
    return None if here == limit.machine else here


def _timed(budget: Budget, limit: Limit, baseline: Baseline, options: CheckOptions) -> ForwardTiming:
    from convcost.nn.measure.models import measure_forwards

    options.tell(f"timing {budget.name} for {options.time_budget:g} s ...")
    base = baseline.forward if limit.grow is not None else None
    return measure_forwards(load_budget(budget), base, _timing_options(limit, options))


def _passed_limits(judged: Sequence[Judgement]) -> dict[str, float]:
    """The limits that failed and that another block could mend, by metric."""
    passed: dict[str, float] = {}
    for one in judged:
        limit, reading = one.limit, one.reading
        if one.verdict == "fail" and limit.metric in REMEDIED and reading.actual is not None:
            allowed = [most] if (most := limit.bound("max")) is not None else []
            if limit.grow is not None and reading.baseline is not None:
                allowed.append(reading.baseline + limit.allowance(reading.baseline) + reading.recounted)
            if allowed and reading.actual > min(allowed):
                passed[limit.metric] = min(allowed)
    return passed


def _baseline_notes(baseline: Baseline, entry: Entry, changes: Sequence[Change], options: CheckOptions) -> list[str]:
    """What the comparison leaves open."""
    notes = list(baseline.notes)
    before = baseline.entry
    if before is None:
        return notes
    again = [change for change in changes if change.kind == "recounted"]
    if again:
        layers = f"{number_of('layer', len(again))} of the same structure {'is' if len(again) == 1 else 'are'}"
        notes.append(
            f"the counter changed, not the model: {layers} counted differently "
            f"({before.versions} then; {entry.versions} now); accept that with convcost check --update."
        )
    elif options.accept and before.versions != entry.versions:
        notes.append(f"the lock was counted by {before.versions}; now it is by {entry.versions}.")
    if before.input != entry.input:
        notes.append(f"the baseline's input was {', '.join(before.input)}, now it is {', '.join(entry.input)}.")
    return notes

"""`convcost check`, step by step: count what the budgets name, find the baselines, judge, and keep the lock."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.budget import Found, judge
from convcost.changes import recounted, what_changed
from convcost.check_result import BudgetResult, CheckResult
from convcost.errors import ConvcostError, NeedsValuesError, did_you_mean
from convcost.lock import entry_of
from convcost.remedy import REMEDIED, find_remedy
from convcost.request import TimingOptions, require_time_budget
from convcost.revision import checked_out
from convcost.targets import count_target, load_forward

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.budget import Budget, Judgement, Limit
    from convcost.changes import Change
    from convcost.configuration import Configuration
    from convcost.lock import Entry
    from convcost.nn.measure_forwards import Forward, ForwardTiming
    from convcost.remedy import Remedy
    from convcost.report import ModelReport
    from convcost.revision import Checkout
    from convcost.timing import Conditions

__all__ = [
    "Baseline",
    "CheckOptions",
    "check_budgets",
    "choose_budgets",
    "count_budget",
    "judge_report",
    "timing_found",
    "updated_lock",
]


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How to check.

    Attributes:
        base: the revision that is the baseline; None for the lock.
        strict: what could not be decided, and an improvement that the lock does not know, fail.
        accept: growth is accepted: the figures of today are about to become the lock.
        time_budget: seconds for the timing of each budget that limits latency.
        tell: is called with a line of progress.
    """

    base: str | None = None
    strict: bool = False
    accept: bool = False
    time_budget: float = 8.0
    tell: Callable[[str], None] = lambda line: None  # noqa: ARG005 - nobody listens

    def __post_init__(self) -> None:
        """Refuse at once what would be refused for each budget after it was counted."""
        require_time_budget(self.time_budget)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a model was: its costs, where they come from, and why there are none."""

    entry: Entry | None = None
    source: str = ""
    why: str = ""
    forward: Forward | None = None


def choose_budgets(configuration: Configuration, only: Sequence[str]) -> Configuration:
    """The configuration with these budgets alone; with all for no names.

    Raises:
        ConvcostError: no such budget.
    """
    known = {budget.name: budget for budget in configuration.budgets}
    for name in only:
        if name not in known:
            msg = f"only (={name}) must be a budget of {configuration.source}; {did_you_mean(name, known)}"
            raise ConvcostError(msg)
    return replace(configuration, budgets=tuple(known[name] for name in only)) if only else configuration


def check_budgets(configuration: Configuration, lock: Mapping[str, Entry], options: CheckOptions) -> CheckResult:
    """Check every budget of a configuration.

    Args:
        configuration: of which to check all budgets.
        lock: what the models cost before, by budget.
        options: how.

    Raises:
        ConvcostError: no such base revision; a model that does not load is told in its budget's result.
    """
    results: list[BudgetResult] = []
    try:
        if options.base is None:
            results += (_check_one(budget, _locked(budget, lock), options) for budget in configuration.budgets)
        else:
            with checked_out(options.base, configuration.folder) as checkout:
                results += (_check_one(budget, checkout, options) for budget in configuration.budgets)
    except KeyboardInterrupt:
        left = configuration.budgets[len(results) :]
        results += (_unchecked(budget, f"{budget.name}: interrupted") for budget in left)
        return CheckResult(configuration.source, tuple(results), options.strict, interrupted=True)
    return CheckResult(configuration.source, tuple(results), options.strict)


def updated_lock(lock: Mapping[str, Entry], result: CheckResult) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """The lock with the figures of today, and the names of the budgets whose figures moved; others stay as they are."""
    new, moved = dict(lock), []
    for one in result.budgets:
        before = lock.get(one.budget.name)
        if one.entry is not None and (before is None or before.figures != one.entry.figures):
            new[one.budget.name] = one.entry
            moved.append(one.budget.name)
    return new, tuple(moved)


def count_budget(budget: Budget, folder: Path | None = None) -> ModelReport:
    """Count the model of a budget.

    Args:
        budget: with its target.
        folder: that the target is relative to, in place of the budget's own.

    Raises:
        ConvcostError: as `convcost model`.
    """
    with _standing_in(folder or budget.folder):
        try:
            return count_target(budget.target, budget.inputs, budget.args, cross_check=False, device="meta")
        except NeedsValuesError:
            report = count_target(budget.target, budget.inputs, budget.args, cross_check=False, device="cpu")
            note = "the model looks at values: it was run once on the CPU to be counted."
            return replace(report, notes=(*report.notes, note))


def _standing_in(folder: Path) -> chdir[Path]:
    """The folder that a target is relative to as the current one."""
    if not folder.is_dir():
        msg = f"folder (={folder}) must be there; the revision may be older than it."
        raise ConvcostError(msg)
    return chdir(folder)


def _check_one(budget: Budget, baseline: Baseline | Checkout, options: CheckOptions) -> BudgetResult:
    try:
        report = count_budget(budget)
    except ConvcostError as error:
        return _unchecked(budget, f"{f'{budget.source}: ' if budget.source else ''}{budget.name}: {error}")
    latency = next((limit for limit in budget.limits if limit.metric == "latency"), None)
    if not isinstance(baseline, Baseline):
        baseline = _based(budget, baseline, timed=latency is not None and latency.grow is not None)
    timing = None
    if latency is not None:
        try:
            timing = _timed(budget, latency, baseline, options)
        except ConvcostError as error:
            return _unchecked(
                budget, f"{f'{latency.source}: ' if latency.source else ''}{budget.name} latency: {error}"
            )
    result = judge_report(budget, report, baseline, options, timing)
    return result if latency is None else replace(result, timed=_conditions(latency))


def _conditions(limit: Limit) -> Conditions:
    """What a latency is timed under here."""
    from convcost.nn.measure import conditions_for  # noqa: PLC0415 - import convcost does without torch

    return conditions_for(TimingOptions((limit.device,), limit.threads), limit.device)[0]


def _unchecked(budget: Budget, error: str) -> BudgetResult:
    judged = tuple(judge(limit, Found(None, why="the model could not be checked")) for limit in budget.limits)
    return BudgetResult(budget, judged, error=error)


def judge_report(
    budget: Budget,
    report: ModelReport,
    baseline: Baseline | None = None,
    options: CheckOptions | None = None,
    timing: ForwardTiming | None = None,
) -> BudgetResult:
    """The verdicts on a counted model.

    Args:
        budget: with its limits.
        report: of the model.
        baseline: what it was; None for no baseline.
        options: how to judge.
        timing: of a budget that limits latency.
    """
    baseline, options = baseline or Baseline(why="there is no baseline"), options or CheckOptions()
    entry = entry_of(report)
    before = entry if options.accept else baseline.entry
    changes = () if baseline.entry is None else what_changed(baseline.entry, entry)
    judged = []
    for limit in budget.limits:
        found = (
            timing_found(limit, timing, baseline.why)
            if limit.metric == "latency"
            else _counted_found(limit, entry, before, () if options.accept else changes, baseline.why)
        )
        judged.append(judge(limit, found, strict=options.strict))
    return BudgetResult(
        budget,
        tuple(judged),
        entry,
        baseline.entry,
        baseline.source,
        changes,
        report.uncounted,
        _remedy(judged, entry, changes),
        (*report.notes, *_baseline_notes(budget, baseline, entry, changes, options)),
    )


def _locked(budget: Budget, lock: Mapping[str, Entry]) -> Baseline:
    entry = lock.get(budget.name)
    if entry is None:
        return Baseline(why="convcost.lock has no entry of it; write one with convcost check --update")
    return Baseline(entry, "convcost.lock", "a lock holds no times; compare two revisions here with --base REV")


def _based(budget: Budget, checkout: Checkout, *, timed: bool) -> Baseline:
    """The model at another revision; a model that is not there has no baseline."""
    from convcost.nn.user_code import import_path, other_checkout  # noqa: PLC0415 - import convcost does without torch

    folder, here = checkout.counterpart(budget.folder), checkout.counterpart(Path.cwd())
    try:
        with other_checkout(checkout.project, checkout.folder), import_path(folder, here):
            entry = entry_of(count_budget(budget, folder))
            forward = None
            if timed:
                with _standing_in(folder):
                    forward = load_forward(budget.target, budget.inputs, budget.args)
    except ConvcostError as error:
        said = str(error).replace(str(checkout.folder), "").rstrip(".")
        return Baseline(why=f"it could not be counted at {checkout.revision}: {said}")
    return Baseline(entry, checkout.revision, "", forward)


def _timed(budget: Budget, limit: Limit, baseline: Baseline, options: CheckOptions) -> ForwardTiming:
    from convcost.nn.measure_forwards import measure_forwards  # noqa: PLC0415 - import convcost does without torch
    from convcost.nn.user_code import users_code  # noqa: PLC0415 - the same

    options.tell(f"timing {budget.name} for {options.time_budget:g} s ...")
    with _standing_in(budget.folder), users_code(budget.target):
        head = load_forward(budget.target, budget.inputs, budget.args)
        request = TimingOptions((limit.device,), limit.threads, "pinned", options.time_budget)
        return measure_forwards(head, baseline.forward if limit.grow is not None else None, request)


def _counted_found(limit: Limit, entry: Entry, before: Entry | None, changes: Sequence[Change], why: str) -> Found:
    metric = limit.metric
    baseline = None if before is None else getattr(before, metric)
    moved = 0
    if before is not None and any(change.kind == "recounted" for change in changes):
        only_the_counter = all(change.kind in {"recounted", "renamed"} for change in changes)
        moved = getattr(entry, metric) - baseline if only_the_counter else _recounted_part(metric, changes)
    return Found(getattr(entry, metric), baseline=baseline, recounted=moved, uncounted=entry.uncounted, why=why or None)


def _recounted_part(metric: str, changes: Sequence[Change]) -> int:
    """Of the growth of a metric, what the counter alone added."""
    from convcost.cost import FLOPS_PER_MAC  # noqa: PLC0415 - beside its one use

    return {"macs": 1, "flops": FLOPS_PER_MAC}.get(metric, 0) * recounted(changes)


def timing_found(limit: Limit, timing: ForwardTiming | None, why: str) -> Found:
    """What a timing says of a latency limit: the median, its interval, and the growth over the base."""
    if timing is None:
        return Found(None, why=why or "it was not timed")
    head, base = timing.head, timing.base
    growth = None
    if base is not None and head.speedup and head.speedup_low and head.speedup_high:
        growth = (1 / head.speedup - 1, 1 / head.speedup_high - 1, 1 / head.speedup_low - 1)
    notes = list(timing.notes)
    if limit.max is not None and limit.machine is None:
        notes.append(
            f'latency: max is judged on this machine; say for which one it was set: machine = "{timing.machine}"'
        )
    return Found(
        head.time_s,
        timing.low,
        timing.high,
        None if base is None else base.time_s,
        growth=growth,
        why=why or None,
        machine=timing.machine,
        notes=tuple(notes),
    )


def _remedy(judged: Sequence[Judgement], entry: Entry, changes: Sequence[Change]) -> Remedy | None:
    """For all limits that failed and that another block could mend, together."""
    broken: dict[str, float] = {}
    for one in judged:
        limit, found = one.limit, one.found
        if one.verdict == "fail" and limit.metric in REMEDIED and found.actual is not None:
            allowed = [] if limit.max is None else [float(limit.max)]
            if limit.grow is not None and found.baseline is not None:
                most = max(found.baseline * (1 + limit.grow), found.baseline + float(limit.floor or 0))
                allowed.append(most + found.recounted)
            if allowed and found.actual > min(allowed):
                broken[limit.metric] = min(allowed)
    return find_remedy(entry, changes, broken) if broken else None


def _baseline_notes(
    budget: Budget, baseline: Baseline, entry: Entry, changes: Sequence[Change], options: CheckOptions
) -> list[str]:
    """What the comparison leaves open."""
    notes: list[str] = []
    before = baseline.entry
    if before is None:
        return notes
    again = [change for change in changes if change.kind == "recounted"]
    if again:
        versions = f"counter {before.counter}, torch {before.torch} then; {entry.counter}, torch {entry.torch} now"
        notes.append(
            f"the counter changed, not the model: {len(again)} layers of the same structure are counted differently "
            f"({versions}); accept that with convcost check --update."
        )
    if before.input != entry.input:
        notes.append(f"the baseline's input was {', '.join(before.input)}, now it is {', '.join(entry.input)}.")
    if not options.accept:
        notes += _improvements(budget, before, entry)
    return notes


def _improvements(budget: Budget, before: Entry, entry: Entry) -> list[str]:
    """Metrics that fell by more than they may grow: a baseline that stays high lets the next growth pass."""
    said = []
    for limit in budget.limits:
        if limit.grow is None or limit.metric == "latency":
            continue
        old, new = getattr(before, limit.metric), getattr(entry, limit.metric)
        if old - new > limit.grow * old and old - new > float(limit.floor or 0):
            share = 100 * (old - new) / old
            said.append(
                f"{limit.metric} fell by {share:.3g} %: keep it with convcost check --update "
                f"(until then it may grow back to {limit.metric} of the baseline)."
            )
    return said

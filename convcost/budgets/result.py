"""The result of `convcost check`: the verdicts of all budgets, with changes and remedies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.budgets.advice import WHOLE, acceptance, grown_changes, ways_back
from convcost.budgets.columns import CHECK_COLUMNS, METRIC_FIELDS, MetricRow
from convcost.budgets.limits import METRICS
from convcost.budgets.remedy import Remedy, command_for
from convcost.budgets.verdict import UNJUDGED
from convcost.changes.change import renamed_summary
from convcost.text.columns import records
from convcost.text.errors import one_line
from convcost.text.result import Result
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from convcost.budgets.limits import Budget
    from convcost.budgets.verdict import Judgement
    from convcost.changes.change import Change
    from convcost.changes.layer_cost import Entry, LayerCost
    from convcost.models.report import Uncounted
    from convcost.text.columns import Column
    from convcost.text.figure import Figure
    from convcost.timing.conditions import Conditions

SUMMED: Final = {
    "params": "params",
    "macs": "MACs",
    "weight_bytes": "of weights",
    "peak_activation_bytes": "of activations at the peak",
}
"""The totals of a model, with their units in a sentence about a difference."""
SHOWN: Final = 10
"""Maximum number of changes in the text; the JSON has all."""


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """The result of one budget.

    Attributes:
        budget: Budget that was checked.
        judged: One verdict for each limited metric.
        entry: Current cost of the model; None if it could not be counted.
        baseline: Earlier cost of the model; None without one.
        compared_with: Source of the baseline, such as "convcost.lock".
        changes: Layers that differ from the baseline, largest change first.
        uncounted: Operations without a formula.
        remedy: Remedy for the broken limits; None if none is broken, or if no block is enough.
        notes: Remarks that change no verdict.
        error: Reason why the model could not be checked, or its latency not timed; None without one.
        mendable: Whether a limit is broken for which remedies are searched.
        timed: Conditions of the timing of its latency; None if not timed.
        growth_alone: Whether the text lists only the changes that add to a figure which broke a limit.
    """

    budget: Budget
    judged: tuple[Judgement, ...] = ()
    entry: Entry | None = None
    baseline: Entry | None = None
    compared_with: str = ""
    changes: tuple[Change, ...] = ()
    uncounted: tuple[Uncounted, ...] = ()
    remedy: Remedy | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None
    mendable: bool = False
    timed: Conditions | None = None
    growth_alone: bool = False

    @property
    def verdict(self) -> str:
        """The verdict on the budget: fail, inconclusive or pass."""
        verdicts = {one.verdict for one in self.judged}
        if "fail" in verdicts:
            return "fail"
        return "inconclusive" if self.error is not None or "inconclusive" in verdicts else "pass"

    @property
    def rows(self) -> tuple[MetricRow, ...]:
        """One row for each limited metric."""
        return tuple(
            MetricRow(self.budget, one, None if one.reading.machine is None else self.timed) for one in self.judged
        )

    @property
    def failures(self) -> tuple[Judgement, ...]:
        """The verdicts of broken limits, including those that only warn."""
        return tuple(one for one in self.judged if one.verdict in {"fail", "warn"})

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes of the budget and of its verdicts."""
        notes = dict.fromkeys(note for one in self.judged for note in one.notes)
        return tuple(dict.fromkeys((*self.notes, *self.uncounted_note, *_joined(notes))))

    @property
    def uncounted_note(self) -> tuple[str, ...]:
        """The operations without a formula, where they make a limited figure a lower bound that was judged."""
        bounds = [one.limit.metric for one in self.judged if one.lower_bound and one.verdict != "inconclusive"]
        if not bounds or not self.uncounted:
            return ()
        operations = ", ".join(f"{one.op} ({number_of('call', one.calls)})" for one in self.uncounted)
        step = "give each a formula with convcost.register"
        return (f"not counted, so that {' and '.join(bounds)} may be larger: {operations}; {step}",)

    @property
    def lines(self) -> Iterator[str]:
        """The lines of the report: verdicts other than pass, changes and remedy."""
        return map(one_line, self._lines())

    def _lines(self) -> Iterator[str]:
        name = self.budget.name
        for one in self.judged if self.error is None or self.entry is not None else ():
            if one.verdict != "pass":
                where = f"{one.source}: " if one.source else ""
                own = f"; {self.budget.message}" if self.budget.message and one in self.failures else ""
                yield f"{one.verdict}: {where}{name} {one.limit.metric}: {one.reason}{own}"
        if self.moved:
            yield f"why: {name} against {self.compared_with}: {self._sums}"
            yield from (f"  {line}" for line in self.change_lines(SHOWN, self.failures if self.growth_alone else ()))
        yield from self.advice

    @property
    def remedies(self) -> tuple[str, ...]:
        """The ways back under the broken limits."""
        ways = tuple(ways_back(self.judged, self.changes, self.remedy, self.command))
        if self.mendable and not ways:
            ways = (f"{WHOLE}: no block of the catalogue is enough for {self.budget.name}",)
        return ways

    @property
    def command(self) -> str:
        """The command that makes the replacement of the remedy; empty without one."""
        budget = self.budget
        return "" if self.remedy is None else command_for(self.remedy, budget.target, budget.inputs, budget.args)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do about the broken limits: the ways back, and how to accept the figures."""
        steps = acceptance(self.failures)
        return (*self.remedies, *((f"to accept {self.budget.name}: {steps}",) if steps else ()))

    @property
    def moved(self) -> bool:
        """Whether a layer or a total differs from the baseline."""
        totals = any(getattr(self.entry, name, None) != getattr(self.baseline, name, None) for name in SUMMED)
        return bool(self.changes) or (self.baseline is not None and totals)

    @property
    def _sums(self) -> str:
        if self.baseline is None or self.entry is None:
            return ""
        pairs = {name: (getattr(self.entry, name), getattr(self.baseline, name)) for name in SUMMED}
        deltas = {name: now - before for name, (now, before) in pairs.items() if None not in {now, before}}
        counted = "counted " if self.entry.uncounted or self.baseline.uncounted else ""
        parts = []
        for name, delta in deltas.items():
            amount, what = METRICS[name].text(abs(delta)), SUMMED[name]
            if delta and what.startswith("of "):
                parts.append(f"{amount} {'more' if delta > 0 else 'less'} {what}")
            elif delta:
                shown = f"{counted if METRICS[name].counts else ''}{what}"
                parts.append(f"{amount} {shown} {'more' if delta > 0 else 'fewer'}")
        return ", ".join(parts) or "the same params and MACs"

    def change_lines(self, most: int, failures: Sequence[Judgement] = ()) -> Iterator[str]:
        """The changes, largest first, renamed layers on one line.

        Args:
            most: Maximum number of changes.
            failures: Broken limits; the changes that do not add to their figures, and renamed layers, are left out.
        """
        real = [change for change in self.changes if change.kind != "renamed"]
        real = grown_changes(real, failures) if failures else real
        width = max((len(change.layer) for change in real[:most]), default=0)
        for change in real[:most]:
            yield f"{change.layer.ljust(width)}  {change.text}  {change.cost_text}"
        if len(real) > most > 0:
            yield f"and {len(real) - most} more; the JSON has all"
        renamed = renamed_summary([change for change in self.changes if change.kind == "renamed"])
        if renamed and not failures:
            yield renamed

    def to_dict(self) -> dict[str, Any]:
        """The object of the budget in the JSON."""
        return {
            "name": self.budget.name,
            "target": self.budget.target,
            "message": self.budget.message,
            "verdict": self.verdict,
            "metrics": records(METRIC_FIELDS, self.rows),
            "compared_with": self.compared_with or None,
            "changes": [
                {
                    "layer": change.layer,
                    "change": change.kind,
                    "before": _layer_dict(change.before),
                    "after": _layer_dict(change.after),
                    "text": change.text,
                    "params_delta": change.params_delta,
                    "macs_delta": change.macs_delta,
                }
                for change in self.changes
            ],
            "uncounted": [{**asdict(one), "where": list(one.where)} for one in self.uncounted],
            "advice": list(self.advice),
            "remedy": self.remedy
            and {**asdict(self.remedy), "layers": list(self.remedy.layers), "command": self.command},
            "notes": list(self.all_notes),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True, repr=False)
class CheckResult(Result[MetricRow]):
    """The results of all budgets of a configuration.

    Attributes:
        source: File of the configuration; empty without one.
        budgets: Results in the order of the file.
        strict: Whether inconclusive verdicts fail the check.
        interrupted: Whether Ctrl-C ended the check, so that some values are missing.
        notes: Remarks on the whole check.
        columns: Columns of the table and the frame.
    """

    SCHEMA: ClassVar = "convcost.check/1"
    source: str
    budgets: tuple[BudgetResult, ...]
    strict: bool = False
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    columns: tuple[Column[MetricRow], ...] = CHECK_COLUMNS

    @property
    def verdict(self) -> str:
        """The gravest verdict of a budget: fail, inconclusive or pass."""
        verdicts = {one.verdict for one in self.budgets}
        return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"

    @property
    def passed(self) -> bool:
        """Whether the check passes: no limit failed, nothing raised an error, and with `strict` all is decided."""
        if self.errors or self.verdict == "fail":
            return False
        return self.verdict == "pass" or not self.strict

    @property
    def errors(self) -> tuple[str, ...]:
        """The reasons why budgets could not be checked or timed."""
        return tuple(one_line(one.error) for one in self.budgets if one.error is not None)

    @property
    def rows(self) -> tuple[MetricRow, ...]:
        """One row for each limited metric of each budget."""
        return tuple(row for one in self.budgets for row in one.rows)

    @property
    def head(self) -> str:
        """The configuration or the target, and the verdict, on one line."""
        return one_line(f"{self.source or self.budgets[0].budget.target}: {self.verdict}; 1 MAC = 2 FLOPs")

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The lines of all budgets; one line if every limit passed."""
        lines = [line for one in self.budgets for line in one.lines]
        broken = [one for one in self.budgets if one.error is not None]
        untimed = sum(one.entry is not None for one in broken)
        for what, number in (("checked", len(broken) - untimed), ("timed", untimed)):
            if number:
                lines.append(f"not {what}: {number_of('budget', number)} of {len(self.budgets)}")
        count = f"{number_of('budget', len(self.budgets))}, {number_of('limit', len(self.rows))}"
        return tuple(lines) or (f"within budget: {count}",)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Notes of the check and of its budgets."""
        own = [f"{one.budget.name}: {note}" for one in self.budgets for note in one.all_notes]
        return tuple(dict.fromkeys(map(one_line, [*self.notes, *own])))

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """How much of each limit is used, and how each figure moved over the commits that changed the lock."""
        from convcost.budgets.config_files import LOCK_NAME
        from convcost.budgets.figures import check_figures, history_figure
        from convcost.budgets.lock_history import lock_history

        used = check_figures(self.rows)
        if not self.source or not self.budgets:
            return used
        return (*used, history_figure(self.rows, lock_history(self.budgets[0].budget.folder / LOCK_NAME)))

    @property
    def undecided(self) -> tuple[str, ...]:
        """The undecided limits of a check that passes nevertheless; empty if it fails."""
        if self.strict or self.verdict != "inconclusive":
            return ()
        left = [(row.budget.name, row.judged) for row in self.rows if row.judged.verdict == "inconclusive"]
        return tuple(one_line(f"not decided: {name} {one.limit.metric}: {one.reason}") for name, one in left)

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """Lines for stderr with their kinds: notes, undecided limits, and reasons why budgets could not be checked."""
        kinds = {"note": self.warnings, "warning": self.undecided, "error": self.errors}
        return tuple((kind, line) for kind, lines in kinds.items() for line in lines)

    @property
    def conditions(self) -> dict[str, Any]:
        """The versions that counted the models, and the machine of the timings."""
        entry = next((one.entry for one in self.budgets if one.entry is not None), None)
        machines = [one.judged.reading.machine for one in self.rows if one.judged.reading.machine is not None]
        return {
            "torch_version": None if entry is None else entry.torch,
            "counter": None if entry is None else entry.counter,
            "machine": next(iter(machines), None),
        }

    def _fields(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "verdict": self.verdict,
            "strict": self.strict,
            "source": self.source or None,
            "conditions": self.conditions,
            "budgets": [one.to_dict() for one in self.budgets],
            "notes": list(self.notes),
        }


def _joined(notes: Iterable[str]) -> Iterator[str]:
    """The notes; limits of several metrics that are not judged for the same reason share one."""
    metrics: dict[str, list[str]] = {}
    for note in notes:
        metric, _, rest = note.partition(" ") if UNJUDGED in note else ("", "", note)
        metrics.setdefault(rest, []).append(metric)
    return (f"{', '.join(names)} {rest}".lstrip() for rest, names in metrics.items())


def _layer_dict(layer: LayerCost | None) -> dict[str, Any] | None:
    """The object of a layer in the JSON, without empty texts."""
    if layer is None:
        return None
    return {name: value for name, value in asdict(layer).items() if value != ""}

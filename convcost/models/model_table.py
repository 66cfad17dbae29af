"""The result of `convcost model` for several targets: one row each, with ratios to the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.models.caption import UNIT, what_is_counted, who_counted, with_args
from convcost.models.claim import claim_lines
from convcost.models.report import ModelReport, require_arrangement
from convcost.text.columns import Column
from convcost.text.result import Result, grouped
from convcost.text.units import change_of, human_bytes, human_count, human_ratio, listed, number_of
from convcost.timing.columns import (
    condition_columns,
    speed_sentence,
    time_with_quartiles,
    timing_columns,
    timing_sentences,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from convcost.text.figure import Figure
    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Timing


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model, beside the one that ratios are relative to.

    Attributes:
        report: Count of the model, with the timing of its forward pass if it was timed.
        baseline: Count of the first model.
    """

    report: ModelReport
    baseline: ModelReport

    @property
    def name(self) -> str:
        """The target."""
        return self.report.target

    @property
    def traffic_bytes(self) -> int:
        """Compulsory traffic of all calls."""
        return sum(row.traffic_bytes for row in self.report.layers)

    @property
    def bound(self) -> str:
        """The sign before its MACs, if operations were not counted."""
        return "≥" if self.report.uncounted else ""

    @property
    def ratio_bound(self) -> str:
        """The sign before the ratio of MACs, if operations of one model were not counted; a doubt if of both."""
        ours, first = bool(self.report.uncounted), bool(self.baseline.uncounted)
        if self.report is self.baseline or not (ours or first):
            return ""
        return "?" if ours and first else "≤" if ours else "≥"

    def ratio(self, total: str) -> float | None:
        """A total of the baseline ÷ that of this model; None if one of them has none."""
        first, ours = getattr(self.baseline.totals, total), getattr(self.report.totals, total)
        return first / ours if ours and first is not None else None


def _timing(row: ModelRow) -> Timing | None:
    return row.report.forward


def _bound(row: ModelRow) -> str:
    return row.bound


def _conditions(row: ModelRow) -> Conditions | None:
    return row.report.timed


MODELS_COLUMNS: Final[tuple[Column[ModelRow], ...]] = (
    Column("target", lambda row: row.report.target, "model as the user named it", "model"),
    Column("inputs", lambda row: row.report.inputs, "inputs of the model", "input", width=120, flat=" ".join),
    Column("params", lambda row: row.report.totals.params, "parameters, each once", "params", human_count),
    Column("trainable_params", lambda row: row.report.totals.trainable_params, "parameters that require a gradient"),
    Column("macs", lambda row: row.report.totals.macs, "multiply-accumulates", "MACs", human_count, mark=_bound),
    Column(
        "flops", lambda row: row.report.totals.flops, "FLOPs: 2 x MACs", "FLOPs", human_count, width=65, mark=_bound
    ),
    Column(
        "uncounted",
        lambda row: len(row.report.uncounted),
        "kinds of operations without a formula; if there are any, the MACs are a lower bound",
    ),
    Column("traffic_bytes", lambda row: row.traffic_bytes, "traffic of all calls", "traffic", human_bytes, width=110),
    Column(
        "weight_bytes",
        lambda row: row.report.totals.weight_bytes,
        "bytes of the parameters",
        "weights",
        human_bytes,
        width=100,
    ),
    Column("activation_bytes", lambda row: row.report.totals.activation_bytes, "bytes of all outputs, each once"),
    Column(
        "peak_activation_bytes",
        lambda row: row.report.totals.peak_activation_bytes,
        "largest sum of activations that are alive at one call, bytes",
        "peak",
        human_bytes,
        width=63,
    ),
    Column(
        "params_ratio",
        lambda row: row.ratio("params"),
        "parameters of the first model / parameters of this one",
        "params fewer",
        human_ratio,
        width=100,
    ),
    Column(
        "macs_ratio",
        lambda row: row.ratio("macs"),
        "MACs of the first model / MACs of this one",
        "MACs fewer",
        human_ratio,
        width=66,
        mark=lambda row: row.ratio_bound,
    ),
    *(
        replace(column, show=None, cell=lambda row: time_with_quartiles(row.report.forward))
        for column in timing_columns(_timing, time_s=0)
    ),
    *timing_columns(_timing, time_q25_s=None, time_q75_s=None, time_min_s=None, first_call_s=None, time_runs=None),
    *timing_columns(_timing, dropped_share=None, faults_per_call=None),
    *timing_columns(_timing, speedup=0, speedup_low=None, speedup_high=None, verdict=None, probe_drift=None),
    *condition_columns(_conditions, device=None, dtype=None, threads=None, memory_format=None, allocator=None),
    *condition_columns(_conditions, torch_version=None, cpu=None),
    Column(
        "claims",
        lambda row: tuple(claim_lines(row.report.claims)) or None,
        "answers to the claimed numbers, in words",
        flat="; ".join,
    ),
)
"""The fields of a model among several."""
_ORDERS: Final[Mapping[str, Callable[[ModelRow], float]]] = {
    "macs": lambda row: row.report.totals.macs,
    "params": lambda row: row.report.totals.params or 0,
    "traffic": lambda row: row.traffic_bytes,
    "time": lambda row: row.report.forward.time_s if row.report.forward is not None else 0.0,
}


@dataclass(frozen=True, slots=True, repr=False)
class ModelTable(Result[ModelRow]):
    """Several models, one row each.

    Attributes:
        reports: Count of each model, in the order of the targets; ratios are relative to the first.
        failures: Reasons why targets have no row, by target; and why there are no times, as "timing".
        notes: Remarks on all models.
        columns: Columns of the table and the frame.
        shown: Rows of the table and the frame; None for all in order.
    """

    SCHEMA: ClassVar = "convcost.models/1"
    reports: tuple[ModelReport, ...]
    failures: Mapping[str, str]
    notes: tuple[str, ...] = ()
    columns: tuple[Column[ModelRow], ...] = MODELS_COLUMNS
    shown: tuple[ModelRow, ...] | None = None

    @property
    def rows(self) -> tuple[ModelRow, ...]:
        """Rows of the table and the frame."""
        return tuple(ModelRow(one, self.reports[0]) for one in self.reports) if self.shown is None else self.shown

    @property
    def is_timed(self) -> bool:
        """Whether the forward passes were timed."""
        return all(report.is_timed for report in self.reports)

    @property
    def agrees(self) -> bool:
        """Whether no other counter disagrees on any model."""
        return all(report.agrees for report in self.reports)

    @property
    def head(self) -> str:
        """One line with the number of models, their inputs and the conditions."""
        inputs = dict.fromkeys(", ".join(report.inputs) for report in self.reports)
        given = f"input {next(iter(inputs))}" if len(inputs) == 1 else "each on its own input"
        timed = self.reports[0].timed
        where = "" if timed is None else f", {timed.summary()}"
        return f"{number_of('model', len(self.reports))}, {given}{where}; 1 MAC = 2 FLOPs"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Speed against the first model, what was not counted, which counters disagree, and answers to claims."""
        lines, first = [], self.reports[0]
        for report in self.reports:
            if report.forward is not None and report is not first:
                macs = change_of(first.totals.macs, report.totals.macs) if report.totals.macs else "no"
                counted = "" if first.uncounted or report.uncounted else f", {macs} MACs"
                lines.append(f"{report.target}: {speed_sentence(report.forward)}{counted}, against {first.target}.")
            words = [str(missed) for missed in report.uncounted]
            words += [
                f"{who}: disagrees, {check.reason}"
                for who, check in report.cross_check.items()
                if check.status == "disagrees"
            ]
            lines += [f"{report.target}: {line}" for line in (*words, *claim_lines(report.claims))]
        caption = [f"caption: {self.caption}"] if any(report.claims for report in self.reports) else []
        return (*lines, *caption)

    @property
    def caption(self) -> str:
        """The sentences for the caption of the table."""
        inputs = dict.fromkeys(", ".join(report.inputs) for report in self.reports)
        given = f"an input of {next(iter(inputs))}" if len(inputs) == 1 else "the model's own input"
        kinds = frozenset().union(*(report.kinds for report in self.reports))
        agreeing = frozenset.intersection(*(report.agreeing for report in self.reports))
        versions = [report.conditions.get("torch_version") for report in self.reports]
        timed = self.reports[0].timed
        bounds = [report.target for report in self.reports if report.uncounted]
        are = "are lower bounds" if len(bounds) > 1 else "is a lower bound"
        least = f"The number of MACs of {listed(bounds)} {are}: operations were not counted. " if bounds else ""
        return (
            f"One forward pass of each model{with_args(self.reports[0].args)} on {given}: "
            f"parameters and {UNIT} of {what_is_counted(kinds)} {least}{who_counted(versions, agreeing)}"
        ) + (
            ""
            if timed is None
            else f" {timing_sentences([report.forward for report in self.reports], timed, 'medians (quartiles)')}"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to trust the time of a model."""
        return grouped((one.target, one.forward.warnings) for one in self.reports if one.forward is not None)

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """What each model costs, and its speed against what the MACs promise."""
        from convcost.models.figures import table_figures
        from convcost.timing.figures import Costs

        rows = []
        for row in self.rows:
            totals, timing = row.report.totals, row.report.forward
            time_s = None if timing is None else timing.time_s
            one = Costs(row.name, totals.params, totals.macs, row.traffic_bytes, time_s)
            rows.append((one, row.ratio("macs"), timing))
        return table_figures(rows)

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """Notes of all models and of each, warnings, and the targets without a row."""
        own = [("note", f"{report.target}: {line}") for report in self.reports for line in report.warnings]
        failed = [("error", f"{target}: {reason}") for target, reason in self.failures.items()]
        return (
            *(("note", line) for line in self.notes),
            *own,
            *(("warning", line) for line in self.warnings),
            *failed,
        )

    def arranged(self, *, sort: str | None = None, top: int | None = None) -> ModelTable:
        """The table with fewer or differently ordered rows; ratios stay relative to the first target.

        Args:
            sort: Key of `ORDERS`, largest first; None for the order of the targets.
            top: Maximum number of rows.

        Raises:
            ConvcostError: As `require_arrangement`.
        """
        require_arrangement(None, sort, top, timed=self.is_timed)
        rows = self.rows if sort is None else tuple(sorted(self.rows, key=_ORDERS[sort], reverse=True))
        return replace(self, shown=rows[:top])

    def _fields(self) -> dict[str, Any]:
        return {"models": [report.to_dict() for report in self.reports], "failures": dict(self.failures)}

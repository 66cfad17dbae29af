"""The result of `convcost diff`: two models layer by layer, and the differences of their totals."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.changes.change import renamed_text
from convcost.changes.columns import DIFF_COLUMNS, signed
from convcost.changes.diff_row import DiffRow, rows_of
from convcost.changes.promise import pair_record, promise_sentence
from convcost.models.report import check_lines, require_arrangement
from convcost.system.terminal import is_terminal
from convcost.text.columns import GAP, records
from convcost.text.errors import one_line
from convcost.text.result import Result, grouped
from convcost.text.sizes import format_sizes
from convcost.text.table import plain_table, wrapped
from convcost.text.units import human_bytes, human_count, human_percent, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from convcost.models.report import ModelReport
    from convcost.text.columns import Column
    from convcost.text.figure import Figure
    from convcost.timing.measured import PairTiming

_ORDERS: Final[Mapping[str, Callable[[DiffRow], float]]] = {
    "macs": lambda row: abs(row.delta("macs") or 0),
    "params": lambda row: abs(row.delta("params") or 0),
    "traffic": lambda row: abs(row.delta("traffic_bytes") or 0),
    "time": lambda row: abs((row.timed.after_s or 0.0) - (row.timed.before_s or 0.0)),
}
"""The orders of `convcost model`, by the size of the difference."""
TOTALS: Final[Mapping[str, tuple[str, Callable[[int], str]]]] = {
    "params": ("params", human_count),
    "macs": ("MACs", human_count),
    "traffic_bytes": ("traffic", human_bytes),
    "weight_bytes": ("weights", human_bytes),
    "peak_activation_bytes": ("peak", human_bytes),
}
"""The totals whose differences are shown, with their titles."""
MIN_WORDS: Final = 24
"""Minimum width of the column of words, in characters; a narrower terminal has them on lines of their own."""
MIN_TABLE: Final = 56
"""Minimum width of the other columns, in characters."""
COLOURS: Final[Mapping[str | None, int]] = {"added": 32, "removed": 31, "changed": 33}
"""The colour of a row on a terminal: green, red and yellow, as codes of ANSI."""
BELOW: Final = 4
"""Indent of words that stand below their row."""


@dataclass(frozen=True, slots=True, repr=False)
class DiffReport(Result[DiffRow]):
    """Two models, layer by layer.

    Attributes:
        a: First model.
        b: Second model; None if it was not counted, since an interrupt came first.
        layers: All layers, in the order of the second model; their differences add up to those of the totals.
        notes: Remarks on the comparison.
        columns: Columns of the table and the frame.
        shown: Rows of the table and the frame; None for the layers that differ.
        timing: Timings of the forward passes and of the layers that differ; None if not timed.
    """

    SCHEMA: ClassVar = "convcost.diff/1"
    a: ModelReport
    b: ModelReport | None
    layers: tuple[DiffRow, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column[DiffRow], ...] = DIFF_COLUMNS
    shown: tuple[DiffRow, ...] | None = None
    timing: PairTiming | None = None

    @property
    def rows(self) -> tuple[DiffRow, ...]:
        """Rows of the table and the frame."""
        return self.differing if self.shown is None else self.shown

    @property
    def differing(self) -> tuple[DiffRow, ...]:
        """The layers that differ."""
        return tuple(row for row in self.layers if row.change != "same")

    @property
    def sides(self) -> tuple[tuple[str, ModelReport], ...]:
        """The counted models, each with its letter."""
        return (("A", self.a), *(() if self.b is None else (("B", self.b),)))

    @property
    def is_timed(self) -> bool:
        """Whether both forward passes were timed."""
        return self.timing is not None

    @property
    def pairs(self) -> list[tuple[str | None, str | None]]:
        """The names of the layers to time alone: those that differ."""
        return [
            (None if row.before is None else row.before.name, None if row.after is None else row.after.name)
            for row in self.differing
        ]

    @property
    def agrees(self) -> bool:
        """Whether no other counter disagrees on a model."""
        return all(report.agrees for _, report in self.sides)

    @property
    def delta(self) -> dict[str, int | None]:
        """Difference of each total, second model - first; None where one of them was not obtained."""
        if self.b is None:
            return dict.fromkeys(TOTALS)
        before, after = totals_of(self.a), totals_of(self.b)
        return {name: _minus(after[name], before[name]) for name in TOTALS}

    @property
    def head(self) -> str:
        """The two models and their inputs, on one line."""
        inputs = [", ".join(report.inputs) for _, report in self.sides]
        if len(set(inputs)) == 1:
            names = "; ".join(f"{letter}: {report.target}" for letter, report in self.sides)
            return f"{names}; input {inputs[0]}; 1 MAC = 2 FLOPs"
        names = "; ".join(
            f"{letter}: {report.target}, input {', '.join(report.inputs)}" for letter, report in self.sides
        )
        return f"{names}; 1 MAC = 2 FLOPs"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The layers that are not shown, the totals, what was not counted, and the results of the other counters."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.b is None:
            return
        hidden = len(self.differing) - sum(row.change != "same" for row in self.rows)
        if hidden:
            yield f"{number_of('more layer', hidden)} that {'differs' if hidden == 1 else 'differ'}"
        same = [row for row in self.layers if row.change == "same"]
        pairs = [(row.before.name, row.after.name) for row in same if row.before and row.after]
        renamed = [(old, new) for old, new in pairs if old != new]
        yield f"{number_of('layer', len(same))} the same{f'; {renamed_text(renamed)}' if renamed else ''}"
        yield from _total_lines(self.a, self.b)
        for letter, report in self.sides:
            yield from (f"{letter}: {missed}" for missed in report.uncounted)
            yield from (f"{letter}: {line}" for line in check_lines(report.cross_check))
        yield from self._times(self.b)

    def _times(self, b: ModelReport) -> Iterator[str]:
        """What the formula promised, what the clock gave, and which layers made the difference."""
        before, after = self.a.forward, b.forward
        if before is None or after is None or self.a.timed is None:
            return
        macs = self.a.totals.macs, b.totals.macs
        yield promise_sentence(before, after, macs, [row.timed for row in self.differing])
        yield f"conditions of the times: {self.a.timed.summary()}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to trust the times of layers."""
        return grouped((row.name, row.timing.warnings) for row in self.layers if row.timing is not None)

    @property
    def below(self) -> tuple[str, ...]:
        """The accounts of the times of the rows."""
        calls = ([row.before for row in self.rows], [row.after for row in self.rows])
        return tuple(
            f"{letter}: {text}"
            for (letter, report), ones in zip(self.sides, calls, strict=False)
            for text in replace(report, shown=tuple(filter(None, ones))).below
        )

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """What each layer that differs costs in both models, and its speed against what its MACs promise."""
        from convcost.changes.figures import diff_figures

        return diff_figures(self.rows, (self.a, self.b or self.a))

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """Notes on the comparison, and on each model; those on both once."""
        own: dict[str, list[str]] = {}
        for letter, report in self.sides:
            for line in report.warnings:
                own.setdefault(line, []).append(letter)
        lines = (*self.notes, *(f"{' and '.join(letters)}: {line}" for line, letters in own.items()))
        return (*(("note", line) for line in lines), *(("warning", line) for line in self.warnings))

    def arranged(self, *, every: bool = False, sort: str | None = None, top: int | None = None) -> DiffReport:
        """The report with other rows in its table; its layers and totals stay the same.

        Args:
            every: Whether to show the layers that are the same too.
            sort: Key of `ORDERS` of `convcost model`, the largest difference first, whatever its sign; None for the
                order of the forward pass.
            top: Maximum number of rows.

        Raises:
            ConvcostError: As `require_arrangement`.
        """
        require_arrangement(None, sort, top, timed=self.is_timed)
        rows = self.layers if every or self.b is None else self.differing
        if sort is not None:
            rows = tuple(sorted(rows, key=_ORDERS[sort], reverse=True))
        return replace(self, shown=rows[:top])

    def text(self, width: int | None = None) -> str:
        """Head, table and verdicts; what changed stands at the end of each row, or below it on a narrow terminal.

        Without a second model it is the text of the first.

        Args:
            width: Width of the terminal in characters; None for no terminal, so that no line is broken.
        """
        if self.b is None:
            return self.a.text(width)
        verdicts = (wrapped(one_line(line), width) for line in self.verdicts)
        return "\n".join((wrapped(one_line(self.head), width), *self._table(width), "", *verdicts, ""))

    def _table(self, width: int | None) -> Iterator[str]:
        """The lines of the table."""
        words = next((column for column in self.columns if column.name == "what"), None)
        if not self.rows or words is None:
            yield plain_table(self.columns, self.rows, width) if self.rows else "no layer differs"
            return
        others = [column for column in self.columns if column is not words]
        longest = max(len(one_line(row.what)) for row in self.rows)
        room = width and max(width - max(MIN_WORDS, min(longest + GAP, width // 2)), MIN_TABLE)
        head, *table = plain_table(others, self.rows, room).splitlines()
        indent = max(map(len, (head, *table))) + GAP
        is_below = width is not None and width - indent < MIN_WORDS
        yield head if is_below else f"{head.ljust(indent)}{words.title}"
        if width is not None:
            yield "─" * max(width, indent - GAP)
            table = table[1:]
        indent = BELOW if is_below else indent
        is_coloured = width is not None and sys.stdout is not None and is_terminal(sys.stdout)
        for line, row in zip(table, self.rows, strict=True):
            texts = wrapped(one_line(row.what), width and width - indent).splitlines() or [""]
            first = line if is_below else f"{line.ljust(indent)}{texts.pop(0)}".rstrip()
            colour = COLOURS.get(row.change) if is_coloured else None
            yield first if colour is None else f"\x1b[{colour}m{first}\x1b[0m"
            yield from (f"{' ' * indent}{text}" for text in texts)

    def _fields(self) -> dict[str, Any]:
        return {
            "a": _model(self.a),
            "b": None if self.b is None else _model(self.b),
            "delta": self.delta,
            "layers": records(DIFF_COLUMNS, self.layers),
            "notes": list(self.notes),
            "cross_check": {
                letter.lower(): {who: asdict(check) for who, check in report.cross_check.items()}
                for letter, report in self.sides
            },
            "time": pair_record(self.a.forward, None if self.b is None else self.b.forward),
            "timing_conditions": None if self.a.timed is None else asdict(self.a.timed),
        }


def compare_models(a: ModelReport, b: ModelReport | None = None, timing: PairTiming | None = None) -> DiffReport:
    """The diff of two counted models.

    Args:
        a: First model.
        b: Second model; None if it was not counted.
        timing: Their timings, which their reports have too; None if they were not timed.
    """
    rows = rows_of(a, b, {} if timing is None else timing.pairs)
    return DiffReport(a, b, rows, () if b is None else tuple(_notes(a, b)), timing=timing)


def totals_of(report: ModelReport) -> dict[str, int | None]:
    """The totals of a model, the traffic of all calls among them."""
    totals = report.totals
    return {
        "params": totals.params,
        "trainable_params": totals.trainable_params,
        "macs": totals.macs,
        "flops": totals.flops,
        "traffic_bytes": sum(call.traffic_bytes for call in report.layers),
        "weight_bytes": totals.weight_bytes,
        "activation_bytes": totals.activation_bytes,
        "peak_activation_bytes": totals.peak_activation_bytes,
    }


def _total_lines(a: ModelReport, b: ModelReport) -> Iterator[str]:
    """The totals of both models with their difference, one line each."""
    before, after = totals_of(a), totals_of(b)
    for name, (title, show) in TOTALS.items():
        old, new = before[name], after[name]
        least = ["at least " if name == "macs" and report.uncounted else "" for report in (a, b)]
        if old is None or new is None:
            yield f"{title}: not obtained"
        elif not (change := new - old):
            yield f"{title}: {max(least)}{show(old)}, the same"
        else:
            share = f", {human_percent(change / old, '+')}" if old else ""
            yield f"{title}: {least[0]}{show(old)} → {least[1]}{show(new)} ({signed(change, show)}{share})"


def _model(report: ModelReport) -> dict[str, Any]:
    """A model in the JSON."""
    return {
        "target": report.target,
        "inputs": list(report.inputs),
        "conditions": dict(report.conditions),
        "totals": totals_of(report),
        "doubts": dict(report.doubts),
        "uncounted": [{**asdict(missed), "where": list(missed.where)} for missed in report.uncounted],
    }


def _minus(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def _notes(a: ModelReport, b: ModelReport) -> Iterator[str]:
    """Remarks on inputs and outputs that differ."""
    if a.inputs != b.inputs:
        yield "the models run on different inputs; give both the same with input."
    first, second = (
        next((call.output_shape for call in reversed(report.layers) if call.traffic_bytes), ()) for report in (a, b)
    )
    if first != second:
        texts = [format_sizes(shape) or "a scalar" for shape in (first, second)]
        yield f"the outputs differ in shape: the last layer puts out {texts[0]} in A and {texts[1]} in B."

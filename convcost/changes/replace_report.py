"""The result of `convcost replace`: a row for each convolution, and the totals before and after."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.changes.diff import compare_models
from convcost.changes.promise import pair_record, promise_sentence
from convcost.changes.replace_columns import REPLACE_COLUMNS
from convcost.changes.replaced_layer import ReplacedLayer
from convcost.changes.replacement import few
from convcost.convolution.shape import require_at_least
from convcost.models.report import check_lines
from convcost.text.columns import Column, records
from convcost.text.errors import ConvcostError
from convcost.text.result import Result, grouped
from convcost.text.units import change_of, human_bytes, human_count, number_of
from convcost.timing.columns import ACCOUNT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from convcost.changes.diff import DiffReport
    from convcost.changes.pareto import TradeOff
    from convcost.models.call import Call
    from convcost.models.report import ModelReport
    from convcost.text.figure import Figure


MAX_REASONS: Final = 6
"""Maximum number of reasons, why layers stay as they are, in the lines under the table."""
_ACCOUNTS: Final[tuple[Column[Call], ...]] = (
    Column("name", lambda call: call.name, "path of the convolution"),
    *ACCOUNT_COLUMNS,
)
ORDERS: Final[Mapping[str, Callable[[ReplacedLayer], float]]] = {
    "macs": lambda row: row.macs_before - row.macs_after,
    "params": lambda row: row.params_before - row.params_after,
    "time": lambda row: (row.change.before_s or 0.0) - (row.change.after_s or 0.0),
}
"""The orders that rows can be sorted by, largest saving first."""


@dataclass(frozen=True, slots=True, repr=False)
class ReplaceReport(Result[ReplacedLayer]):
    """A model before and after its convolutions were replaced by blocks.

    Attributes:
        before: Count of the model.
        after: Count of the altered model.
        layers: A row for each convolution, in the order of the forward pass.
        notes: Remarks on the whole model.
        trade_off: Costs against times over all sets of replacements; None if not requested.
        columns: Columns of the table and the frame.
        shown: Rows of the table and the frame; None for the replaced layers.
        kept: How the kept weights were factorised, on which input the output was compared, and with what outcome; None
            for new weights.
        output_error: Relative error of the altered model's output; None for new weights, or an output without a norm.
    """

    SCHEMA: ClassVar = "convcost.replace/1"
    before: ModelReport
    after: ModelReport
    layers: tuple[ReplacedLayer, ...]
    notes: tuple[str, ...] = ()
    trade_off: TradeOff | None = None
    columns: tuple[Column[ReplacedLayer], ...] = REPLACE_COLUMNS
    shown: tuple[ReplacedLayer, ...] | None = None
    kept: str | None = None
    output_error: float | None = None

    @property
    def replaced(self) -> tuple[ReplacedLayer, ...]:
        """The rows of the layers that are replaced."""
        return tuple(row for row in self.layers if row.replacement is not None)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks that replace layers."""
        return tuple(dict.fromkeys(row.replacement.placed.block.name for row in self.layers if row.replacement))

    @property
    def diff(self) -> DiffReport:
        """The model and its altered self, layer by layer."""
        return compare_models(self.before, replace(self.after, target=f"{self.target} with {', '.join(self.blocks)}"))

    @property
    def rows(self) -> tuple[ReplacedLayer, ...]:
        """Rows of the table and the frame."""
        return self.replaced if self.shown is None else self.shown

    @property
    def target(self) -> str:
        """Target as the user named it; for a module, its class."""
        return self.before.target

    @property
    def agrees(self) -> bool:
        """Whether the rows add up to the difference of the totals, and no counter differs without a known reason."""
        return self.adds_up and self.after.agrees

    @property
    def is_timed(self) -> bool:
        """Whether both forward passes were timed."""
        return self.before.forward is not None and self.after.forward is not None

    @property
    def adds_up(self) -> bool:
        """Whether the rows, by the formula, add up to the difference of the counted totals."""
        before, after = self.before.totals, self.after.totals
        macs = sum(row.macs_after - row.macs_before for row in self.layers)
        params = sum(row.params_after - row.params_before for row in self.layers)
        known = before.params is not None and after.params is not None
        same_params = not known or (after.params or 0) - (before.params or 0) == params
        return after.macs - before.macs == macs and same_params

    @property
    def totals_row(self) -> ReplacedLayer | None:
        """The totals of the model as a row; None if the parameters were not obtained."""
        before, after = self.before.totals, self.after.totals
        if before.params is None or after.params is None:
            return None
        name = "total (MACs: at least)" if self.before.uncounted or self.after.uncounted else "total"
        return ReplacedLayer(name, "", None, 1, before.params, after.params, before.macs, after.macs)

    @property
    def head(self) -> str:
        """The target, its inputs and the blocks, on one line."""
        return f"{self.before.head}; layers replaced by {', '.join(self.blocks)}"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The totals before and after, the layers that stay as they are, and the results of the other counters."""
        before, after = self.before.totals, self.after.totals
        counts = [
            _change_line("MACs", before.macs, after.macs, [bool(one.uncounted) for one in (self.before, self.after)])
        ]
        if before.params is not None and after.params is not None:
            counts.insert(0, _change_line("parameters", before.params, after.params))
        lines = [f"{number_of('convolution', len(self.replaced))} of {len(self.layers)} replaced", *counts]
        peak = before.peak_activation_bytes, after.peak_activation_bytes
        memory = [f"peak {human_bytes(peak[0])} → {human_bytes(peak[1])}"]
        if before.weight_bytes is not None and after.weight_bytes is not None:
            memory.insert(0, f"weights {human_bytes(before.weight_bytes)} → {human_bytes(after.weight_bytes)}")
        lines.append(f"memory: {', '.join(memory)}")
        if self.kept is not None:
            lines.append(f"weights kept, {self.kept}")
        lines += self._reasons
        lines += self._times()
        if not self.adds_up:
            lines.append("the rows do not add up to the difference of the totals: report it, with the model")
        lines += map(str, self.after.uncounted)
        return (*lines, *check_lines(self.after.cross_check))

    @property
    def _reasons(self) -> list[str]:
        """The reasons why layers stay as they are, the most frequent first."""
        names: dict[str, list[str]] = {}
        for row in self.layers:
            if row.skipped is not None:
                names.setdefault(row.skipped, []).append(row.name)
        ordered = sorted(names.items(), key=lambda one: len(one[1]), reverse=True)
        lines = [f"as before, {few(layers)}: {reason}" for reason, layers in ordered[:MAX_REASONS]]
        more = sum(len(layers) for _, layers in ordered[MAX_REASONS:])
        return [*lines, f"as before, {number_of('more convolution', more)}, each for its own reason"] if more else lines

    def _times(self) -> Iterator[str]:
        """What the formula promised and the clock gave, for the model and for each layer alone."""
        before, after = self.before.forward, self.after.forward
        if before is None or after is None or self.before.timed is None:
            return
        yield promise_sentence(
            before, after, (self.before.totals.macs, self.after.totals.macs), [row.change for row in self.replaced]
        )
        verdicts = Counter(row.timing.verdict for row in self.replaced if row.timing is not None)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        if counts:
            yield f"each layer alone, its block against it: {counts}"
        yield f"conditions of the times: {self.before.timed.summary()}"
        if self.trade_off is not None:
            yield from self.trade_off.lines()
            if verdicts["undecided"]:
                yield "the fastest set may be another, as not all times are decided: run it again on a quiet machine"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to trust the times of layers."""
        return grouped((row.name, row.timing.warnings) for row in self.layers if row.timing is not None)

    @property
    def below(self) -> tuple[str, ...]:
        """The accounts of the times of the layers, then of the stages of their blocks."""
        return (*self.before.below, *self.after.below)

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """What each layer and its block cost, and their speed against what the MACs promise."""
        from convcost.changes.figures import replace_figures

        return replace_figures(self.rows, self.trade_off, (self.before, self.after))

    def program(self) -> str:
        """The text of a torch file: the classes of the blocks, and a function that alters the model in place.

        Where the model is itself the replaced layer, the function returns its block.
        """
        from convcost.comparison.explanation import explain_row
        from convcost.comparison.rows import Row
        from convcost.programs.network_program import ReplacedPath, network_program

        layers = []
        for row in self.replaced:
            if row.replacement is not None:
                block = explain_row(Row(row.replacement.placed, "float32")).documented
                params, macs = (row.params_before, row.params_after), (row.macs_before, row.macs_after)
                norm = row.replacement.norm
                layers.append(ReplacedPath(row.replacement.name, replace(block, norm=norm), params, macs))
        before, after = self.before.totals, self.after.totals
        totals = {"MACs": (before.macs, after.macs)}
        if before.params is not None and after.params is not None:
            totals = {"parameters": (before.params, after.params), **totals}
        return network_program(self.target, layers, totals)

    def arranged(self, *, every: bool = False, sort: str | None = None, top: int | None = None) -> ReplaceReport:
        """The report with other rows in its table and frame; its layers and totals stay the same.

        Args:
            every: Whether the layers that stay as they are have rows too.
            sort: Key of `ORDERS`, largest saving first; None for the order of the forward pass.
            top: Maximum number of rows.

        Raises:
            ConvcostError: An unknown order, or a number of rows below 1.
        """
        require_arrangement(sort, top, timed=self.is_timed)
        rows = self.layers if every else self.replaced
        if sort is not None:
            rows = tuple(sorted(rows, key=ORDERS[sort], reverse=True))
        return replace(self, shown=rows[:top])

    def _fields(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "inputs": list(self.before.inputs),
            "conditions": dict(self.after.conditions),
            "before": self.before.totals.record,
            "after": self.after.totals.record,
            "output_error": self.output_error,
            "layers": records(REPLACE_COLUMNS, self.layers),
            "notes": list(self.notes),
            "cross_check": {who: check.record for who, check in self.after.cross_check.items()},
            "time": pair_record(self.before.forward, self.after.forward),
            "timing_conditions": None if self.before.timed is None else asdict(self.before.timed),
            "accounts": {
                side: records(_ACCOUNTS, [call for call in counted.layers if call.account is not None])
                for side, counted in (("before", self.before), ("after", self.after))
            },
            "pareto": None if self.trade_off is None else self.trade_off.record,
        }


def require_arrangement(sort: str | None, top: int | None, *, timed: bool) -> None:
    """Refuse an arrangement of rows that no report has.

    Args:
        sort: Order of the rows; None for that of the forward pass.
        top: Maximum number of rows.
        timed: Whether there are times to sort by.

    Raises:
        ConvcostError: An unknown order, a number of rows below 1, or no times to sort by.
    """
    if sort is not None and sort not in ORDERS:
        raise ConvcostError(f"sort (={sort}) must be one of {', '.join(ORDERS)}.")
    if sort == "time" and not timed:
        raise ConvcostError("sort (=time) must have times to sort by; turn time on.")
    if top is not None:
        require_at_least(1, top=top)


def _change_line(name: str, before: int, after: int, at_least: Sequence[bool] = (False, False)) -> str:
    """A total before and after: `MACs: 811 k → 191 k (811,008 → 191,488), 4.2x fewer`.

    Args:
        name: Name of the total.
        before: Value before.
        after: Value after.
        at_least: Whether each is a lower bound.
    """
    first, second = (
        f"{'at least ' if least else ''}{human_count(one)}"
        for one, least in zip((before, after), at_least, strict=True)
    )
    counted = " of those counted" if any(at_least) else ""
    return f"{name}: {first} → {second} ({before:,} → {after:,}), {change_of(before, after)}{counted}"

"""The result of `convcost replace`: a row for each convolution, and the totals before and after."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.changes.diff import compare_models
from convcost.changes.replace_columns import REPLACE_COLUMNS
from convcost.changes.replacement import cost_of, few
from convcost.convolution.cost import Cost, params
from convcost.convolution.shape import require_at_least
from convcost.models.report import check_lines
from convcost.text.columns import records
from convcost.text.errors import ConvcostError
from convcost.text.result import Result
from convcost.text.units import change_of, human_bytes, human_count, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.changes.diff import DiffReport
    from convcost.changes.replacement import Replacement
    from convcost.convolution.conv import Conv
    from convcost.models.call import Call
    from convcost.models.report import ModelReport
    from convcost.text.columns import Column


@dataclass(frozen=True, slots=True)
class ReplacedLayer:
    """A convolution, and the block in its place if there is one.

    Attributes:
        name: Name of the layer.
        before: Text of the convolution.
        after: Text of the block; None for a layer that stays as it is.
        calls: Number of its calls in one forward pass.
        params_before: Parameters of the layer.
        params_after: Parameters in its place.
        macs_before: Multiply-accumulates of the layer, all calls together.
        macs_after: Multiply-accumulates in its place.
        skipped: Reason why the layer stays as it is; None if it is replaced.
        weight_error: Relative error of the factorised weights; None for new weights.
        output_error: Relative error of the model's output with this layer alone replaced; None for new weights.
        replacement: The block with its stages; None for a layer that stays as it is.
    """

    name: str
    before: str
    after: str | None
    calls: int
    params_before: int
    params_after: int
    macs_before: int
    macs_after: int
    skipped: str | None = None
    weight_error: float | None = None
    output_error: float | None = None
    replacement: Replacement | None = None

    @property
    def params_ratio(self) -> float | None:
        """Parameters before ÷ after; None for a layer that stays as it is, or a block without any."""
        return self.params_before / self.params_after if self.replacement and self.params_after else None

    @property
    def macs_ratio(self) -> float | None:
        """MACs before ÷ after; None for a layer that stays as it is."""
        return self.macs_before / self.macs_after if self.replacement else None


MAX_REASONS: Final = 6
"""Maximum number of reasons, why layers stay as they are, in the lines under the table."""
ORDERS: Final[Mapping[str, Callable[[ReplacedLayer], float]]] = {
    "macs": lambda row: row.macs_before - row.macs_after,
    "params": lambda row: row.params_before - row.params_after,
}
"""The orders that rows can be sorted by, largest saving first."""


def layer_of(name: str, op: str, conv: Conv | None, calls: Sequence[Call], outcome: Replacement | str) -> ReplacedLayer:
    """The row of a convolution.

    Args:
        name: Path of the module, or name of the functional call.
        op: Class of the module, or name of the function.
        conv: The convolution; None if it is not exactly one.
        calls: Its calls in one forward pass.
        outcome: The block in its place, or the reason why it stays as it is.
    """
    cost = cost_of(calls) if calls or conv is None else Cost(0, params(conv).value, 0)
    text = described(op, conv)
    row = ReplacedLayer(name, text, None, len(calls), cost.params, cost.params, cost.macs, cost.macs)
    if isinstance(outcome, str):
        return replace(row, skipped=outcome)
    after = outcome.after
    return replace(row, after=outcome.text, params_after=after.params, macs_after=after.macs, replacement=outcome)


def described(op: str, conv: Conv | None) -> str:
    """A layer in words: `Conv2d 64→128, 3×3, stride 2`; its class alone if it is not exactly one convolution."""
    if conv is None:
        return op
    words = [f"{op} {conv.in_channels}→{conv.out_channels}", _sizes(conv.kernel_size)]
    for name, sizes in (("stride", conv.stride), ("dilation", conv.dilation)):
        words += [] if set(sizes) == {1} else [f"{name} {_sizes(sizes if len(set(sizes)) > 1 else sizes[:1])}"]
    return ", ".join([*words, *([f"groups {conv.groups}"] if conv.groups > 1 else [])])


def _sizes(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


@dataclass(frozen=True, slots=True, repr=False)
class ReplaceReport(Result[ReplacedLayer]):
    """A model before and after its convolutions were replaced by blocks.

    Attributes:
        before: Count of the model.
        after: Count of the altered model.
        layers: A row for each convolution, in the order of the forward pass.
        notes: Remarks on the whole model.
        columns: Columns of the table and the frame.
        shown: Rows of the table and the frame; None for the replaced layers.
    """

    SCHEMA: ClassVar = "convcost.replace/1"
    before: ModelReport
    after: ModelReport
    layers: tuple[ReplacedLayer, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[Column[ReplacedLayer], ...] = REPLACE_COLUMNS
    shown: tuple[ReplacedLayer, ...] | None = None

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
        return ReplacedLayer("total", "", None, 1, before.params, after.params, before.macs, after.macs)

    @property
    def head(self) -> str:
        """The target, its inputs and the blocks, on one line."""
        return f"{self.before.head}; layers replaced by {', '.join(self.blocks)}"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The totals before and after, the layers that stay as they are, and the results of the other counters."""
        before, after = self.before.totals, self.after.totals
        counts = [("MACs", before.macs, after.macs)]
        if before.params is not None and after.params is not None:
            counts.insert(0, ("parameters", before.params, after.params))
        lines = [
            f"{number_of('convolution', len(self.replaced))} of {len(self.layers)} replaced",
            *(
                f"{name}: {human_count(a)} → {human_count(b)} ({a:,} → {b:,}), {change_of(a, b)}"
                for name, a, b in counts
            ),
        ]
        peak = before.peak_activation_bytes, after.peak_activation_bytes
        memory = [f"peak {human_bytes(peak[0])} → {human_bytes(peak[1])}"]
        if before.weight_bytes is not None and after.weight_bytes is not None:
            memory.insert(0, f"weights {human_bytes(before.weight_bytes)} → {human_bytes(after.weight_bytes)}")
        lines.append(f"memory: {', '.join(memory)}")
        lines += self._reasons
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

    def arranged(self, *, every: bool = False, sort: str | None = None, top: int | None = None) -> ReplaceReport:
        """The report with other rows in its table and frame; its layers and totals stay the same.

        Args:
            every: Whether the layers that stay as they are have rows too.
            sort: Key of `ORDERS`, largest saving first; None for the order of the forward pass.
            top: Maximum number of rows.

        Raises:
            ConvcostError: An unknown order, or a number of rows below 1.
        """
        require_arrangement(sort, top)
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
            "layers": records(REPLACE_COLUMNS, self.layers),
            "cross_check": {who: check.record for who, check in self.after.cross_check.items()},
            "time": None,
        }


def require_arrangement(sort: str | None, top: int | None) -> None:
    """Refuse an arrangement of rows that no report has.

    Raises:
        ConvcostError: An unknown order, or a number of rows below 1.
    """
    if sort is not None and sort not in ORDERS:
        raise ConvcostError(f"sort (={sort}) must be one of {', '.join(ORDERS)}.")
    if top is not None:
        require_at_least(1, top=top)

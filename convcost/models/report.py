"""What a traced model costs: one row a call, totals, what was not counted, what other counters say. Plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.convolution.shape import require_at_least
from convcost.models.call import Call
from convcost.models.columns import MODEL_COLUMNS
from convcost.text.columns import records
from convcost.text.errors import ConvcostError
from convcost.text.result import Result
from convcost.text.units import human_bytes, human_count, human_share, human_time, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from convcost.text.columns import Column
    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Timing

ORDERS: Final[Mapping[str, Callable[[Call], float]]] = {
    "macs": lambda row: row.macs,
    "params": lambda row: row.params,
    "traffic": lambda row: row.traffic_bytes,
    "time": lambda row: row.time_s or 0,
}
"""What rows can be sorted by."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Of the whole model; parameters that are shared count once.

    Attributes:
        params: every parameter, trainable or not.
        trainable_params: those that require a gradient.
        macs: of one forward pass.
        weight_bytes: of the parameters.
        activation_bytes: all outputs, once each.
        peak_activation_bytes: the largest sum of activations that were alive at one call; inputs in, parameters out.
    """

    params: int
    trainable_params: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    peak_activation_bytes: int

    @property
    def flops(self) -> int:
        """2 a MAC."""
        return FLOPS_PER_MAC * self.macs


@dataclass(frozen=True, slots=True)
class Uncounted:
    """An operation with arithmetic for which there is no formula.

    Attributes:
        op: its name.
        calls: how often it ran.
        where: names of the calls it ran in.
    """

    op: str
    calls: int
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A difference to another counter; with a reason it is known, and the numbers reconcile."""

    op: str
    ours: int
    theirs: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """What another counter says.

    Attributes:
        status: agrees, disagrees or unavailable.
        macs: in its count, one a multiply-add.
        reason: why it is unavailable, or what is left over.
        differences: known ones, and those without a reason.
    """

    status: str
    macs: int | None = None
    reason: str | None = None
    differences: tuple[Discrepancy, ...] = ()


NOT_ASKED: Final = CrossCheck("unavailable", None, "not asked for")
"""Of a counter that did not run because nobody wanted it to."""


@dataclass(frozen=True, slots=True)
class ModelReport(Result[Call]):
    """A traced model.

    Attributes:
        target: as the user named it; the class of a module.
        inputs: as text.
        conditions: device and torch version of the trace.
        totals: of the model.
        layers: in the order of the forward pass.
        by_operator: MACs by kind.
        uncounted: arithmetic without a formula; totals are then "at least".
        cross_check: by counter.
        notes: what the reader should know.
        forward: the timed forward pass; None when not timed.
        timed: what the timing was made under.
        explained: the sum of the layers timed alone over the forward pass.
        columns: of the table and the frame.
        shown: rows of the table and the frame, where they are not the layers as they are.
    """

    SCHEMA: ClassVar = "convcost.model/1"
    target: str
    inputs: tuple[str, ...]
    conditions: Mapping[str, Any]
    totals: Totals
    layers: tuple[Call, ...]
    by_operator: Mapping[str, int]
    uncounted: tuple[Uncounted, ...] = ()
    cross_check: Mapping[str, CrossCheck] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    forward: Timing | None = None
    timed: Conditions | None = None
    explained: float | None = None
    columns: tuple[Column[Call], ...] = MODEL_COLUMNS
    shown: tuple[Call, ...] | None = None

    @property
    def rows(self) -> tuple[Call, ...]:
        """Rows of the table and the frame."""
        return self.layers if self.shown is None else self.shown

    @property
    def agrees(self) -> bool:
        """Whether no counter differs without a known reason, and oneDNN convolved these layers."""
        witnessed = all(row.account is None or row.account.agreement.agrees is not False for row in self.layers)
        return witnessed and all(check.status != "disagrees" for check in self.cross_check.values())

    @property
    def head(self) -> str:
        """One line that says what was counted."""
        return f"{self.target}, input {', '.join(self.inputs)}; 1 MAC = 2 FLOPs"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The totals, what was not counted, and what the other counters say."""
        totals, least = self.totals, "at least " if self.uncounted else ""
        trainable = f"{totals.params:,}; {totals.trainable_params:,} trainable"
        macs = f"{least}{human_count(totals.macs)} MACs ({totals.macs:,})"
        activations = f"activations {human_bytes(totals.activation_bytes)}"
        peak = f"peak {human_bytes(totals.peak_activation_bytes)}"
        lines = [
            f"total: {human_count(totals.params)} parameters ({trainable}), {macs}",
            f"memory: weights {human_bytes(totals.weight_bytes)}, {activations}, {peak}",
        ]
        lines += [f"not counted: {u.op}, {u.calls} calls, in {', '.join(u.where[:3])}" for u in self.uncounted]
        if self.forward is not None and self.timed is not None and self.explained is not None:
            spread = f"{human_time(self.forward.time_q25_s)} to {human_time(self.forward.time_q75_s)}"
            where = f"{self.timed.device}, {number_of('thread', self.timed.threads)}, allocator {self.timed.allocator}"
            lines.append(
                f"time: forward {human_time(self.forward.time_s)} ({spread}; {where}); "
                f"the layers alone add up to {human_share(self.explained)} of it"
            )
        asked = {who: check for who, check in self.cross_check.items() if check != NOT_ASKED}
        for who, check in asked.items():
            lines.append(f"{who}: {check.status}{'' if check.reason is None else f', {check.reason}'}")
            lines += [
                f"  {d.op}: {d.ours:,} here, {d.theirs:,} there: {d.reason or 'no known reason'}"
                for d in check.differences
            ]
        return tuple(lines)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader should know, of the model and of single layers."""
        return (*self.notes, *(f"{row.name}: {row.warning}" for row in self.layers if row.warning))

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """What the command prints to stderr; nothing in it keeps a count from being trusted."""
        return tuple(("note", line) for line in self.warnings)

    def arranged(self, *, depth: int | None = None, sort: str | None = None, top: int | None = None) -> ModelReport:
        """The report with fewer or differently ordered rows; its layers and totals stay.

        Args:
            depth: rows of modules deeper than this are added up.
            sort: macs, params, traffic or time: largest first.
            top: the largest number of rows.

        Raises:
            ConvcostError: an unknown order, a depth or a number of rows below 1.
        """
        if sort is not None and sort not in ORDERS:
            raise ConvcostError(f"sort (={sort}) must be one of {', '.join(ORDERS)}.")
        rows = self.layers
        if sort == "time" and all(row.time_s is None for row in rows):
            raise ConvcostError("sort (=time) must have times to sort by; turn time on.")
        if depth is not None:
            require_at_least(1, depth=depth)
            rows = _added_up(rows, depth)
        if sort is not None:
            rows = tuple(sorted(rows, key=ORDERS[sort], reverse=True))
        if top is not None:
            require_at_least(1, top=top)
            rows = rows[:top]
        return replace(self, shown=rows)

    def _fields(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "inputs": list(self.inputs),
            "conditions": dict(self.conditions),
            "totals": {
                "params": self.totals.params,
                "trainable_params": self.totals.trainable_params,
                "macs": self.totals.macs,
                "flops": self.totals.flops,
                "weight_bytes": self.totals.weight_bytes,
                "activation_bytes": self.totals.activation_bytes,
                "peak_activation_bytes": self.totals.peak_activation_bytes,
            },
            "layers": records(MODEL_COLUMNS, self.layers),
            "timing": None
            if self.forward is None or self.timed is None
            else {**asdict(self.forward), **asdict(self.timed), "explained_share": self.explained},
            "by_operator": dict(self.by_operator),
            "uncounted": [{**asdict(missed), "where": list(missed.where)} for missed in self.uncounted],
            "cross_check": {
                who: {**asdict(check), "differences": [asdict(d) for d in check.differences]}
                for who, check in self.cross_check.items()
            },
        }


def _added_up(rows: tuple[Call, ...], depth: int) -> tuple[Call, ...]:
    """One row for each module at this depth, where its first call stands."""
    merged: dict[str, Call] = {}
    for row in rows:
        name = ".".join(row.name.split("#")[0].split(".")[:depth])
        known = merged.get(name)
        if known is None:
            merged[name] = replace(row, name=name)
        else:
            merged[name] = replace(
                known,
                op="(several)",
                output_shape=row.output_shape,
                params=known.params + row.params,
                macs=known.macs + row.macs,
                traffic_bytes=known.traffic_bytes + row.traffic_bytes,
                macs_share=None if known.macs_share is None else known.macs_share + (row.macs_share or 0.0),
                conv=None,
                inputs=(),
                time_s=_sum_of_known(known.time_s, row.time_s),
                bound=None,
                account=None,
                hint=None,
            )
    return tuple(merged.values())


def _sum_of_known(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other

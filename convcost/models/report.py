"""The result of `convcost model`: one row for each call, totals, uncounted operations, and the cross-check."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, get_args

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.convolution.shape import require_at_least
from convcost.models.call import Call
from convcost.models.columns import MODEL_COLUMNS
from convcost.text.columns import records
from convcost.text.errors import ConvcostError
from convcost.text.result import Result, grouped
from convcost.text.units import human_bytes, human_count, human_share, human_time, number_of
from convcost.timing.columns import spread_text, timing_sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from convcost.models.claim import Claim
    from convcost.models.peak import Peak
    from convcost.text.columns import Column
    from convcost.text.figure import Figure
    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Timing

CountDevice: TypeAlias = Literal["auto", "meta", "cpu"]
"""Where a model is counted; auto is meta, and the CPU for a model that needs the values of its tensors."""
COUNT_DEVICES: Final[tuple[str, ...]] = get_args(CountDevice)
ORDERS: Final[Mapping[str, Callable[[Call], float]]] = {
    "macs": lambda row: row.macs,
    "params": lambda row: row.params,
    "traffic": lambda row: row.traffic_bytes,
    "time": lambda row: row.time_s or 0,
}
"""The orders that rows can be sorted by, largest first."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of a model; shared parameters count once.

    Attributes:
        params: Number of parameters, trainable or not; None where weights are quantised or packed.
        trainable_params: Number of parameters that require a gradient.
        macs: Multiply-accumulates of one forward pass.
        weight_bytes: Size of the parameters; None where weights are quantised or packed.
        activation_bytes: Size of all outputs, each counted once.
        peak_activation_bytes: Largest total size of the activations alive at one call, with inputs, without parameters.
    """

    params: int | None
    trainable_params: int
    macs: int
    weight_bytes: int | None
    activation_bytes: int
    peak_activation_bytes: int

    @property
    def flops(self) -> int:
        """Floating-point operations, 2 per MAC."""
        return FLOPS_PER_MAC * self.macs

    @property
    def record(self) -> dict[str, int | None]:
        """The totals as a JSON object."""
        values = asdict(self)
        return {
            **{name: values.pop(name) for name in ("params", "trainable_params", "macs")},
            "flops": self.flops,
            **values,
        }


@dataclass(frozen=True, slots=True)
class Uncounted:
    """An operation with arithmetic for which there is no formula.

    Attributes:
        op: Name of the operation.
        calls: Number of times it ran.
        where: Names of the layer calls that it ran in.
    """

    op: str
    calls: int
    where: tuple[str, ...]

    def __str__(self) -> str:
        """The operation, its calls and the first places that it ran in."""
        return f"not counted: {self.op}, {number_of('call', self.calls)}, in {', '.join(self.where[:3])}"


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A difference from another counter.

    Attributes:
        op: Name of the operation.
        ours: MACs by convcost.
        theirs: MACs by the other counter.
        reason: Known reason for the difference; None without one.
    """

    op: str
    ours: int
    theirs: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """The result of another counter.

    Attributes:
        status: "agrees", "disagrees" or "unavailable".
        macs: Multiply-accumulates by that counter; None if it is unavailable.
        reason: Reason why it is unavailable, or the difference that is left over; None if it agrees.
        differences: Differences by operation, with their reasons.
    """

    status: str
    macs: int | None = None
    reason: str | None = None
    differences: tuple[Discrepancy, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {**asdict(self), "differences": [asdict(one) for one in self.differences]}


NOT_REQUESTED: Final = CrossCheck("unavailable", None, "not requested")
"""The result of a counter that was not requested."""


INTERRUPTED: Final = CrossCheck("unavailable", None, "interrupted")
"""The result of a counter that has not run to its end."""


def check_lines(cross_check: Mapping[str, CrossCheck]) -> tuple[str, ...]:
    """The results of the requested counters, each with its differences, in lines."""
    lines: list[str] = []
    for who, check in cross_check.items():
        if check != NOT_REQUESTED:
            apart = ", apart from:" if check.status == "agrees" and check.differences else ""
            lines.append(f"{who}: {check.status}{apart}{'' if check.reason is None else f', {check.reason}'}")
            lines += [
                f"  {d.op}: {d.ours:,} here, {d.theirs:,} there: {d.reason or 'no known reason'}"
                for d in check.differences
            ]
    return tuple(lines)


def require_arrangement(depth: int | None, sort: str | None, top: int | None, *, timed: bool) -> None:
    """Refuse an arrangement of rows that no report has.

    Args:
        depth: Depth of the module tree.
        sort: Key of `ORDERS`.
        top: Maximum number of rows.
        timed: Whether rows have times.

    Raises:
        ConvcostError: An unknown order, one by times that there are not, a depth or a number of rows below 1.
    """
    if sort is not None and sort not in ORDERS:
        raise ConvcostError(f"sort (={sort}) must be one of {', '.join(ORDERS)}.")
    if sort == "time" and not timed:
        raise ConvcostError("sort (=time) must have times to sort by; turn time on.")
    require_at_least(1, **{name: size for name, size in (("depth", depth), ("top", top)) if size is not None})


@dataclass(frozen=True, slots=True, repr=False)
class ModelReport(Result[Call]):
    """A traced model.

    Attributes:
        target: Target as the user named it; for a module, its class.
        inputs: Texts of the inputs.
        conditions: Device and torch version of the count.
        totals: Totals of the model.
        layers: Calls in the order of the forward pass.
        by_operator: MACs by kind of operation.
        uncounted: Operations without a formula; if there are any, the MACs are lower bounds.
        cross_check: Results of the other counters, by name.
        notes: Remarks on the whole model.
        forward: Timing of the forward pass; None if not timed.
        timed: Conditions of the timing; None if not timed.
        explained: Times of the layers alone, added up, ÷ the time of the forward pass; None if not timed.
        columns: Columns of the table and the frame.
        shown: Rows of the table and the frame; None for all layers in order.
        doubts: Reasons why totals were not obtained, or may not hold for other inputs or calls; by metric.
        values_read: Where the forward pass read values of tensors, such as "item in gate".
        claims: Claimed numbers beside what conventions of counting give, best first.
        args: Arguments of the target's callable.
        peak: The call during which most bytes of activations are alive; None if unknown.
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
    doubts: Mapping[str, str] = field(default_factory=dict)
    values_read: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    args: Mapping[str, object] = field(default_factory=dict)
    peak: Peak | None = None

    @property
    def rows(self) -> tuple[Call, ...]:
        """Rows of the table and the frame."""
        return self.layers if self.shown is None else self.shown

    @property
    def totals_row(self) -> Call | None:
        """The totals as a row; None if the parameters were not obtained."""
        if self.totals.params is None:
            return None
        traffic, share = sum(row.traffic_bytes for row in self.layers), 1.0 if self.totals.macs else None
        counted = self.totals.params, self.totals.macs, traffic, share
        peak = self.totals.peak_activation_bytes
        return Call("total", "", (), (), *counted, uncounted=len(self.uncounted), alive_bytes=peak)

    @property
    def is_timed(self) -> bool:
        """Whether the forward pass was timed."""
        return self.forward is not None

    @property
    def agrees(self) -> bool:
        """Whether no counter differs without a known reason, and oneDNN convolved the layers of the model."""
        convolved = all(row.account is None or row.account.agreement.agrees is not False for row in self.layers)
        return convolved and all(check.status != "disagrees" for check in self.cross_check.values())

    @property
    def head(self) -> str:
        """The target and its inputs, on one line."""
        return f"{self.target}, input {', '.join(self.inputs)}; 1 MAC = 2 FLOPs"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The totals, the peak of memory, the uncounted operations, the time, and the results of the other counters."""
        totals, least = self.totals, "at least " if self.uncounted else ""
        params, weights = "parameters not obtained", "weights not obtained"
        if totals.params is not None and totals.weight_bytes is not None:
            trainable = f"{totals.params:,}; {totals.trainable_params:,} trainable"
            params = f"{human_count(totals.params)} parameters ({trainable})"
            weights = f"weights {human_bytes(totals.weight_bytes)}"
        macs = f"{least}{human_count(totals.macs)} MACs ({totals.macs:,})"
        activations = f"activations {human_bytes(totals.activation_bytes)}"
        peak = f"peak {human_bytes(totals.peak_activation_bytes)}"
        lines = [
            f"total: {params}, {macs}",
            f"memory: {weights}, {activations}, {peak}",
            *([] if self.peak is None else [f"peak: {self.peak}"]),
        ]
        lines += map(str, self.uncounted)
        if self.forward is not None and self.timed is not None:
            from convcost.timing.conditions import threads_text

            threads = threads_text(self.timed.device, self.timed.threads, ", ")
            where = f"{self.timed.device}{threads}, allocator {self.timed.allocator}"
            share = None if self.explained is None else human_share(self.explained)
            alone = "no layer could be timed alone" if share is None else f"the layers alone add up to {share} of it"
            lines.append(
                f"time: forward {human_time(self.forward.time_s)} ({spread_text(self.forward)}; {where}); {alone}"
            )
        lines += check_lines(self.cross_check)
        if self.claims:
            from convcost.models.claim import claim_lines

            lines += [*claim_lines(self.claims), f"caption: {self.caption}"]
        return tuple(lines)

    @property
    def caption(self) -> str:
        """The sentences for a table's caption: unit, input, what is counted, counter and version."""
        from convcost.models.caption import UNIT, what_is_counted, who_counted, with_args

        params = "" if self.totals.params is None else f"{human_count(self.totals.params)} parameters and "
        least = "at least " if self.uncounted else ""
        return (
            f"One forward pass of {self.target}{with_args(self.args)} on an input of {', '.join(self.inputs)}: {params}"
            f"{least}{human_count(self.totals.macs)} {UNIT} of {what_is_counted(self.kinds)} "
            f"{who_counted([self.conditions.get('torch_version')], self.agreeing)}"
        ) + ("" if self.timed is None else f" {timing_sentences([self.forward], self.timed)}")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of operations that have MACs."""
        return frozenset(kind for kind, macs in self.by_operator.items() if macs)

    @property
    def agreeing(self) -> frozenset[str]:
        """The other counters that agree."""
        return frozenset(who for who, check in self.cross_check.items() if check.status == "agrees")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Remarks on the model, doubts about its totals, and warnings of its layers."""
        doubts = [f"{reason}." for reason in dict.fromkeys(self.doubts.values())]
        return (
            *dict.fromkeys((*self.notes, *doubts)),
            *grouped((row.name, [row.warning] if row.warning else []) for row in self.layers),
        )

    @property
    def below(self) -> tuple[str, ...]:
        """The account of each distinct layer that has one, by the name of its first call."""
        alike: dict[int, list[Call]] = {}
        for call in self.rows:
            alike.setdefault(id(call.account), []).append(call)
        return tuple(
            first.account.lines(
                f"{first.name} (and {len(others)} alike)" if others else first.name,
                first.hint.text if first.hint else None,
            )
            for first, *others in alike.values()
            if first.account is not None
        )

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """What each layer costs, the memory along the forward pass, where time goes, and speeds under bounds."""
        from convcost.models.figures import model_figures

        return model_figures(self.rows, self.layers, self.peak)

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """The warnings as notes, since none of them makes a count wrong."""
        return tuple(("note", line) for line in self.warnings)

    def arranged(self, *, depth: int | None = None, sort: str | None = None, top: int | None = None) -> ModelReport:
        """The report with fewer or differently ordered rows; its layers and totals stay the same.

        Args:
            depth: Depth of the module tree; the rows of deeper modules are added up.
            sort: Key of `ORDERS`, largest first; None for the order of the forward pass.
            top: Maximum number of rows.

        Raises:
            ConvcostError: As `require_arrangement`.
        """
        rows = self.layers
        require_arrangement(depth, sort, top, timed=any(row.time_s is not None for row in rows))
        if depth is not None:
            rows = _added_up(rows, depth)
        if sort is not None:
            rows = tuple(sorted(rows, key=ORDERS[sort], reverse=True))
        if top is not None:
            rows = rows[:top]
        return replace(self, shown=rows)

    def _fields(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "inputs": list(self.inputs),
            "conditions": dict(self.conditions),
            "totals": self.totals.record,
            "peak": None if self.peak is None else self.peak.record,
            "doubts": dict(self.doubts),
            "values_read": list(self.values_read),
            "layers": records(MODEL_COLUMNS, self.layers),
            "timing": None
            if self.forward is None or self.timed is None
            else {**asdict(self.forward), **asdict(self.timed), "explained_share": self.explained},
            "by_operator": dict(self.by_operator),
            "caption": self.caption,
            "claims": [claim.record for claim in self.claims],
            "uncounted": [{**asdict(missed), "where": list(missed.where)} for missed in self.uncounted],
            "cross_check": {who: check.record for who, check in self.cross_check.items()},
        }


def _added_up(rows: tuple[Call, ...], depth: int) -> tuple[Call, ...]:
    """One row for each module at this depth, at the position of its first call."""
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
                uncounted=known.uncounted + row.uncounted,
                time_s=_sum_of_known(known.time_s, row.time_s),
                alive_bytes=max(filter(None, (known.alive_bytes, row.alive_bytes)), default=None),
                bound=None,
                account=None,
                hint=None,
            )
    return tuple(merged.values())


def _sum_of_known(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other

"""What a traced model costs: one row a call, totals, what was not counted, what other counters say. Plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.models.columns import MODEL_COLUMNS
from convcost.text.errors import ShapeError
from convcost.text.units import human_bytes, human_count, human_share, human_time, number_of
from convcost.timing.bound import Work, least_work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.convolution.conv import Conv
    from convcost.text.columns import Column
    from convcost.timing.account import Account
    from convcost.timing.bound import Bound
    from convcost.timing.conditions import Conditions
    from convcost.timing.hints import Hint
    from convcost.timing.statistics import Timing

__all__ = ["NOT_ASKED", "Call", "CrossCheck", "Discrepancy", "ModelReport", "Totals", "Uncounted"]

SCHEMA: Final = "convcost.model/1"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer, or one functional call.

    Attributes:
        name: the module's path, `path#2` for a second call, `path.matmul#1` for a functional call.
        op: the module's class, or the function.
        input_shape: of the first tensor that goes in.
        output_shape: of the first tensor that comes out.
        params: of this call's module that no call before it used.
        macs: multiply-accumulates.
        traffic_bytes: tensors and parameters in, tensors out, each moved once.
        macs_share: of the total; None for a total of 0.
        conv: the convolution, where the call is exactly one.
        inputs: each tensor that goes in, as `1x16:int64`.
        weights: dtypes of its parameters.
        shares: the first call before it that used one of its parameters; None where there is none.
        least_bytes: what no kernel can leave unmoved, less than the traffic where a call reads parts or works in place;
            None where nobody can say, as of a view or of a class of the user's.
        uncounted: operations without a formula in it; its MACs are then a lower bound.
        time_s: of the layer alone; None where it was not timed.
        bound: the time that cannot be beaten on this machine; None where it is not calibrated, or where nothing is
            known that the call cannot leave out.
        account: where the time of a convolution goes; None when not asked for.
        hint: what would make it faster; None when not asked for, or when nothing was found.
        note: why there is no account.
        conditions: of its timing, with its own dtype and memory format; None where it was not timed.
    """

    name: str
    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    params: int
    macs: int
    traffic_bytes: int
    macs_share: float | None = None
    conv: Conv | None = None
    inputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    shares: str | None = None
    least_bytes: int | None = None
    uncounted: int = 0
    time_s: float | None = None
    bound: Bound | None = None
    account: Account | None = None
    hint: Hint | None = None
    note: str | None = None
    conditions: Conditions | None = None

    @property
    def flops(self) -> int:
        """2 a MAC."""
        return FLOPS_PER_MAC * self.macs

    @property
    def flop_per_byte(self) -> float | None:
        """Arithmetic intensity; None where nothing is moved."""
        return self.flops / self.traffic_bytes if self.traffic_bytes else None

    @property
    def layer(self) -> Layer | None:
        """The convolution on the call's own input, a single sample taken for a batch of one.

        None where the call is no convolution, or not exactly one: a subclass, or a padding other than zeros, may have
        changed what goes into it.
        """
        if self.conv is None or not 1 <= len(self.input_shape) - len(self.conv.kernel_size) <= 2:  # noqa: PLR2004 - (N,) C
            return None
        alone = (1,) * (len(self.conv.kernel_size) + 2 - len(self.input_shape))
        batch, channels, *spatial = *alone, *self.input_shape
        try:
            layer = Layer(self.name, self.conv, Shape(batch, channels, tuple(spatial)))
        except ShapeError:
            return None
        return layer if layer.output.sizes == (*alone, *self.output_shape) else None

    def work(self, dtype: str) -> Work | None:
        """What cannot be left out; None where nothing is known of it."""
        layer = self.layer
        if layer is not None:
            return least_work(layer, dtype)
        if not self.macs and not self.least_bytes:
            return None
        return Work(self.flops, self.least_bytes or 0, convolution=False)

    @property
    def attained(self) -> float | None:
        """The bound ÷ the time of the layer alone."""
        return self.bound.seconds / self.time_s if self.bound is not None and self.time_s else None

    @property
    def warning(self) -> str | None:
        """What to know before trusting the row's time."""
        beaten = () if self.bound is None else self.bound.doubts(self.attained)
        seen = () if self.account is None else self.account.warnings
        return "; ".join(filter(None, (self.note, *beaten, *seen))) or None

    @property
    def padding(self) -> tuple[int, ...] | None:
        """Of the convolution, one size an axis (both sides are equal in torch)."""
        if self.conv is None:
            return None
        return tuple(
            before for before, _ in self.conv.explicit_padding(self.input_shape[-len(self.conv.kernel_size) :])
        )


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
class ModelReport:
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
    """

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
    columns: tuple[Column, ...] = MODEL_COLUMNS

    @property
    def rows(self) -> tuple[Call, ...]:
        """The rows of the table."""
        return self.layers

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

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `convcost model --format json`."""
        from convcost.text.columns import records

        totals = {
            "params": self.totals.params,
            "trainable_params": self.totals.trainable_params,
            "macs": self.totals.macs,
            "flops": self.totals.flops,
            "weight_bytes": self.totals.weight_bytes,
            "activation_bytes": self.totals.activation_bytes,
            "peak_activation_bytes": self.totals.peak_activation_bytes,
        }
        return {
            "schema": SCHEMA,
            "target": self.target,
            "inputs": list(self.inputs),
            "conditions": dict(self.conditions),
            "totals": totals,
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

    def to_frame(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame; naming the type would import pandas
        """The rows as a pandas DataFrame."""
        from convcost.text.export import frame

        return frame(self.columns, self.layers)

    def _repr_html_(self) -> str:
        """The rows as a notebook shows them."""
        from convcost.text.export import notebook

        return notebook(self.columns, self.layers, self.verdicts)

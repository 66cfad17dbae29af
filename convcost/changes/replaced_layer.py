"""A layer of a model with a block of the catalogue in its place, or the reason why it stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from convcost.changes.layer_cost import described
from convcost.changes.promise import TimedChange
from convcost.changes.replacement import cost_of
from convcost.convolution.cost import Cost, params
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.changes.replacement import Replacement
    from convcost.convolution.conv import Conv
    from convcost.models.call import Call
    from convcost.timing.statistics import Timing


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
        time_before_s: Median seconds per call of the layer alone; None if not timed.
        timing: Timing of the block alone, with its speed-up over the layer; None if not timed.
        fastest: Block of the layer in the fastest set of replacements; None if none was looked for.
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
    time_before_s: float | None = None
    timing: Timing | None = None
    fastest: str | None = None

    @property
    def block(self) -> str | None:
        """Name of the block; None for a layer that stays as it is."""
        return None if self.replacement is None else self.replacement.placed.block.name

    @property
    def warning(self) -> str | None:
        """Reasons not to trust the times; None without any."""
        return "; ".join(self.timing.warnings) or None if self.timing is not None else None

    @property
    def change(self) -> TimedChange:
        """All calls of the layer as a change of MACs and times."""
        after = None if self.timing is None else self.calls * self.timing.time_s
        before = None if self.time_before_s is None else self.calls * self.time_before_s
        return TimedChange(self.name, self.macs_before, self.macs_after, before, after)

    @property
    def params_ratio(self) -> float | None:
        """Parameters before ÷ after; None for a layer that stays as it is, or a block without any."""
        return self.params_before / self.params_after if self.replacement and self.params_after else None

    @property
    def macs_ratio(self) -> float | None:
        """MACs before ÷ after; None for a layer that stays as it is."""
        return self.macs_before / self.macs_after if self.replacement else None


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
    text = _text(op, conv)
    row = ReplacedLayer(name, text, None, len(calls), cost.params, cost.params, cost.macs, cost.macs)
    if isinstance(outcome, str):
        return replace(row, skipped=outcome)
    after = outcome.after
    new = replace(row, after=outcome.text, params_after=after.params, macs_after=after.macs, replacement=outcome)
    return replace(new, weight_error=outcome.weight_error)


def _text(op: str, conv: Conv | None) -> str:
    """A layer in words: `Conv2d 64→128, 3×3, stride 2`; its class alone if it is not exactly one convolution."""
    if conv is None:
        return op
    kernel, stride, dilation = map(format_sizes, (conv.kernel_size, conv.stride, conv.dilation))
    return described(op, f"{conv.in_channels}>{conv.out_channels}", kernel, stride, dilation, conv.groups)

"""What independent counters say of a block, beside what the formula says: plain values, no counter in sight."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from convcost.convolution.blocks import find_block
from convcost.convolution.cost import ITEMSIZE, Cost, cost
from convcost.convolution.tree import place, stages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.convolution.conv import Conv
    from convcost.convolution.layer import Layer
    from convcost.convolution.shape import Shape
    from convcost.convolution.spec import Block, Spec, Value
    from convcost.convolution.tree import Node
    from convcost.timing.account import Account
    from convcost.timing.bound import Bound, Work
    from convcost.timing.conditions import Conditions
    from convcost.timing.hints import Hint
    from convcost.timing.statistics import Timing


__all__ = ["Counts", "Difference", "Placed", "Row", "place_block"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One number on which a counter and the formula differ.

    Attributes:
        counter: who counted, such as "fvcore".
        stage: where, by the stage's name; "all stages" for the block's total.
        quantity: what, "MACs" or "parameters".
        predicted: by the formula.
        counted: by the counter, in the same unit.
    """

    counter: str
    stage: str
    quantity: str
    predicted: int
    counted: int

    def __str__(self) -> str:
        """Who, where, how much.

        >>> print(Difference("fvcore", "depthwise", "MACs", 576, 600))
        fvcore counts 600 MACs in depthwise, the formula 576 (24 more)
        """
        gap = self.counted - self.predicted
        how = f"{gap} more" if gap > 0 else f"{-gap} fewer"
        counted = f"{self.counter} counts {self.counted} {self.quantity} in {self.stage}"
        return f"{counted}, the formula {self.predicted} ({how})"


@dataclass(frozen=True, slots=True)
class Counts:
    """What the counters said of one block.

    Attributes:
        fvcore_macs: fvcore's MACs; None when it did not count the block at its real size.
        fvcore_params: fvcore's parameters; None when it did not count.
        torch_flops: torch's FLOPs, 2 a MAC; None when it did not count the block at its real size.
        agree: True when every counter counted and each equals the formula in every stage, at the size that was counted;
            False when one differs; None when one did not count and none differs.
        differences: where and by how much.
        note: the smaller size that was counted, or why a counter did not count.
    """

    fvcore_macs: int | None
    fvcore_params: int | None
    torch_flops: int | None
    agree: bool | None
    differences: tuple[Difference, ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A block placed on a spec's input: the predicted view.

    Attributes:
        block: of the catalogue.
        spec: the layer shape that was asked for.
        parameters: the block's own parameters, defaults worked out.
        tree: its stages.
        layers: its stages on their input shapes.
        output: the shape of the result.
        cost: summed over the stages, elements of the dtype asked for.
    """

    block: Block
    spec: Spec
    parameters: Mapping[str, Value]
    tree: Node
    layers: tuple[Layer, ...]
    output: Shape
    cost: Cost

    def works(self, dtype: str, *, fused: bool) -> tuple[Work, ...]:
        """What each stage cannot leave out; all together what lies at the ends, where a compiler may fuse the stages.

        Args:
            dtype: of the elements.
            fused: whether the stages run as one.
        """
        from convcost.timing.bound import (
            Work,
            least_work,
        )

        works = tuple(least_work(layer, dtype) for layer in self.layers)
        if not fused:
            return works
        skipped = cost(self.layers, dtype).traffic_bytes - sum(work.moved_bytes for work in works)
        ends = (self.spec.input.numel + self.cost.params + self.output.numel) * ITEMSIZE[dtype]
        return (Work(sum(work.flops for work in works), ends - skipped),)

    @property
    def convs(self) -> tuple[Conv, ...]:
        """The convolutions of the block."""
        return tuple(stage.conv for stage in stages(self.tree))

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """The largest kernel of the stages, axis by axis: a pointwise block is 1x1."""
        return tuple(map(max, zip(*(conv.kernel_size for conv in self.convs), strict=True)))

    @property
    def dilation(self) -> tuple[int, ...]:
        """The largest dilation of the stages, axis by axis."""
        return tuple(map(max, zip(*(conv.dilation for conv in self.convs), strict=True)))

    @property
    def stride(self) -> tuple[int, ...]:
        """The stride from the block's input to its output."""
        return tuple(map(prod, zip(*(conv.stride for conv in self.convs), strict=True)))

    @property
    def out_height(self) -> int:
        """Of the block's output."""
        return self.output.spatial[0]

    @property
    def out_width(self) -> int:
        """Of the block's output."""
        return self.output.spatial[1]

    @property
    def groups(self) -> int:
        """The largest number of groups of a stage."""
        return max(conv.groups for conv in self.convs)

    @property
    def mid_channels(self) -> int | None:
        """The output channels of the first stage, where a parameter of the block sets them."""
        sets_it = {"mid_channels", "rank", "expansion", "ghost_ratio", "partial"} & set(self.parameters)
        return self.convs[0].out_channels if sets_it else None

    @property
    def depth_multiplier(self) -> int | None:
        """Of the first depthwise stage; None for a block without one."""
        return self._own("depth_multiplier")

    @property
    def expansion(self) -> int | None:
        """Hidden channels per input channel; None for a block without this parameter."""
        return self._own("expansion")

    def _own(self, name: str) -> int | None:
        value = self.parameters.get(name)
        return value if isinstance(value, int) else None


def place_block(name: str, spec: Spec, given: Mapping[str, Value], dtype: str = "float32") -> Placed:
    """The predicted view of a block of the catalogue.

    Args:
        name: of the block.
        spec: the layer shape.
        given: parameters of single blocks, by name; those that this block does not have are ignored.
        dtype: of the elements, for the memory traffic.

    Raises:
        ConvcostError: no such block, or a shape that the block does not allow.
    """
    block = find_block(name)
    parameters = block.parameters(spec, given)
    tree = block.make(spec, **parameters)
    layers, output = place(tree, spec.input)
    return Placed(block, spec, parameters, tree, layers, output, cost(layers, dtype))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a comparison: three views of one block, and what they were seen under.

    Attributes:
        placed: the predicted view.
        dtype: of the elements.
        baseline: the predicted view of the block that ratios are relative to; None where the shape does not allow it.
        counts: the counted view; None when not counted.
        conditions: what the timing was made under; None when not timed.
        timing: the timed view; None when not timed.
        notes: of this row, beside those of the counts and the timing.
        account: where the time goes; None when not asked for.
        hint: what would make it faster; None when not asked for, or when nothing was found.
        bound: the time that cannot be beaten on this machine; None where it is not calibrated.
        reused_from: when the timing was measured, where it comes from the history; None where it was measured now.
    """

    placed: Placed
    dtype: str
    baseline: Placed | None = None
    counts: Counts | None = None
    conditions: Conditions | None = None
    timing: Timing | None = None
    notes: tuple[str, ...] = ()
    account: Account | None = None
    hint: Hint | None = None
    reused_from: str | None = None
    bound: Bound | None = None

    @property
    def params_ratio(self) -> float | None:
        """Parameters of the baseline ÷ of this block; None without a baseline or without parameters."""
        return self._ratio("params")

    @property
    def macs_ratio(self) -> float | None:
        """MACs of the baseline ÷ of this block; None without a baseline."""
        return self._ratio("macs")

    def _ratio(self, quantity: str) -> float | None:
        own = getattr(self.placed.cost, quantity)
        return None if self.baseline is None or not own else float(getattr(self.baseline.cost, quantity) / own)

    @property
    def flop_per_s(self) -> float | None:
        """FLOPs of the formula ÷ median time."""
        return None if self.timing is None or not self.timing.time_s else self.placed.cost.flops / self.timing.time_s

    @property
    def attained(self) -> float | None:
        """The bound ÷ median time: 1 is as fast as this machine can be."""
        return None if self.bound is None or self.timing is None else self.bound.seconds / self.timing.time_s

    @property
    def warning(self) -> str | None:
        """Everything that the reader must know before trusting the row."""
        counted = [] if self.counts is None else [*map(str, self.counts.differences), self.counts.note or ""]
        timed = () if self.timing is None else self.timing.warnings
        beaten = () if self.bound is None else self.bound.doubts(self.attained)
        seen = () if self.account is None else self.account.warnings
        return "; ".join(filter(None, (*self.notes, *counted, *timed, *beaten, *seen))) or None

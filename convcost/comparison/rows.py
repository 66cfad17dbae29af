"""The rows of a comparison: each block predicted by the formula, counted and timed, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap
from math import prod
from typing import TYPE_CHECKING, TypeAlias, cast

from convcost.convolution.blocks import PARAMETERS, find_block
from convcost.convolution.cost import ITEMSIZE, Cost, cost
from convcost.convolution.formula import holds, largest, quotient
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

    Placement: TypeAlias = tuple[Spec, dict[str, Value], Node, tuple[Layer, ...], Shape]


@dataclass(frozen=True, slots=True)
class Difference:
    """One number on which a counter and the formula differ.

    Attributes:
        counter: Name of the counter, such as "fvcore".
        stage: Name of the stage; "all stages" for the block's total.
        quantity: Counted quantity, "MACs" or "parameters".
        predicted: Number by the formula.
        counted: Number by the counter, in the same unit.
    """

    counter: str
    stage: str
    quantity: str
    predicted: int
    counted: int

    def __str__(self) -> str:
        """The difference in one sentence.

        >>> print(Difference("fvcore", "depthwise", "MACs", 576, 600))
        fvcore counts 600 MACs in depthwise, the formula 576 (24 more)
        """
        gap = self.counted - self.predicted
        excess = f"{gap} more" if gap > 0 else f"{-gap} fewer"
        counted = f"{self.counter} counts {self.counted} {self.quantity} in {self.stage}"
        return f"{counted}, the formula {self.predicted} ({excess})"


@dataclass(frozen=True, slots=True)
class Counts:
    """The results of the counters for one block.

    Attributes:
        fvcore_macs: MACs by fvcore; None if it did not count the block at its real size.
        fvcore_params: Parameters by fvcore; None if it did not count.
        torch_flops: FLOPs by torch, 2 per MAC; None if it did not count the block at its real size.
        agree: True if all counters agree with the formula in every stage, at the counted size; False if one differs;
            None if one did not count and none differs.
        differences: Differences from the formula.
        note: Smaller size that was counted, or reason why a counter did not count; None without either.
    """

    fvcore_macs: int | None
    fvcore_params: int | None
    torch_flops: int | None
    agree: bool | None
    differences: tuple[Difference, ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A block placed on the input of a spec, with its predicted cost.

    Attributes:
        block: Block of the catalogue.
        spec: Requested layer shape.
        parameters: Block's own parameters, with their defaults.
        tree: Stages of the block.
        layers: Stages placed on their input shapes.
        output: Output shape of the block.
        cost: Total cost of the stages, for elements of the requested dtype.
    """

    block: Block
    spec: Spec
    parameters: Mapping[str, Value]
    tree: Node
    layers: tuple[Layer, ...]
    output: Shape
    cost: Cost

    def works(self, dtype: str, *, fused: bool) -> tuple[Work, ...]:
        """The least work of each stage.

        Args:
            dtype: Dtype of the elements.
            fused: Whether a compiler may fuse the stages: one work then, with the traffic of input and output alone.
        """
        from convcost.timing.bound import Work, least_work

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
        """The largest kernel size of the stages on each axis."""
        return tuple(starmap(largest, zip(*(conv.kernel_size for conv in self.convs), strict=True)))

    @property
    def dilation(self) -> tuple[int, ...]:
        """The largest dilation of the stages on each axis."""
        return tuple(starmap(largest, zip(*(conv.dilation for conv in self.convs), strict=True)))

    @property
    def stride(self) -> tuple[int, ...]:
        """The stride from the block's input to its output."""
        return tuple(map(prod, zip(*(conv.stride for conv in self.convs), strict=True)))

    @property
    def groups(self) -> int:
        """The largest number of groups of a stage."""
        return largest(*(conv.groups for conv in self.convs))

    @property
    def mid_channels(self) -> int | None:
        """The output channels of the first stage; None if no parameter of the block sets them."""
        is_set = any(PARAMETERS[name].sets_mid for name in self.parameters)
        return self.convs[0].out_channels if is_set else None

    @property
    def depth_multiplier(self) -> int | None:
        """Output channels per input channel of the first depthwise stage; None for a block without this parameter."""
        return cast("int | None", self.parameters.get("depth_multiplier"))

    @property
    def expansion(self) -> int | None:
        """Hidden channels per input channel; None for a block without this parameter."""
        return cast("int | None", self.parameters.get("expansion"))


def place_block(name: str, spec: Spec, given: Mapping[str, Value], dtype: str = "float32") -> Placed:
    """Place a block of the catalogue.

    Args:
        name: Name of the block.
        spec: Layer shape.
        given: Parameters of blocks by name; those of other blocks are ignored.
        dtype: Dtype of the elements, for the memory traffic.

    Raises:
        ConvcostError: The block is unknown, or does not allow this shape.
    """
    block = find_block(name)
    placement = place_sizes(block, spec, given)
    return Placed(block, *placement, cost(placement[3], dtype))


def place_sizes(block: Block, spec: Spec, given: Mapping[str, Value]) -> Placement:
    """The fields of a placed block between the block and its cost.

    Raises:
        ShapeError: The block does not allow this shape.
    """
    parameters = block.parameters(spec, given)
    tree = block.make(spec, **parameters)
    return spec, parameters, tree, *place(tree, spec.input)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a comparison: one block as predicted, counted and timed.

    Attributes:
        placed: Block on its layer shape, with its predicted cost.
        dtype: Dtype of the elements.
        baseline: Block that ratios refer to; None if the shape does not allow it.
        counts: Results of the counters; None if not counted.
        conditions: Conditions of the timing; None if not timed.
        timing: Result of the timing; None if not timed.
        notes: Notes on this row, beside those of the counts and the timing.
        account: Account of the time; None if not requested.
        hint: Change that would make it faster; None if not requested, or if nothing helps.
        bound: Least possible time on this machine; None if it is not calibrated.
        reused_from: Date of a timing from the history; None for a new one.
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
        """Parameters of the baseline ÷ parameters of this block; None without a baseline or parameters."""
        return self._ratio("params")

    @property
    def macs_ratio(self) -> float | None:
        """MACs of the baseline ÷ MACs of this block; None without a baseline."""
        return self._ratio("macs")

    def _ratio(self, quantity: str) -> float | None:
        own = getattr(self.placed.cost, quantity)
        if self.baseline is None or holds(own == 0):
            return None
        return quotient(getattr(self.baseline.cost, quantity), own)

    @property
    def flop_per_s(self) -> float | None:
        """FLOPs by the formula ÷ median time; None without a timing."""
        return None if self.timing is None or not self.timing.time_s else self.placed.cost.flops / self.timing.time_s

    @property
    def attained(self) -> float | None:
        """The bound ÷ median time; 1 is the fastest possible; None without either."""
        return None if self.bound is None or self.timing is None else self.bound.seconds / self.timing.time_s

    @property
    def warnings(self) -> tuple[str, ...]:
        """All reasons not to trust the row."""
        counted = [] if self.counts is None else [*map(str, self.counts.differences), self.counts.note or ""]
        timed = () if self.timing is None else self.timing.warnings
        beaten = () if self.bound is None else self.bound.doubts(self.attained)
        accounted = () if self.account is None else self.account.warnings
        return tuple(filter(None, (*self.notes, *counted, *timed, *beaten, *accounted)))

    @property
    def warning(self) -> str | None:
        """All reasons not to trust the row, as one text; None without any."""
        return "; ".join(self.warnings) or None

"""What independent counters say of a block, beside what the formula says: plain values, no counter in sight."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counts", "Difference"]


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

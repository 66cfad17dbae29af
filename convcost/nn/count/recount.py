"""Whether a count holds for other inputs than those counted, on the CPU as on meta tensors, and at a second call."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._ops import HigherOrderOperator

from convcost.nn.count.tensors import tensors_in
from convcost.nn.load.placement import is_plain
from convcost.text.units import human_bytes, human_count, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from convcost.models.report import ModelReport, Totals

RECOUNT_SECONDS: Final = 60
"""Seconds that a model may take on the CPU, on one core."""
SEED: Final = 20261
"""Seed of the random inputs."""
VALUE_TAGS: Final = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})
"""Torch's tags of operators whose result depends on values in other ways than by arithmetic."""
VALUE_OPERATORS: Final = frozenset({"cond", "while_loop"})
"""Operators that take functions and choose by a value which of them to run, or how often."""
VALUE_FUNCTIONS: Final = frozenset({"tolist", "numpy", "__array__", "__dlpack__"})
"""Functions that give values to Python without an operator."""
MASKS: Final = frozenset({torch.bool, torch.uint8})
"""Dtypes of indices that choose elements by their values."""
METRICS: Final = ("params", "macs", "weight_bytes", "peak_activation_bytes")


def reads_values(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operator gives values to Python, or has an output whose shape depends on values."""
    if not may_read_values(func):
        return False
    return not func.name().startswith("aten::index.") or any(one.dtype in MASKS for one in tensors_in(args)[1:])


@cache
def may_read_values(func: Any) -> bool:
    """Whether what an operator does may depend on the values of tensors."""
    if isinstance(func, HigherOrderOperator):
        return str(func) in VALUE_OPERATORS
    return not VALUE_TAGS.isdisjoint(func.tags)


def too_large(totals: Totals) -> str | None:
    """Why a model is not run on the CPU; None if it may be."""
    from convcost.nn.count.size_limit import MAX_BYTES, MAX_EFFORT

    memory = (totals.weight_bytes or 0) + totals.peak_activation_bytes
    if totals.macs <= MAX_EFFORT and memory <= MAX_BYTES:
        return None
    return f"{human_count(totals.macs, 'MACs')} and {human_bytes(memory)} are too much"


def random_like(value: Any) -> Any:
    """A tensor of random numbers in the place of a tensor, small ones of integers, which may be indices."""
    if not isinstance(value, torch.Tensor) or not is_plain(value):
        return value
    if value.is_floating_point() or value.is_complex():
        return torch.randn(value.shape, dtype=torch.complex64 if value.is_complex() else torch.float32).to(value.dtype)
    return torch.randint(0, 2, value.shape).to(value.dtype)


def attributes_of(parts: Iterable[nn.Module]) -> list[object]:
    """The attributes of a model's parts, those of torch's own classes left out, with the items of lists and tables."""
    values: list[object] = []
    for part in parts:
        if not type(part).__module__.startswith("torch."):
            for value in vars(part).values():
                values.append(value)
                if isinstance(value, (list, dict, set)):
                    values += value.values() if isinstance(value, dict) else value
    return values


def doubts_between(first: ModelReport, other: ModelReport, where: str) -> dict[str, str]:
    """The metrics that differ between two counts of one model, with both figures; none where params and MACs agree.

    Args:
        first: The count that is judged.
        other: The other count.
        where: What the other count is, such as "in a second call".
    """
    if other.uncounted and not first.uncounted:
        return {"macs": f"no operation is uncounted here, but {number_of('operation', len(other.uncounted))} {where}"}
    pairs = {name: (getattr(first.totals, name), getattr(other.totals, name)) for name in METRICS}
    if all(len(set(pairs[name])) == 1 for name in ("params", "macs")):
        return {}
    step = "make the forward pass take one way"
    differing = {name: pair for name, pair in pairs.items() if None not in pair and len(set(pair)) > 1}
    return {name: f"{name} are {one:,}, but {two:,} {where}; {step}" for name, (one, two) in differing.items()}

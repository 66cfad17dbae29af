"""What autograd knows of a tensor beside its values, which a forward pass may change: kept, and restored."""

from __future__ import annotations

from contextlib import contextmanager
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, Final

from torch.nn.parameter import is_lazy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

_HOOKS: Final = ("_backward_hooks", "_post_accumulate_grad_hooks")
"""Attributes of tensors with their hooks by number; None before the first."""
_state: Final = attrgetter("requires_grad", "grad", *_HOOKS)


@contextmanager
def gradients_restored(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Whether leaves require a gradient, their gradients and their hooks, restored afterwards."""
    states = [(one, _state(one)) for one in tensors if one.is_leaf and not is_lazy(one)]
    hooks = [(table, dict(table)) for _, (_, _, *tables) in states for table in tables if table is not None]
    try:
        yield
    finally:
        for table, before in hooks:
            table.clear()
            table.update(before)
        for leaf, state in states:
            if not leaf.is_leaf or not all(map(is_, _state(leaf), state)):
                _restore(leaf, state)


def _restore(leaf: torch.Tensor, state: tuple[Any, ...]) -> None:
    is_required, gradient, *hooks = state
    if not leaf.is_leaf:
        leaf.detach_()
    if leaf.grad is not gradient:
        leaf.grad = gradient
    for name, table in zip(_HOOKS, hooks, strict=True):
        if getattr(leaf, name) is not table:
            setattr(leaf, name, table)
    if leaf.requires_grad is not is_required:
        leaf.requires_grad_(is_required)

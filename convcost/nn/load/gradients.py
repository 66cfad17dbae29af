"""What autograd knows of a tensor beside its values, which a forward pass may change: kept, and restored."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from torch.nn.parameter import is_lazy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

_HOOKS: Final = ("_backward_hooks", "_post_accumulate_grad_hooks")
"""Attributes of tensors with their hooks by number; None before the first."""


@contextmanager
def gradients_restored(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Whether leaves require a gradient, their gradients and their hooks, restored afterwards."""
    leaves = [one for one in tensors if one.is_leaf and not is_lazy(one)]
    states = [(one.requires_grad, one.grad, [_copied(getattr(one, name)) for name in _HOOKS]) for one in leaves]
    try:
        yield
    finally:
        for leaf, (is_required, gradient, hooks) in zip(leaves, states, strict=True):
            if not leaf.is_leaf:
                leaf.detach_()
            if leaf.grad is not gradient:
                leaf.grad = gradient
            for name, before in zip(_HOOKS, hooks, strict=True):
                _restore_hooks(leaf, name, before)
            if leaf.requires_grad is not is_required:
                leaf.requires_grad_(is_required)


def _copied(hooks: dict[int, Any] | None) -> dict[int, Any] | None:
    return None if hooks is None else dict(hooks)


def _restore_hooks(leaf: torch.Tensor, name: str, before: dict[int, Any] | None) -> None:
    hooks = getattr(leaf, name)
    if before is None:
        if hooks is not None:
            setattr(leaf, name, None)
    elif hooks != before:
        hooks.clear()
        hooks.update(before)

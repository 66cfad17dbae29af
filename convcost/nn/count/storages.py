"""The storage of a tensor, and a key that tells storages apart."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

import torch
from torch.nn.parameter import is_lazy

from convcost.nn.count.tensors import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """The one storage of a tensor; None if it is lazy, sparse, nested, or a wrapper without memory of its own."""
    if tensor.layout is not torch.strided or tensor.is_nested or (type(tensor) not in PLAIN and is_lazy(tensor)):
        return None
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # a wrapper of torch.func, or a subclass of its own kind
        return None


def key_of(tensor: torch.Tensor) -> int | None:
    """The `storage_key` of a tensor's one storage."""
    storage = storage_of(tensor)
    return None if storage is None else storage_key(storage)


storage_key: Final[Callable[[torch.UntypedStorage], int]] = attrgetter("_cdata")
"""A number that is the same for two tensors exactly when they share their storage, while it is alive.

It is torch's own key, since a meta storage has no other address.
"""

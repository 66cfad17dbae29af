"""Which activations are alive, by their storages: views share one, and a storage that is freed no longer counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Memory", "storage_key"]


def storage_key(tensor: torch.Tensor) -> int:
    """What two tensors have in common exactly when they share their storage."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - torch's own key for a storage


class Memory:
    """Follows the storages of activations.

    Args:
        weights: tensors that are no activations, parameters and buffers.
    """

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        self._weights = {storage_key(tensor) for tensor in weights if _has_storage(tensor)}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._now = 0
        self.peak = 0

    def see(self, tensors: Iterable[torch.Tensor]) -> list[tuple[int, int]]:
        """Take the outputs of an operator.

        Returns:
            Key and bytes of each storage that was not alive before.
        """
        for key in [key for key, (ref, _) in self._alive.items() if ref.expired()]:
            self._now -= self._alive.pop(key)[1]
        new = []
        for tensor in tensors:
            if not _has_storage(tensor):
                continue
            storage = tensor.untyped_storage()
            key = int(storage._cdata)  # noqa: SLF001 - torch's own key for a storage
            if key not in self._alive and key not in self._weights:
                size = int(storage.nbytes())
                self._alive[key] = (StorageWeakRef(storage), size)
                self._now += size
                new.append((key, size))
        self.peak = max(self.peak, self._now)
        return new


def _has_storage(tensor: torch.Tensor) -> bool:
    return not is_lazy(tensor) and tensor.layout == torch.strided and not tensor.is_nested

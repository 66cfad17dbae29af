"""The values and shapes of tensors that a forward pass overwrites, kept so that the pass leaves them as they were."""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._ops import OpOverload

from convcost.nn.count.storages import key_of, storage_of
from convcost.nn.count.tensors import tensors_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from convcost.nn.count.memory import Memory

_BATCH_NORM: Final = torch.ops.aten.native_batch_norm.default
_TRAINING: Final = 5
"""Index of the argument `training` of `_BATCH_NORM`."""
_STATISTICS: Final = ("running_mean", "running_var")
"""Arguments that `_BATCH_NORM` overwrites in training mode, though its schema does not say so."""


class KeptValues:
    """Copies of what is overwritten, each made before: parameters, inputs, and whatever else existed before the pass.

    Args:
        memory: The storages that the pass makes itself, which are not kept.
        inputs: Input tensors, which are kept.
    """

    def __init__(self, memory: Memory, inputs: Iterable[torch.Tensor]) -> None:
        self._memory = memory
        self._inputs = frozenset(map(key_of, inputs))
        self._shapes: dict[int, tuple[torch.Tensor, torch.UntypedStorage, tuple[Any, ...]]] = {}
        self._kept: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def before(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep what an operator is about to overwrite."""
        if func is _BATCH_NORM and not args[_TRAINING]:
            return
        for index, name in written(func):
            for tensor in tensors_in(args[index] if index < len(args) else kwargs.get(name)):
                storage, key = storage_of(tensor), key_of(tensor)
                if storage is None or key is None or (key not in self._inputs and self._memory.is_alive(key)):
                    continue
                if id(tensor) not in self._shapes:
                    self._shapes[id(tensor)] = tensor, storage, _place(tensor)
                if key not in self._kept and tensor.device.type != "meta":
                    self._kept[key] = storage, copy(storage)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Write all kept values back afterwards, and give tensors their shapes back."""
        try:
            yield
        finally:
            for storage, values in self._kept.values():
                if storage.nbytes() != values.nbytes():
                    storage.resize_(values.nbytes())
                storage.copy_(values)
            for tensor, storage, place in self._shapes.values():
                if _place(tensor) != place:
                    tensor.set_(storage, *place[1:])


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Where the elements of a tensor are: its storage, and the arguments of `set_` after it."""
    return key_of(tensor), tensor.storage_offset(), tensor.shape, tensor.stride()


@cache
def written(func: Any) -> tuple[tuple[int, str], ...]:
    """Index and name of the arguments that an operator overwrites."""
    if not isinstance(func, OpOverload):
        return ()
    return tuple(
        (index, one.name)
        for index, one in enumerate(func._schema.arguments)  # noqa: SLF001 - where torch keeps them
        if (one.alias_info is not None and one.alias_info.is_write) or (func is _BATCH_NORM and one.name in _STATISTICS)
    )

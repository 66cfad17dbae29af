"""Where tensors are put for a forward pass: each once, so that the same tensor stays the same."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from torch.nn.utils.rnn import PackedSequence

from convcost.nn.count.storages import key_of, storage_key, storage_of

if TYPE_CHECKING:
    from collections.abc import Callable

COPY: Final = "copy"
"""In place of a device: tensors stay where they are, as copies."""
META: Final = torch.device("meta")
_PLAIN: Final = frozenset({torch.Tensor, nn.Parameter})
"""The usual types of tensors, which are not lazy."""
_WITHOUT_TENSORS: Final = frozenset({bool, int, float, str, tuple, type(None), dict, OrderedDict, set})
"""The usual types of a module's other attributes, beside its tables of parameters and buffers."""


class Placement:
    """Tensors on a device, each put there once; those that share memory with an input share it there too.

    Args:
        device: The device; `COPY` for none.
        inputs: Where the inputs were put, if they were before.

    Attributes:
        storages: By key, the storage of an input and what it became.
        tensors: By id, each tensor and what it became; with the tensor, so that no other gets its id.
    """

    storages: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]]
    tensors: dict[int, tuple[torch.Tensor, torch.Tensor]]

    def __init__(self, device: str, inputs: Placement | None = None) -> None:
        self._device = device
        self.storages = {} if inputs is None else inputs.storages
        self.tensors = {} if inputs is None else dict(inputs.tensors)

    def of_input(self, value: Any) -> Any:
        """For the meta device, a tensor of the same sizes, strides and dtype; for other devices, the value itself.

        Quantised, sparse and nested tensors stay where they are. The number of sequences at each step of a packed
        sequence stays on the CPU, as torch wants it.
        """
        if isinstance(value, PackedSequence):
            return value._replace(data=self.of_input(value.data))
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in self.tensors:
            self.tensors[id(value)] = value, self._input(value)
        return self.tensors[id(value)][1]

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """A module's own tensor, moved as it was moved before, if it was."""
        known = self.tensors.get(id(tensor))
        if known is None:
            key = key_of(tensor) if self.storages else None
            shared = None if key is None else self.storages.get(key)
            placed = _moved(tensor, self._device) if shared is None else _within(shared, tensor)
            known = self.tensors[id(tensor)] = tensor, placed
        return known[1]

    def move_attributes(self, attributes: dict[str, Any]) -> None:
        """Move a module's own tensors, without `setattr`, which would run the user's checks.

        Args:
            attributes: The module's `vars`.
        """
        for tensors in (attributes.get("_parameters") or {}, attributes.get("_buffers") or {}):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = self.of(tensor)
        if _WITHOUT_TENSORS.issuperset(map(type, attributes.values())):
            return
        for name, value in attributes.items():
            if isinstance(value, torch.Tensor):
                attributes[name] = self.of(value)
            elif isinstance(value, list) and value and all(isinstance(item, torch.Tensor) for item in value):
                attributes[name] = [self.of(item) for item in value]

    def _input(self, tensor: torch.Tensor) -> torch.Tensor:
        if not is_plain(tensor):
            return tensor
        storage, is_moved = storage_of(tensor), self._device == "meta" and not tensor.is_meta
        if storage is None:
            return _moved(tensor, self._device) if is_moved else tensor
        key = storage_key(storage)
        if key not in self.storages:
            place = (
                torch.empty(storage.nbytes(), dtype=torch.uint8, device=META).untyped_storage() if is_moved else storage
            )
            self.storages[key] = storage, place
        return _within(self.storages[key], tensor)


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor has sizes and strides alone, unlike quantised, sparse and nested ones."""
    return tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_nested


def _within(storages: tuple[torch.UntypedStorage, torch.UntypedStorage], tensor: torch.Tensor) -> torch.Tensor:
    """A tensor in what its storage became; the tensor itself if that is the same."""
    own, place = storages
    if place is own:
        return tensor
    placed = torch.empty(0, dtype=tensor.dtype, device=META)
    placed = placed.set_(place, tensor.storage_offset(), tensor.shape, tensor.stride()).data  # unchanged so far
    return (nn.Parameter(placed) if isinstance(tensor, nn.Parameter) else placed).requires_grad_(tensor.requires_grad)


def _moved(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor on a device; quantized and sparse ones stay where they are."""
    if type(tensor) not in _PLAIN and is_lazy(tensor):
        lazy: Callable[..., torch.Tensor] = (
            UninitializedParameter if isinstance(tensor, UninitializedParameter) else UninitializedBuffer
        )
        place = tensor.device if device == COPY else device
        return lazy(requires_grad=tensor.requires_grad, device=place, dtype=tensor.dtype)
    if device == COPY:
        placed = tensor.detach().clone()
    elif not is_plain(tensor):
        return tensor
    elif device == "meta":
        if tensor.is_meta:
            return tensor
        placed = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)
    elif tensor.is_meta:
        placed = torch.zeros_like(tensor, device=device)
    elif tensor.device.type == device.partition(":")[0]:
        return tensor
    else:
        placed = tensor.detach().to(device)
    is_parameter = type(tensor) is not torch.Tensor and isinstance(tensor, nn.Parameter)
    return nn.Parameter(placed, tensor.requires_grad) if is_parameter else placed

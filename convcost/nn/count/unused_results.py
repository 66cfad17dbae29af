"""What torch's counter says of a model's operators one by one, to find those whose result nobody uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils._python_dispatch import TorchDispatchMode

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.nn.count.counters import torch_counter
from convcost.nn.count.storages import storage_key, storage_of
from convcost.nn.count.tensors import tensors_in
from convcost.system.signals import interruptible

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Operation:
    """A call of an operator.

    Attributes:
        macs: MACs by torch's counter.
        reads: Keys of the storages of its inputs.
        writes: Keys of the storages of its outputs.
    """

    macs: int
    reads: frozenset[int]
    writes: frozenset[int]


def unused_macs(operations: list[Operation], results: frozenset[int]) -> int:
    """MACs of the operators on whose outputs no result of the model depends.

    Args:
        operations: In the order of the forward pass.
        results: Keys of the storages of the model's outputs.
    """
    needed, unused = set(results), 0
    for operation in reversed(operations):
        if not operation.writes & needed:
            unused += operation.macs
            continue
        needed -= operation.writes - operation.reads  # before it is made, nobody needs it, or it is another's memory
        needed |= operation.reads
    return unused


def operations_of(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[list[Operation], frozenset[int]]:
    """The operators of one forward pass, and the keys of the storages of its outputs."""
    with torch_counter() as counter, _Operations(counter) as mode:
        out = interruptible(lambda: model(*args, **kwargs))
    return mode.operations, _storages(out)


class _Operations(TorchDispatchMode):
    """Notes each operator that it sees, with what the counter adds for it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False avoids the import of torch's dynamo, 800 modules."""
        return False

    def __init__(self, counter: Any) -> None:
        super().__init__()
        self._counter = counter
        self.operations: list[Operation] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator."""
        del types
        inputs = (args, kwargs or {})
        before = self._counter.get_total_flops()
        out = func(*args, **inputs[1])
        macs = (self._counter.get_total_flops() - before) // FLOPS_PER_MAC
        self.operations.append(Operation(macs, _storages(inputs), _storages(out)))
        return out


def _storages(values: Any) -> frozenset[int]:
    return frozenset(map(_key, tensors_in(values)))


def _key(tensor: torch.Tensor) -> int:
    """The key of a tensor's storage, which its views share; the tensor's own if it is sparse and has none."""
    storage = storage_of(tensor)
    return id(tensor) if storage is None else storage_key(storage)

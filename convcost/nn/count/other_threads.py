"""Results of threads that are not recorded, such as a worker that gets its work through a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from convcost.nn.count.isolation import run_isolated
from convcost.nn.count.storages import key_of
from convcost.nn.count.tensors import changes_of, tensors_in
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch
    from torch import nn

    from convcost.nn.count.memory import Memory

MAX_WAIT_S: Final = 2
"""Seconds that a forward pass may wait for threads that are not there, beyond the time that it takes."""
MAX_SLOWDOWN: Final = 20
"""How many times as long it may take in a process of one thread."""


def ends_only_with_others(run: Callable[[], object], seconds: float) -> bool:
    """Whether a forward pass does not end in a forked process, which has no other threads.

    Args:
        run: Runs it.
        seconds: The time that it takes here.
    """
    try:
        run_isolated(lambda: bool(run()), MAX_WAIT_S + MAX_SLOWDOWN * seconds)
    except ConvcostError:
        return True
    return False


class Suspicion:
    """Suspicion that another thread takes part in a forward pass: a tensor that no recorded operator made or changed.

    Attributes:
        place: Path of the module that uses the first such tensor; None without one.
        is_strong: Whether it is a meta tensor of unknown memory, as hardly anything else makes it.

    Args:
        memory: The storages that are known.
        parts: The module and its parts, whose tensors exist before the forward pass.
    """

    def __init__(self, memory: Memory, parts: Iterable[nn.Module]) -> None:
        self.place: str | None = None
        self.is_strong = False
        self._memory = memory
        own = [tensor for part in parts for tensor in tensors_in(dict(vars(part)))]
        self._known = set(map(key_of, own))
        self._versions: dict[int, int] = {}
        self.look_at(own, "")

    def look(self, func: Any, inputs: list[torch.Tensor], outputs: list[torch.Tensor], place: str) -> None:
        """Look at a recorded operator.

        Args:
            func: The operator.
            inputs: Tensors in its arguments.
            outputs: Tensors in its result, if they have storages of their own.
            place: Path of the module that runs it.
        """
        self.look_at(inputs, place)
        self._versions.update({key: version for _, key, version in _keyed(outputs)})
        if hasattr(func, "_schema") and func._schema.is_mutable:  # noqa: SLF001 - where torch keeps it
            for _, key, _ in _keyed(inputs):
                self._versions.pop(key, None)  # torch raises it when the operator has ended

    def look_at(self, tensors: list[torch.Tensor], place: str) -> None:
        """Look at tensors that are used in a module."""
        if self.place is not None:
            return
        for tensor, key, version in _keyed(tensors):
            is_known = key in self._known or self._memory.knows(key)
            if not is_known or version > self._versions.get(key, version):
                self.place, self.is_strong = place, not is_known and tensor.device.type == "meta"
        for _, key, version in _keyed(tensors):  # parts that torch calls unsafe count their own changes
            self._versions[key] = max(version, self._versions.get(key, 0))


def _keyed(tensors: Iterable[torch.Tensor]) -> Iterator[tuple[torch.Tensor, int, int]]:
    """Each tensor with the key of its storage and its number of changes in place, 0 in inference mode."""
    for tensor in tensors:
        key = key_of(tensor)
        if key is not None:
            yield tensor, key, changes_of(tensor)

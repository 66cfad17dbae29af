"""What the threads of one recorded forward pass share: its memory, its parts and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from convcost.nn.count import call_watch
from convcost.nn.count.kept_values import KeptValues
from convcost.nn.count.memory import Memory
from convcost.nn.count.other_threads import Suspicion
from convcost.nn.count.shape_rules import is_switched_off
from convcost.nn.count.tensors import members, shape_of, tensors_in
from convcost.system.threads import others_are_alive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn


DEPEND_ON_MODE: Final = {f"torch.nn.modules.{name}" for name in ("dropout", "batchnorm", "instancenorm", "rnn")}
"""Modules of torch whose classes compute something else in training."""


class Recording:
    """What all threads of one forward pass share.

    Args:
        module: The module that will be called.
        parts: It and its parts by path.
        inputs: Its input tensors, which are alive during the pass.
        device: Device of new tensors for which the model names none.
        shows_cpu: Whether meta tensors give their device as the CPU, and stay where they are when moved to it.

    Attributes:
        output: What the module returned; None before.
    """

    def __init__(
        self,
        module: nn.Module,
        parts: Mapping[str, nn.Module],
        inputs: Iterable[torch.Tensor],
        device: str,
        *,
        shows_cpu: bool = False,
    ) -> None:
        self.module = module
        self.parts = tuple(parts.values())
        self.output: Any = None
        self.device = torch.device(device)
        self.shows_cpu = shows_cpu
        self.device_read: str | None = None
        self.values_missed: str | None = None
        self.parameters: dict[str, nn.Parameter] = members(parts, "_parameters")
        buffers, inputs = members(parts, "_buffers").values(), list(inputs)
        self.memory = Memory(self.parameters.values(), buffers)
        self.has_complex = any(one.dtype.is_complex for one in (*self.parameters.values(), *buffers, *inputs))
        self.memory.add(inputs, are_inputs=True)
        self.kept = KeptValues(self.memory, inputs)
        self.suspicion = Suspicion(self.memory, parts.values()) if others_are_alive() else None
        self.names = {id(part): name for name, part in parts.items()}
        self.has_rules = not is_switched_off()
        self.is_over = False
        self.is_interrupted = False
        self.fault: Exception | None = None
        self.path = ""
        self.failed_shape: tuple[int, ...] | None = None
        self._failure = 0
        self.unseen: str | None = None
        self.values_read: dict[str, None] = {}
        self.training: dict[str, None] = {}

    def weights(self, parts: Mapping[str, nn.Module]) -> list[nn.Parameter]:
        """Parameters as they were before the call, although it may replace some; with those that it made anew.

        Those that operators used and no module holds, as in a plain list or a closure, are among them.

        Args:
            parts: The module and its parts after the call, by path.
        """
        made = [p for name, p in members(parts, "_parameters").items() if name not in self.parameters]
        return list({id(p): p for p in (*self.parameters.values(), *made, *self.memory.outside)}.values())

    def look_for_complex(self, tensors: Iterable[torch.Tensor]) -> None:
        """From the first complex tensor on, see convolutions as they are called: torch makes three of a complex one."""
        if not self.has_complex:
            for tensor in tensors:
                if tensor.dtype.is_complex:
                    self.has_complex = True
                    call_watch.watch_convolutions()
                    return

    def notice_call(self, module: nn.Module) -> None:
        """Remember that a thread that is not seen called a module of the model."""
        name = self.names.get(id(module))
        if name is not None:
            self.lose_sight(name or "the model")

    def path_outside(self, module: nn.Module) -> str:
        """The name of a module that the model does not hold; one that acts in another way in training is noted."""
        kind = type(module)
        home = kind.__module__
        if getattr(module, "training", False) and (home in DEPEND_ON_MODE or not home.startswith("torch.")):
            self.training[kind.__name__] = None
        return kind.__name__

    def lose_sight(self, what: str) -> None:
        """Remember that something runs in a thread that is not seen, which makes the rows incomplete."""
        self.unseen = what

    def note_values(self, what: str, path: str) -> None:
        """Remember that a function or operator read values of tensors."""
        self.values_read[self._place(what, path)] = None

    def note_device(self, path: str) -> None:
        """Remember that forward read the device of a tensor, which may decide what it does."""
        self.device_read = self.device_read or self._place("the device of a tensor", path)

    def note_missed(self, what: str, path: str) -> None:
        """Remember that a function raised, or gave what it gives for tensors with values alone, and forward went on."""
        self.values_missed = self.values_missed or self._place(what, path)

    def _place(self, what: str, path: str) -> str:
        """A function or operator by the name that a user calls it by, and where it is."""
        name = what.replace("local_scalar_dense", "item").strip("_")
        return f"{name} in {path or type(self.module).__name__}"

    def blame(self, error: BaseException, path: str, inputs: Any) -> None:
        """Remember the innermost module that an exception came from."""
        if id(error) != self._failure:
            self._failure, self.path = id(error), path
            tensors = tensors_in(inputs)
            self.failed_shape = shape_of(tensors[0]) if tensors else None

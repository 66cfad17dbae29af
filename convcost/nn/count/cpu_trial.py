"""A model that fails on meta tensors: whether it would run on the CPU, where tensors have values."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from convcost.nn.count.moved_bytes import total_bytes
from convcost.nn.load.meta_device import is_fake, move, parts_of, tensors_of
from convcost.system.processor import free_host_memory
from convcost.text.errors import ConvcostError, NeedsValuesError, first_line
from convcost.text.units import human_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

TRIAL_SECONDS: Final = 30
"""Seconds that a model may take on one core to show that it runs on the CPU."""
NEEDS_VALUES: Final = (
    *("meta tensor", "item()", "data-dependent", "no data", "Could not guard", "bool value of Tensor", "device meta"),
)
"""Parts of torch's messages for code that needs values, for a model that is too large to be tried on the CPU."""


class ForwardError(ConvcostError):
    """A forward pass raised.

    Args:
        message: What failed, why, and what the user can do.
        where: Line of the user's code, or the module.
    """

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.where = where

    @property
    def reason(self) -> str:
        """The first sentence of what was raised; torch's own advice, for another situation, comes after it."""
        text = first_line(self.__cause__ or self).partition(". ")[0].rstrip(".!")
        return "an internal check of torch fails" if "INTERNAL ASSERT" in text else text

    @property
    def names_meta(self) -> bool:
        """Whether torch's message is one of those for code that needs values."""
        return any(sign in str(self.__cause__) for sign in NEEDS_VALUES)

    @property
    def need(self) -> tuple[str, str]:
        """What a model that runs on the CPU needs, and why the meta device does not have it."""
        if "expected device" in self.reason:
            what = "uses a tensor that is in none of the model's modules, nor an input in a list or dict"
            return f"{self.where} {what}", "which was not moved to the meta device"
        return f"{self.where} needs the values of a tensor", "which a meta tensor does not have"

    def needs_values(self) -> NeedsValuesError:
        """The error for a model that runs where tensors have values."""
        return NeedsValuesError(f"{', '.join(self.need)} ({self.reason}); run it with device cpu.")


def is_small(model: nn.Module, inputs: Any) -> bool:
    """Whether weights and inputs are few enough to be allocated just to see whether the model runs."""
    from convcost.nn.count.size_limit import MAX_BYTES

    tensors = [*tensors_of(parts_of(model).values()), *tree_leaves(inputs)]
    return total_bytes(t for t in tensors if isinstance(t, torch.Tensor)) <= MAX_BYTES


def runs_on_cpu(run: Callable[[], object], failure: ForwardError, *, small: bool) -> bool:
    """Whether a model that failed on meta tensors runs on the CPU; judged by torch's message if it cannot be tried.

    Args:
        run: Loads and counts the model on the CPU.
        failure: What it raised on meta tensors.
        small: Whether there is memory for it.
    """
    from convcost.nn.count.isolation import can_isolate, run_isolated
    from convcost.system.child_process import ProcessEndedError

    if not small or not can_isolate():
        return failure.names_meta
    try:
        return run_isolated(lambda: bool(run()), TRIAL_SECONDS)
    except ProcessEndedError:
        return failure.names_meta
    except ConvcostError:
        return False


def require_values(model: nn.Module) -> None:
    """Refuse a model with weights of `FakeTensorMode`.

    Raises:
        ConvcostError: It has some.
    """
    if any(map(is_fake, tensors_of(parts_of(model).values()))):
        raise ConvcostError(
            "model must have weights with values, not those of FakeTensorMode; make it outside of that, or take device "
            "meta."
        )


def with_values(model: nn.Module) -> nn.Module:
    """The model, or a copy with zeros on the CPU if it has tensors on the meta device.

    Raises:
        ConvcostError: The copy needs more bytes than are free.
    """
    without = [tensor for tensor in tensors_of(parts_of(model).values()) if tensor.is_meta]
    if not without:
        return model
    needed, free = total_bytes(without), free_host_memory()
    if free is not None and needed > free:
        raise ConvcostError(
            f"model (={human_bytes(needed)}) must fit into memory, and {human_bytes(free)} are free; take device meta."
        )
    real = copy.deepcopy(model)
    move(parts_of(real).values(), "cpu")
    return real


def is_compiled(model: nn.Module) -> bool:
    """Whether a part is scripted or quantised: compiled code that may not run on meta tensors."""
    return any(
        isinstance(p, torch.jit.ScriptModule) or "quantized" in type(p).__module__ for p in parts_of(model).values()
    )

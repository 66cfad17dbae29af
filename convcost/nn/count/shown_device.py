"""What a forward pass notices of the device of its tensors, which may lead it another way than on the CPU."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils._pytree import tree_map

from convcost.nn.count.cpu_trial import TRIAL_SECONDS
from convcost.nn.count.isolation import can_isolate, run_isolated
from convcost.nn.count.old_types import asks_for_old_type
from convcost.nn.count.recount import METRICS, doubts_between
from convcost.nn.load.placement import META
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.models.report import ModelReport
    from convcost.nn.count.recording import Recording

ON_CPU: Final[dict[str, Any]] = {"device": torch.device("cpu"), "is_cpu": True, "is_meta": False}
"""Attributes of tensors that tell the meta device from the CPU, with what they are there."""
STORAGE_FUNCTIONS: Final = frozenset(
    {"data_ptr", "storage", "storage_type", "_typed_storage", "untyped_storage", "__repr__", "__format__"}
)
"""Functions that give the memory of a tensor, or a text with its values."""


def is_own_call() -> bool:
    """Whether the function that calls this one observes a call that convcost makes, not the model."""
    return str(sys._getframe(2).f_globals.get("__name__")).startswith("convcost.")  # noqa: SLF001 - `inspect` is slow


def kept_on_meta(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A function and its arguments, with the meta device in place of the CPU."""
    if func is torch.device:
        return func, args, kwargs
    if func is torch.Tensor.cpu:
        return torch.Tensor.to, (args[0], META), {}
    return func, *tree_map(
        lambda value: META if isinstance(value, torch.device | str) and str(value) == "cpu" else value, (args, kwargs)
    )


def doubts_of_device(
    counted: ModelReport,
    recording: Recording,
    shown: Callable[[], ModelReport],
    on_cpu: Callable[[], ModelReport],
    is_small: Callable[[], bool],
) -> tuple[dict[str, str], bool]:
    """Doubts where a forward pass on meta tensors noticed their device, and counts otherwise on the CPU.

    Most models that read a device create tensors there. So one that only read it is first counted once more on meta
    tensors that give it as the CPU, which is fast; the CPU itself decides where that count differs.

    Args:
        counted: The count on meta tensors.
        recording: What it recorded.
        shown: Counts on meta tensors that give their device as the CPU.
        on_cpu: Counts on the CPU.
        is_small: Whether the model is small enough for that.

    Returns:
        The doubts, and whether the CPU has decided.
    """
    missed = recording.values_missed or asks_for_old_type(recording.parts)
    notice = missed or recording.device_read
    if notice is None:
        return {}, False
    doubts: dict[str, str] | None = None
    if missed is None:
        try:
            doubts = doubts_between(counted, shown(), "on the CPU")
        except ConvcostError:
            doubts = None
        if doubts == {}:
            return {}, False
    reason = "it is too large"
    if is_small() and can_isolate():
        from convcost.system.child_process import ProcessEndedError

        try:
            return run_isolated(lambda: doubts_between(counted, on_cpu(), "on the CPU"), TRIAL_SECONDS), True
        except ProcessEndedError as error:
            reason = f"the process {error}"
        except ConvcostError as error:
            reason = str(error).rstrip(".")
    text = (
        f"{notice} may lead forward another way than on the CPU, where it was not counted ({reason}); take device cpu"
    )
    return doubts or dict.fromkeys(METRICS, text), False

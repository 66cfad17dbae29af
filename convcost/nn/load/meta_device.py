"""Modules on the meta device, where tensors have sizes and no values: moved for good, or for one forward pass."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def on_device(value: Any, device: str) -> Any:
    """For the meta device, a tensor of the same sizes, strides and dtype; for other devices, the value itself."""
    if not isinstance(value, torch.Tensor) or device != "meta" or value.device.type == "meta":
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def move(module: nn.Module, device: str) -> None:
    """Put a module's tensors on a device, in place; shared ones stay shared, unlike with `Module.to("meta")`.

    Tensors of the meta device have no values to move: elsewhere they are zeros.
    """
    moved: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for part in module.modules():
        _move_attributes(vars(part), device, moved)


@contextmanager
def restored_after(module: nn.Module, device: str) -> Iterator[None]:
    """The module in eval mode for one forward pass, after which it is exactly as it was.

    Every attribute of every submodule is restored, with its hooks and its class, whatever the pass did.

    Args:
        module: The module that will run.
        device: "meta" to run with meta tensors in place of its own; anything else to leave those.
    """
    parts = list(module.modules())
    saved = [(part, type(part), _snapshot(vars(part))) for part in parts]
    try:
        for part in parts:
            if not isinstance(part, torch.jit.ScriptModule):
                vars(part)["training"] = False
        if device == "meta":
            move(module, device)
        yield
    finally:
        for part, kind, attributes in saved:
            part.__class__ = kind
            _restore(vars(part), attributes)


def _snapshot(attributes: dict[str, Any]) -> dict[str, tuple[Any, dict[Any, Any] | None]]:
    """Each attribute, with a copy of its items where it is a dictionary (parameters, buffers, hooks)."""
    return {name: (value, dict(value) if isinstance(value, dict) else None) for name, value in attributes.items()}


def _restore(attributes: dict[str, Any], saved: dict[str, tuple[Any, dict[Any, Any] | None]]) -> None:
    attributes.clear()
    for name, (value, items) in saved.items():
        if items is not None:
            value.clear()
            value.update(items)
        attributes[name] = value


def _move_attributes(
    attributes: dict[str, Any], device: str, moved: dict[int, tuple[torch.Tensor, torch.Tensor]]
) -> None:
    """Move a module's own tensors, without `setattr`, which would run the user's checks.

    Args:
        attributes: The module's `vars`.
        device: Where to put them.
        moved: By id, each tensor moved so far with its original, which is kept so that no other gets its id.
    """

    def place(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in moved:
            moved[id(tensor)] = (_moved(tensor, device), tensor)
        return moved[id(tensor)][0]

    for name, value in list(attributes.items()):
        if name in {"_parameters", "_buffers"}:
            for key, tensor in value.items():  # a scripted module has no plain dictionary, nor its `update`
                if tensor is not None:
                    value[key] = place(tensor)
        elif isinstance(value, torch.Tensor):
            attributes[name] = place(value)
        elif isinstance(value, list) and value and all(isinstance(item, torch.Tensor) for item in value):
            attributes[name] = [place(item) for item in value]


def _moved(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor on a device; quantized and sparse ones stay where they are."""
    if is_lazy(tensor):
        kind: Callable[..., torch.Tensor] = (
            UninitializedParameter if isinstance(tensor, UninitializedParameter) else UninitializedBuffer
        )
        return kind(requires_grad=tensor.requires_grad, device=device, dtype=tensor.dtype)
    here = tensor.device.type
    if here == torch.device(device).type or tensor.is_quantized or tensor.layout != torch.strided:
        return tensor
    if here == "meta":
        placed = torch.zeros_like(tensor, device=device)
    else:
        placed = on_device(tensor, device) if device == "meta" else tensor.detach().to(device)
    return nn.Parameter(placed, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else placed

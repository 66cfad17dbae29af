"""A module that is borrowed: inside, it is on the meta device and in eval mode; afterwards it is as it was."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["borrowed", "on_device"]


@contextmanager
def borrowed(module: nn.Module, device: str) -> Iterator[None]:
    """Lend a module for one forward pass.

    Every attribute of every submodule, its hooks, its class and its mode are put back, whatever the pass did. With
    `device` "meta" the parameters, buffers and plain tensor attributes are replaced by meta tensors, and a
    shared one by one.

    Args:
        module: to be run.
        device: "meta", or anything else to leave the tensors where they are.
    """
    parts = list(module.modules())
    saved = [(part, type(part), _snapshot(vars(part))) for part in parts]
    try:
        memo: dict[int, Any] = {}
        for part in parts:
            if not isinstance(part, torch.jit.ScriptModule):
                vars(part)["training"] = False
            if device == "meta":
                _replace_tensors(vars(part), memo)
        yield
    finally:
        for part, kind, attributes in saved:
            part.__class__ = kind
            _restore(vars(part), attributes)


def _snapshot(attributes: dict[str, Any]) -> dict[str, tuple[Any, dict[Any, Any] | None]]:
    """Each attribute, and a copy of what it holds where it is a dictionary (parameters, buffers, hooks)."""
    return {name: (value, dict(value) if isinstance(value, dict) else None) for name, value in attributes.items()}


def _restore(attributes: dict[str, Any], saved: dict[str, tuple[Any, dict[Any, Any] | None]]) -> None:
    attributes.clear()
    for name, (value, content) in saved.items():
        if content is not None:
            value.clear()
            value.update(content)
        attributes[name] = value


def _replace_tensors(attributes: dict[str, Any], memo: dict[int, Any]) -> None:
    for name, value in list(attributes.items()):
        if name in {"_parameters", "_buffers"}:
            for key, tensor in value.items():
                if tensor is not None:
                    value[key] = _on_meta(tensor, memo)
        elif isinstance(value, torch.Tensor):
            attributes[name] = _on_meta(value, memo)
        elif isinstance(value, list) and value and all(isinstance(item, torch.Tensor) for item in value):
            attributes[name] = [_on_meta(item, memo) for item in value]


def _on_meta(tensor: torch.Tensor, memo: dict[int, Any]) -> Any:
    """One meta tensor for each tensor; `memo` also keeps the original, so that its id stays its own."""
    if id(tensor) not in memo:
        memo[id(tensor)] = (_fresh(tensor), tensor)
    return memo[id(tensor)][0]


def _fresh(tensor: torch.Tensor) -> torch.Tensor:
    if is_lazy(tensor):
        kind = UninitializedParameter if isinstance(tensor, UninitializedParameter) else UninitializedBuffer
        return kind(requires_grad=tensor.requires_grad, device="meta", dtype=tensor.dtype)  # type: ignore[call-arg]  # torch's stub lacks them
    if tensor.device.type == "meta" or tensor.is_quantized or tensor.layout != torch.strided:
        return tensor
    empty = on_device(tensor, "meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def on_device(value: Any, device: str) -> Any:
    """A tensor of the same sizes, strides and dtype on the meta device; elsewhere the tensor itself."""
    if not isinstance(value, torch.Tensor) or device != "meta" or value.device.type == "meta":
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")

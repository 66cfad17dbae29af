"""The tensors in the arguments and outputs of a call, whatever holds them."""

from __future__ import annotations

import inspect
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._C import _disabled_torch_dispatch_impl, _functorch, _get_tracing_state
from torch.utils._pytree import tree_leaves

from convcost.text.sizes import Input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WITHOUT_TENSORS: Final = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device, torch.Size})
"""Types of arguments that hold no tensor."""
PLAIN: Final = frozenset({torch.Tensor, torch.nn.Parameter})
"""The usual types of tensors, which are not lazy."""


def tensors_in(values: Any) -> list[torch.Tensor]:
    """The tensors in nested containers, in order; those of torch.func without their wrappers, all samples at once."""
    found: list[torch.Tensor] = []
    if type(values) in PLAIN:
        found.append(values)
    else:
        _collect(values, found)
    return found if _functorch.peek_interpreter_stack() is None else all_unwrapped(found)


def changes_of(tensor: torch.Tensor) -> int:
    """The number of changes in place of a tensor so far; 0 in inference mode, where torch does not count them."""
    return 0 if tensor.is_inference() else tensor._version  # noqa: SLF001 - torch documents it


def _collect(value: Any, found: list[torch.Tensor]) -> None:
    """The usual arguments are gone through here, much faster than by torch's trees."""
    kind = type(value)
    if kind in PLAIN:
        found.append(value)
    elif kind is tuple or kind is list or kind is dict:
        for item in value.values() if kind is dict else value:
            of_item = type(item)
            if of_item in PLAIN:
                found.append(item)
            elif of_item not in _WITHOUT_TENSORS:
                _collect(item, found)
    elif kind not in _WITHOUT_TENSORS:
        found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def members(parts: Mapping[str, torch.nn.Module], kind: str) -> dict[str, Any]:
    """The `_parameters` or `_buffers` of named parts by path, each under its first one."""
    found: dict[int, tuple[str, Any]] = {}
    for path, part in parts.items():
        for name, tensor in getattr(part, kind).items():
            if tensor is not None and id(tensor) not in found:
                found[id(tensor)] = (f"{path}.{name}" if path else name, tensor)
    return dict(found.values())


def all_unwrapped(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors inside the wrappers of vmap, grad and jvp."""
    return tensors if _functorch.peek_interpreter_stack() is None else [unwrapped(tensor) for tensor in tensors]


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor inside the wrappers of vmap, grad and jvp."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor


def samples_of(values: Any) -> int:
    """How many samples each sample of vmap in nested containers stands for; 1 outside of vmap."""
    if _functorch.peek_interpreter_stack() is None:
        return 1
    sizes: dict[int, int] = {}
    for leaf in tree_leaves(values):
        tensor = leaf
        while isinstance(tensor, torch.Tensor) and _functorch.is_functorch_wrapped_tensor(tensor):
            inner = _functorch.get_unwrapped(tensor)
            if _functorch.is_batchedtensor(tensor):
                sizes[_functorch.maybe_get_level(tensor)] = inner.shape[_functorch.maybe_get_bdim(tensor)]
            tensor = inner
    return prod(sizes.values())


def in_order(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The arguments in the order of the function's signature, however they were passed."""
    if not kwargs:
        return args
    try:
        return tuple(inspect.signature(function).bind(*args, **kwargs).arguments.values())
    except (TypeError, ValueError):  # a function of C has no signature; of a wrong call, the function itself complains
        first = [kwargs[name] for name in ("self", "input", "query") if name in kwargs]
        return (*args, *first, *(value for name, value in kwargs.items() if name not in {"self", "input", "query"}))


def tensor_text(tensor: torch.Tensor) -> str:
    """Shape and dtype as a user writes an input: `1x16:int64`."""
    return "nested" if tensor.is_nested else _text(shape_of(tensor), tensor.dtype)


@lru_cache(maxsize=4096)
def _text(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return str(Input(shape, _dtype_name(dtype)))


def dtype_text(tensor: torch.Tensor) -> str:
    """The dtype's name, such as `float32`."""
    return _dtype_name(tensor.dtype)


@cache
def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """Sizes of a tensor, which are tensors themselves while torch.jit traces; empty for a nested one."""
    if tensor.is_nested:
        return ()
    shape = tuple(tensor.shape)
    return shape if _get_tracing_state() is None else tuple(map(int, shape))


@cache
def has_own_dispatch(kind: type) -> bool:
    """Whether a subclass of Tensor runs operators itself, as nested and quantised tensors of Python do."""
    return getattr(kind, "__torch_dispatch__", None) is not _disabled_torch_dispatch_impl

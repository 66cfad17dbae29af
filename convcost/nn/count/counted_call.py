"""The model and inputs that a caller gives, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map

from convcost.nn.load.placement import Placement
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a call."""
_SHARED: Final = frozenset({list, dict})
"""Containers that a forward pass may change."""


class FunctionModule(nn.Module):
    """A module whose forward pass is a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)


def module_of(model: object) -> nn.Module:
    """The module, or a module around a function.

    Raises:
        ConvcostError: A class, or something that cannot be called.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, type):
        raise ConvcostError(
            f"model must be a torch.nn.Module, not the class {model.__name__}; call it to make a module."
        )
    if not callable(model):
        raise ConvcostError(
            f"model must be a torch.nn.Module, not a {type(model).__name__}; give a module or a function."
        )
    name = getattr(model, "__name__", type(model).__name__)
    named: type[FunctionModule] = type(name, (FunctionModule,), {})  # reports name a model by its class
    return named(model)


class PlacedCall:
    """The arguments of a call, and the same on a device.

    Attributes:
        given: The arguments of the caller.
        arguments: Those on the device.
        placement: Where their tensors were put.
    """

    def __init__(self, given: Arguments, device: str) -> None:
        self.given = given
        self.placement = Placement(device)
        self.arguments: Arguments = mapped(self.placement.of_input, given)


def call_of(inputs: object, kwargs: Mapping[str, Any] | None) -> Arguments:
    """Positional and keyword arguments of a call.

    Args:
        inputs: A sequence of arguments, or a single tensor.
        kwargs: Keyword arguments.

    Raises:
        ConvcostError: No sequence, or no mapping.
    """
    if not isinstance(kwargs, Mapping | None):
        raise ConvcostError(f"kwargs must be a dict of arguments by name, not a {type(kwargs).__name__}.")
    if isinstance(inputs, (PackedSequence, torch.Tensor)) or hasattr(inputs, "shape"):
        return (inputs,), dict(kwargs or {})  # one input, though it has items
    if isinstance(inputs, (str, Mapping)) or not isinstance(inputs, Iterable):
        raise ConvcostError(f"inputs must be a tuple of positional arguments, not a {type(inputs).__name__}.")
    return tuple(inputs), dict(kwargs or {})


def leaves_of(values: Any) -> list[Any]:
    """The values in nested containers; a packed sequence is one."""
    return tree_leaves(values, is_leaf=_is_packed)


def mapped(function: Callable[[Any], Any], values: Any) -> Any:
    """Nested containers with a function of each of their values; a packed sequence is one value.

    The same value gives the same result wherever it is, and the same list or dict the same one.
    """
    made: dict[int, tuple[Any, Any]] = {}  # with the value, so that no other gets its id

    def inside(value: Any) -> Any:
        return tree_map(once, value, is_leaf=lambda one: type(one) in _SHARED or _is_packed(one))

    def once(value: Any) -> Any:
        if id(value) not in made:
            if type(value) is list:
                new: Any = [*map(inside, value)]
            elif type(value) is dict:
                new = {key: inside(item) for key, item in value.items()}
            else:
                new = function(value)
            made[id(value)] = new, value
        return made[id(value)][0]

    return inside(values)


def _is_packed(value: object) -> bool:
    return isinstance(value, PackedSequence)


def kind_without_meta(value: object) -> str | None:
    """The kind of an input that has no meta tensor of its sizes."""
    if not isinstance(value, torch.Tensor) or value.device.type == "meta":
        return None
    if value.is_nested:
        return "nested"
    if value.is_quantized:
        return "quantised"
    return None if value.layout is torch.strided else "sparse"

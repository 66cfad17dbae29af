"""Modules on the meta device, where tensors have sizes and no values: moved for good, or for one forward pass."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convcost.nn.load.placement import COPY, Placement
from convcost.system.processor import free_host_memory
from convcost.system.signals import interruptible
from convcost.text.errors import ConvcostError
from convcost.text.units import human_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_CONTAINERS: Final = (dict, list, set, deque)
"""Types of attributes whose items the forward pass may change."""
_SET_BY_EXPORT: Final = frozenset({"eval", "train"})
"""Methods that the module of an exported program has as attributes."""
_FLEX_ATTENTION: Final = "torch.nn.attention.flex_attention"
_LOCK: Final = RLock()
_CHECKS: Final[list[Any]] = []
"""The check of devices that was replaced, once for each run that needs it so."""
_methods: Final = attrgetter("eval", "train", "__setattr__")
"""What `eval` calls."""


def require_memory(needed: int) -> None:
    """Refuse inputs that do not fit into the memory together with an output of their size.

    Raises:
        ConvcostError: They need more bytes than are free.
    """
    free = free_host_memory()
    if free is not None and 2 * needed > free:
        raise ConvcostError(
            f"input (={human_bytes(needed)}) must fit into memory twice, for a layer's output too, and "
            f"{human_bytes(free)} are free; take a smaller input or batch, or device meta."
        )


def is_fake(value: object) -> bool:
    """Whether a value is a tensor of `FakeTensorMode`, which names a device but has no values."""
    return isinstance(value, torch._subclasses.FakeTensor)  # noqa: SLF001 - where torch keeps the class


def parts_of(module: nn.Module) -> dict[str, nn.Module]:
    """The module and its parts by path, each once, whatever its class makes of `named_modules`."""
    parts: dict[str, nn.Module] = {}
    known: set[int] = set()
    left = [("", module)]
    while left:
        path, part = left.pop()
        if id(part) not in known:
            known.add(id(part))
            parts[path] = part
            inner = part._modules  # noqa: SLF001 - `named_children` may be overridden too
            if inner:
                start = f"{path}." if path else ""
                left += [(start + name, one) for name, one in reversed([*inner.items()]) if one is not None]
    return parts


def tensors_of(parts: Iterable[nn.Module]) -> list[torch.Tensor]:
    """The parameters and buffers of a module's parts, whatever their classes make of `parameters`."""
    held = [tensors for part in parts for tensors in (part._parameters, part._buffers) if tensors]  # noqa: SLF001 - as above
    return [tensor for tensors in held for tensor in tensors.values() if tensor is not None]


def move(parts: Iterable[nn.Module], device: str, inputs: Placement | None = None) -> None:
    """Put the tensors of a module's parts on a device, in place; unlike with `Module.to("meta")`, shared ones stay so.

    Tensors of the meta device have no values to move: elsewhere they are zeros. Those of scripted parts stay.

    Args:
        parts: The module and its parts.
        device: Where to put the tensors.
        inputs: Where the inputs of the module were put, which may be, or share memory with, its own tensors.
    """
    placement = Placement(device, inputs)
    for part in parts:
        if not isinstance(part, torch.jit.ScriptModule):
            placement.move_attributes(vars(part))


@contextmanager
def restored_after(parts: Collection[nn.Module], device: str, inputs: Placement | None = None) -> Iterator[None]:
    """A module ready for one forward pass, after which it is exactly as it was.

    Every attribute of every submodule is restored, with its hooks and its class, whatever the pass did. Buffers, which
    the pass may change in place, are copies; so are weights that `eval` may (a `train` of its own may merge them).
    Lists and dicts that are attributes, or lie in such ones, get their items back; objects of other classes are left.

    Args:
        parts: The module that will run, and its parts.
        device: "meta" to run with meta tensors in place of its own; anything else to leave those.
        inputs: Where its inputs were put.
    """
    saved = [(part, type(part), vars(part).copy()) for part in parts]
    empty, filled = _containers_in([value for _, _, attributes in saved for value in attributes.values()])
    weights = [p for part in parts for p in _own_weights(part) if (p.is_meta or device != "meta") and not is_lazy(p)]
    values = [weight.data for weight in weights]
    scripted = [(part, part.training) for part in parts if _has_scripted_mode(part)]
    try:
        if device == "meta":
            move(parts, device, inputs)
        elif any(map(_folds, parts)):
            move(parts, COPY)
        else:
            _copy_changing(parts, inputs)
        yield
    finally:
        for part, kind, attributes in saved:
            if type(part) is not kind:
                part.__class__ = kind
            _refill(vars(part), attributes)
        for value, items in filled:
            _refill(value, items)
        for value in filter(None, empty):
            value.clear()
        for weight, data in zip(weights, values, strict=True):
            weight.data = data
        for part, mode in scripted:
            part.training = mode


def knows_flex_attention() -> bool:
    """Whether flex attention is loaded, so that `any_device_allowed` has an effect."""
    return _FLEX_ATTENTION in sys.modules


@contextmanager
def any_device_allowed() -> Iterator[None]:
    """Let flex attention, which refuses devices by a list, run on the meta device; nothing if it is not loaded.

    The last of several threads ends this.
    """
    home = sys.modules.get(_FLEX_ATTENTION)
    check = "_validate_device"
    if home is None or not hasattr(home, check):
        yield
        return
    with _LOCK:
        before = _CHECKS[0] if _CHECKS else vars(home)[check]
        _CHECKS.append(before)
        setattr(home, check, lambda *_: None)
    try:
        yield
    finally:
        with _LOCK:
            _CHECKS.pop()
            if not _CHECKS:
                setattr(home, check, before)


def switch_to_eval(module: nn.Module, named: dict[str, nn.Module], device: str) -> dict[str, nn.Module]:
    """Put a module into eval mode by its own method, unless all its parts are; inside `restored_after`.

    Args:
        module: The module.
        named: It and its parts by path.
        device: Device of its tensors, and of those that its own method makes.

    Returns:
        Its parts afterwards, since a method of its own may replace some.
    """
    parts = named.values()
    training = [part for part in parts if getattr(part, "training", False)]
    if not training:
        return named
    is_usual = all(_methods(kind) == _methods(nn.Module) for kind in set(map(type, parts)))
    is_exported = not all(vars(part).keys().isdisjoint(_SET_BY_EXPORT) for part in parts)
    if is_usual and not is_exported:
        for part in training:  # what `eval` does, in less time
            vars(part)["training"] = False
        return named
    from convcost.nn.load.by_shape_rules import ByShapeRules

    try:
        with nullcontext() if device != "meta" else ByShapeRules(), torch.device(device):
            interruptible(module.eval)
    except NotImplementedError:
        if not is_exported:
            raise
        for part in parts:  # an exported program has the mode of its export
            vars(part)["training"] = False
    return parts_of(module)


def _has_scripted_mode(part: nn.Module) -> bool:
    """Whether the mode is an attribute of TorchScript, which `vars` does not show; a frozen module has none."""
    return isinstance(part, torch.jit.ScriptModule) and hasattr(part, "training")


def _folds(part: nn.Module) -> bool:
    """Whether a part in training mode may change its weights in `eval`, by a method of its own."""
    kind = type(part)
    is_own = kind.train is not nn.Module.train or kind.eval is not nn.Module.eval
    return is_own and part.training and not isinstance(part, torch.jit.ScriptModule)


def _copy_changing(parts: Iterable[nn.Module], inputs: Placement | None) -> None:
    """Put a copy in the place of each buffer and lazy parameter, but of those of inputs; shared ones stay shared."""
    placement = Placement(COPY, inputs)
    for part in parts:
        if not isinstance(part, torch.jit.ScriptModule):
            lazy = {"_parameters": vars(part)["_parameters"]} if any(map(is_lazy, _own_weights(part))) else {}
            placement.move_attributes({"_buffers": vars(part)["_buffers"], **lazy})


def _own_weights(part: nn.Module) -> list[nn.Parameter]:
    """The parameters of a part itself."""
    return [weight for weight in part._parameters.values() if weight is not None]  # noqa: SLF001 - `parameters` may be the user's


def _containers_in(values: list[Any]) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """The containers among values, and those that lie in them, at any depth: the empty ones, and others with a copy."""
    empty: list[Any] = []
    filled: dict[int, tuple[Any, Any]] = {}
    while values:
        kinds = {kind for kind in set(map(type, values)) if issubclass(kind, _CONTAINERS)}
        held = [value for value in values if type(value) in kinds]
        empty += [value for value in held if not value]
        values = []
        for value in held:
            if value and id(value) not in filled:
                items: Any = dict(value) if isinstance(value, dict) else list(value)
                filled[id(value)] = value, items
                values += items.values() if isinstance(value, dict) else items
    return empty, list(filled.values())


def _refill(values: Any, items: Any) -> None:
    """Give a container the items that it had, in their order."""
    if not isinstance(values, dict):
        values.clear()
        (values.update if isinstance(values, set) else values.extend)(items)
        return
    values.update(items)  # never empty: a module without its attributes would not even have a representation
    if len(values) != len(items):
        for name in values.keys() - items.keys():
            del values[name]
    if [*values] != [*items]:
        for name in items:
            values[name] = values.pop(name)

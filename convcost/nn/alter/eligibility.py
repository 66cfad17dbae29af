"""Which convolution modules of a model could be replaced, and why others cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from convcost.nn.load.meta_device import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from convcost.models.call import Call

_AXES: Final[Mapping[type[nn.Module], int]] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
_HOOKS: Final = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
"""Attributes of a module with the hooks that run with it."""
_HOOKS_OF_TENSORS: Final = ("_backward_hooks", "_post_accumulate_grad_hooks")
"""Attributes of a parameter with the hooks that run with its gradient."""


def obstacles(model: nn.Module, calls: Mapping[str, Sequence[Call]]) -> dict[str, str | None]:
    """The convolutions of a model by path, each with the reason why it cannot be replaced; None where it can.

    Args:
        model: The model; nothing of it is changed.
        calls: Calls of each module by its path, and functional calls of convolutions by their names.
    """
    parts = parts_of(model)
    fixed, owners, places = dict(_fixed_parts(parts)), _owners(parts), _places(parts)
    found: dict[str, str | None] = {}
    for path, part in parts.items():
        own = calls.get(path, ())
        if isinstance(part, _ConvNd):
            found[path] = _in_fixed_part(path, fixed) or next(_own_obstacles(part), None)
            shared = places.get(id(part), set()) if len(own) > 1 else set()
            shared = shared.union(*(owners[id(one)] for one in part._parameters.values() if one is not None))  # noqa: SLF001 - as below
            if found[path] is None and shared > {path}:
                found[path] = f"it shares weights with {min(shared - {path}) or 'the model'}"
        elif any(call.conv is not None for call in own):
            found[path] = _in_fixed_part(path, fixed) or f"{type(part).__name__} is no convolution of torch.nn"
    for path in fixed:
        if any(call.macs for call in calls.get(path, ())):
            found.setdefault(path, _in_fixed_part(path, fixed))
    for name in calls.keys() - parts.keys():
        is_function = calls[name][0].is_function
        found[name] = f"{'a call of a function' if is_function else 'made by forward'}: there is no module to replace"
    return found


def is_lazy_module(module: nn.Module) -> bool:
    """Whether a module has no weight before its first call."""
    return isinstance(module, LazyModuleMixin)


def _own_obstacles(module: _ConvNd) -> Iterator[str]:
    """What in the module itself a block would not keep; each holds where those before it do not."""
    kind = type(module)
    if is_lazy_module(module):
        yield "lazy: it has no weight before its first call; run the model once"
    if is_parametrized(module) or "weight" not in module._parameters:  # noqa: SLF001 - `parameters` names a computed weight otherwise
        yield "its weight is computed by a parametrisation, weight_norm or pruning; remove that first"
    if isinstance(module, _ConvTransposeNd):
        yield "transposed: the blocks of the catalogue are not"
    if kind not in _AXES:
        yield f"{kind.__name__} is a subclass, which may do more than convolve"
    if _AXES[kind] != 2:  # noqa: PLR2004 - the axes of an image
        yield f"{_AXES[kind]}-D: the blocks of the catalogue are 2-D"
    if module.padding_mode != "zeros":
        yield f"its padding_mode is {module.padding_mode}: the blocks of the catalogue pad zeros"
    yield from _attached(module)


def _attached(module: _ConvNd) -> Iterator[str]:
    """What is attached to a plain convolution that a block would not keep."""
    if type(module.weight) is not nn.Parameter:
        yield f"its weight is a {type(module.weight).__name__}, no plain parameter"
    if module.weight.is_complex():
        yield "its weights are complex numbers"
    tensors = [one for one in module._parameters.values() if one is not None]  # noqa: SLF001 - as above
    hooks = [getattr(one, name, None) for one in tensors for name in _HOOKS_OF_TENSORS]
    if any(hooks) or any(getattr(module, name) for name in _HOOKS):
        yield "it has hooks, which a block would lose; remove them first"
    held = {*module._parameters, *module._buffers, *module._modules} - {"weight", "bias"}  # noqa: SLF001 - as above
    if held:
        yield f"it holds {', '.join(sorted(held))} too, which a block would lose"
    if "forward" in vars(module):
        yield "its forward was replaced"


def _fixed_parts(parts: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    """The parts whose inside cannot be changed, each with the reason."""
    for path, part in parts.items():
        if isinstance(part, torch.jit.ScriptModule):
            yield path, "scripted"
        elif part._compiled_call_impl is not None or type(part).__name__ == "OptimizedModule":  # noqa: SLF001 - torch has no public test
            yield path, "compiled"
        elif "quantized" in type(part).__module__:
            yield path, "quantised"


def _in_fixed_part(path: str, fixed: Mapping[str, str]) -> str | None:
    for outer, reason in fixed.items():
        if path == outer or not outer or path.startswith(f"{outer}."):
            return f"inside {outer or 'the model'}, which is {reason}; replace layers first"
    return None


def _owners(parts: Mapping[str, nn.Module]) -> dict[int, set[str]]:
    """The paths of the modules that hold each parameter."""
    owners: dict[int, set[str]] = {}
    for path, part in parts.items():
        for parameter in part._parameters.values():  # noqa: SLF001 - `parameters` may be the user's
            if parameter is not None:
                owners.setdefault(id(parameter), set()).add(path)
    return owners


def _places(parts: Mapping[str, nn.Module]) -> dict[int, set[str]]:
    """The paths of each module, which may be in several places."""
    places: dict[int, set[str]] = {}
    for path, part in parts.items():
        for name, inner in part._modules.items():  # noqa: SLF001 - `named_children` may be the user's
            places.setdefault(id(inner), set()).add(f"{path}.{name}" if path else name)
    return places

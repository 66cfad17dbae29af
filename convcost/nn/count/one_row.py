"""The modules whose call is one row of a trace."""

from __future__ import annotations

from types import FunctionType
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

ONE_ROW: Final = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, _ConvNd, nn.Linear, nn.Bilinear)
"""Modules whose call is one row although they, or their subclasses, have submodules."""


class Kind:
    """What a class of modules is to a trace.

    Attributes:
        name: Name of the class.
        torch_name: Name of the class of torch that it is or is derived from; None without one.
        is_scripted: Whether its modules are compiled by TorchScript.
    """

    def __init__(self, kind: Any) -> None:
        of_torch = [base for base in kind.__mro__ if base.__module__.startswith("torch.")]
        self.name = kind.__name__
        self.torch_name = of_torch[0].__name__ if of_torch else None
        self.is_scripted = issubclass(kind, torch.jit.ScriptModule)
        methods = {name: value for base in of_torch for name, value in vars(base).items() if base is not nn.Module}
        codes = (value.__code__ for value in methods.values() if isinstance(value, FunctionType))
        self._methods = {"forward", *(name for code in codes for name in code.co_names if name in methods)}
        is_observed = self.is_scripted or kind is nn.MultiheadAttention
        self._is_torchs = kind in of_torch and not is_observed and _is_torchs(kind.forward)
        self._kind: Any = kind if self._is_torchs else None  # a class of the user's is not kept alive
        self._forward = kind.forward if self._is_torchs else None
        self._is_one_row = self.is_scripted or issubclass(kind, ONE_ROW)
        self._has_purpose = any(base is not nn.Module for base in of_torch)

    def is_one_row(self, module: nn.Module) -> bool:
        """Whether a call of a module of this class is one row."""
        return self._is_one_row or (self._has_purpose and not vars(module)["_modules"])

    def needs_no_observer(self, module: nn.Module) -> bool:
        """Whether a call of a module of this class runs torch's Python alone: no hook, part or replaced method.

        Attention is observed all the same: it would run by other operators than on meta tensors and for other counters.
        """
        own = vars(module)
        return (
            self._is_torchs
            and not (own["_forward_pre_hooks"] or own["_forward_hooks"] or own["_modules"])
            and self._kind.forward is self._forward
            and own.keys().isdisjoint(self._methods)
            and not (_global_forward_pre_hooks or _global_forward_hooks)
        )


def _is_torchs(forward: object) -> bool:
    """Whether a method is written in torch; the program may have replaced that of a class."""
    return isinstance(forward, FunctionType) and str(forward.__globals__.get("__name__")).startswith("torch.")


_KINDS: Final[WeakKeyDictionary[type, Kind]] = WeakKeyDictionary()


def kind_of(module: nn.Module) -> Kind:
    """What the class of a module is to a trace."""
    kind = type(module)
    known = _KINDS.get(kind)
    if known is None:
        known = _KINDS[kind] = Kind(kind)
    return known


def is_one_row(module: nn.Module) -> bool:
    """Whether a call of the module is one row: torch's modules without submodules, and those of `ONE_ROW`."""
    return kind_of(module).is_one_row(module)

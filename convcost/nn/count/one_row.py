"""The modules whose call is one row of a trace."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

ONE_ROW: Final = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, _ConvNd, nn.Linear, nn.Bilinear)
"""Modules whose call is one row although they, or their subclasses, have submodules."""


class Kind:
    """What a class of modules is to a trace.

    Attributes:
        name: Name of the class.
        torch_name: Name of the class of torch that it is or is derived from; None without one.
        is_torchs: Whether the class is one of torch's own.
        is_scripted: Whether its modules are compiled by TorchScript.
    """

    def __init__(self, kind: type) -> None:
        of_torch = [base for base in kind.__mro__ if base.__module__.startswith("torch.")]
        self.name = kind.__name__
        self.torch_name = of_torch[0].__name__ if of_torch else None
        self.is_torchs = kind in of_torch
        self.is_scripted = issubclass(kind, torch.jit.ScriptModule)
        self._is_one_row = self.is_scripted or issubclass(kind, ONE_ROW)
        self._has_purpose = any(base is not nn.Module for base in of_torch)

    def is_one_row(self, module: nn.Module) -> bool:
        """Whether a call of a module of this class is one row."""
        return self._is_one_row or (self._has_purpose and not vars(module)["_modules"])


_kind: Final = lru_cache(maxsize=256)(Kind)


def kind_of(module: nn.Module) -> Kind:
    """What the class of a module is to a trace."""
    kind: type = type(module)
    return _kind(kind)


def is_one_row(module: nn.Module) -> bool:
    """Whether a call of the module is one row: torch's modules without submodules, and those of `ONE_ROW`."""
    return kind_of(module).is_one_row(module)

"""The modules whose call is one row of a trace."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

ONE_ROW: Final = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, _ConvNd, nn.Linear, nn.Bilinear)
"""Modules whose call is one row although they, or their subclasses, have submodules."""


class Kind(NamedTuple):
    """What a class of modules is to a trace.

    Attributes:
        name: Name of the class.
        torch_name: Name of the class of torch that it is or is derived from; None without one.
        is_torchs: Whether the class is one of torch's own.
        is_scripted: Whether its modules are compiled by TorchScript.
        is_one_row: Whether a call is one row, whatever parts the module has.
        is_row_alone: Whether a call is one row if the module has no parts.
    """

    name: str
    torch_name: str | None
    is_torchs: bool
    is_scripted: bool
    is_one_row: bool
    is_row_alone: bool

    def is_row_of(self, module: nn.Module) -> bool:
        """Whether a call of a module of this class is one row."""
        return self.is_one_row or (self.is_row_alone and not vars(module)["_modules"])


def kind_of(module: nn.Module) -> Kind:
    """What the class of a module is to a trace."""
    kind: type = type(module)
    return _of_class(kind)


@lru_cache(maxsize=256)
def _of_class(kind: type) -> Kind:
    of_torch = [base for base in kind.__mro__ if base.__module__.startswith("torch.")]
    is_scripted = issubclass(kind, torch.jit.ScriptModule)
    return Kind(
        kind.__name__,
        of_torch[0].__name__ if of_torch else None,
        kind in of_torch,
        is_scripted,
        is_scripted or issubclass(kind, ONE_ROW),
        bool({*of_torch} - {nn.Module}),
    )


def is_one_row(module: nn.Module) -> bool:
    """Whether a call of the module is one row: torch's modules without submodules, and those of `ONE_ROW`."""
    return kind_of(module).is_row_of(module)

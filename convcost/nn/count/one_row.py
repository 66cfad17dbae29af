"""The modules whose call is one row of a trace."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

ONE_ROW: Final = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, _ConvNd, nn.Linear, nn.Bilinear)
"""Modules whose call is one row although they, or their subclasses, have submodules."""
_ALWAYS_ONE_ROW: Final = (torch.jit.ScriptModule, *ONE_ROW)


def is_one_row(module: nn.Module) -> bool:
    """Whether a call of the module is one row: torch's modules without submodules, and those of `ONE_ROW`."""
    if isinstance(module, _ALWAYS_ONE_ROW):
        return True
    kind: type = type(module)
    return _is_of_torch(kind) and not vars(module)["_modules"]


@lru_cache(maxsize=256)
def _is_of_torch(kind: type) -> bool:
    """Whether a class of modules is, or is derived from, a class of torch with a purpose."""
    return any(base.__module__.startswith("torch.") for base in kind.__mro__ if base is not nn.Module)

"""Modules whose forward pass is a function, and their inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Calls(nn.Module):
    """A module whose forward pass is a function of the module and its inputs."""

    def __init__(self, forward: Any, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._run = forward

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self._run(self, *inputs)


def zeros(*sizes: int) -> torch.Tensor:
    return torch.zeros(*sizes)

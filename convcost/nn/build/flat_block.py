"""A block as one module whose stages are all its own children, named as in the programs that convcost writes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn

from convcost.convolution.layer import Add
from convcost.convolution.tree import Chain, Concat, Residual, Scope, Split, Stage, Step, place
from convcost.nn.build.tree_module import layer_module
from convcost.programs.torch_class import stage_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node


class Shortcut(nn.Sequential):
    """Stages one after the other, whose output is added to their input."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as nn.Sequential has it
        """Run the stages on an input (N, C, *spatial), and add it."""
        x = input
        for stage in self:
            x = stage(x)
        return x + input


class Branching(nn.Module):
    """Stages that a tree connects.

    Args:
        tree: Tree of the stages.
        stages: Modules of the stages by name, in the order of `place`.
    """

    def __init__(self, tree: Node, stages: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.tree = tree
        for name, stage in stages.items():
            self.add_module(name, stage)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as nn.Conv2d has it
        """Run the stages on an input (N, C, *spatial)."""
        return _run(self.tree, input, self.children())


def build_flat(
    tree: Node, shape: Shape, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """The module of a block, as `tree_module.build`, whose stages are its children."""
    layers = [layer for layer in place(tree, shape)[0] if not isinstance(layer.op, Add)]
    stages = OrderedDict(zip(stage_names(layers), (layer_module(one, device, dtype) for one in layers), strict=True))
    match tree:
        case Chain(parts) if _are_stages(parts):
            block: nn.Module = nn.Sequential(stages)
        case Chain((Residual(_, Chain(parts), Chain(())),)) if _are_stages(parts):
            block = Shortcut(stages)
        case _:
            block = Branching(tree, stages)
    return block.eval()


def _are_stages(parts: tuple[Node, ...]) -> bool:
    return all(isinstance(part, Stage | Step) for part in parts)


def _run(node: Node, x: torch.Tensor, stages: Iterator[nn.Module]) -> torch.Tensor:
    """The output of a node, whose modules are the next ones."""
    match node:
        case Scope(_, body):
            return _run(body, x, stages)
        case Chain(parts):
            for part in parts:
                x = _run(part, x, stages)
            return x
        case Residual(_, body, shortcut):
            return _run(body, x, stages) + _run(shortcut, x, stages)
        case Concat(parts):
            return torch.cat([_run(part, x, stages) for part in parts], dim=1)
        case Split(sizes, parts):
            pieces = torch.split(x, list(sizes), dim=1)
            return torch.cat([_run(part, piece, stages) for part, piece in zip(parts, pieces, strict=True)], dim=1)
        case Stage() | Step():
            out: torch.Tensor = next(stages)(x)
            return out

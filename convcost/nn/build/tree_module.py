"""A tree of stages as a torch module."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Activation, Add, GlobalPool, MaxPool, Norm
from convcost.convolution.tree import Chain, Concat, Residual, Scope, Split, Stage, Step, place
from convcost.nn.build.conv_module import build_conv
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.convolution.layer import Layer
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node

_Named = Stage | Step | Scope

_ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
}


class Branches(nn.Module):
    """Parallel modules whose outputs are concatenated along the channels.

    Args:
        branches: Modules by name, in order.
        sizes: Numbers of channels that the branches read; None for all channels in every branch.
    """

    def __init__(self, branches: dict[str, nn.Module], sizes: tuple[int, ...] | None = None) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)
        self.sizes = sizes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Split an input (N, C, *spatial) by the sizes, if any, run the branches, and concatenate their outputs."""
        branches = list(self.children())
        pieces = [x] * len(branches) if self.sizes is None else torch.split(x, list(self.sizes), dim=1)
        return torch.cat([branch(piece) for branch, piece in zip(branches, pieces, strict=True)], dim=1)


class Sum(nn.Module):
    """Adds the outputs of a body and of a shortcut."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run both on an input (N, C, *spatial), and add their outputs."""
        total: torch.Tensor = self.body(x) + self.shortcut(x)
        return total


def build(
    node: Node, shape: Shape, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """The torch module of a tree placed on an input shape, in eval mode.

    Padding "same" is resolved for the shape, so the module is for inputs of this spatial size.

    Args:
        node: Tree of stages.
        shape: Shape of the input.
        device: Device of the parameters; None for torch's default.
        dtype: Dtype of the parameters; None for torch's default.

    Raises:
        ShapeError: The tree does not fit the shape.
    """
    return _module(node, iter(place(node, shape)[0]), device, dtype).eval()


def stage_paths(node: Node, prefix: str = "") -> dict[str, str]:
    """The paths of the submodules that `build` makes, by stage name; "" for a tree of one stage.

    Raises:
        ConvcostError: Two stages have the same name.
    """
    if isinstance(node, Stage):
        return {node.name: prefix}
    if isinstance(node, Step):
        return {}
    if isinstance(node, Scope):
        return {f"{node.name}.{stage}": path for stage, path in stage_paths(node.body, prefix).items()}
    paths: dict[str, str] = {}
    for key, part in _children(node):
        below = stage_paths(part, f"{prefix}.{key}" if prefix else key)
        if twice := paths.keys() & below.keys():
            raise ConvcostError(f"stage name (={min(twice)}) must be unique in its block; rename one of the two.")
        paths |= below
    return paths


def _children(node: Chain | Concat | Split | Residual) -> list[tuple[str, Node]]:
    """The parts of a node by module name: the part's own name, else its position."""
    if isinstance(node, Residual):
        return [("body", node.body), ("shortcut", node.shortcut)]
    return [(part.name if isinstance(part, _Named) else f"{i}", part) for i, part in enumerate(node.parts)]


def _module(
    node: Node, layers: Iterator[Layer], device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Module:
    """The module of a node; it takes the layers of the node, in the order of `place`, from the iterator."""
    match node:
        case Stage() | Step():
            return layer_module(next(layers), device, dtype)
        case Scope():
            return _module(node.body, layers, device, dtype)
    children = {name: _module(part, layers, device, dtype) for name, part in _children(node)}
    match node:
        case Residual():
            next(layers)  # the addition, which `Sum` does itself
            return Sum(children["body"], children["shortcut"])
        case Chain():
            return nn.Sequential(OrderedDict(children)) if children else nn.Identity()
        case Split() | Concat():
            return Branches(children, node.sizes if isinstance(node, Split) else None)


def layer_module(layer: Layer, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Module:
    """The module of one stage on its input."""
    axis = len(layer.input.spatial) - 1
    match layer.op:
        case Conv() as conv:
            return build_conv(conv, device=device, dtype=dtype)
        case Norm(channels):
            return (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axis](channels, device=device, dtype=dtype)
        case Activation(kind):
            return _ACTIVATIONS[kind]()
        case MaxPool(kernel_size, stride, padding):
            return (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[axis](kernel_size, stride, padding)
        case GlobalPool():
            return (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[axis](1)
        case Add():  # only in a Residual, which `Sum` builds
            return nn.Identity()

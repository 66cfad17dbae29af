"""How stages make a block or a network: one tree, walked once to place layers and once to build modules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from convcost.convolution.formula import add, holds
from convcost.convolution.layer import Add, Layer
from convcost.convolution.shape import Shape
from convcost.text.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.convolution.conv import Conv
    from convcost.convolution.formula import Int
    from convcost.convolution.layer import Between
    from convcost.convolution.shape import Sizes

__all__ = ["Chain", "Concat", "Node", "Residual", "Scope", "Split", "Stage", "Step", "chain", "place", "stages"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A named convolution."""

    name: str
    conv: Conv


@dataclass(frozen=True, slots=True)
class Step:
    """A named operation that lies between convolutions: normalisation, activation, pooling."""

    name: str
    op: Between


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a network with a name of its own, which stands before the names of its layers: `block1.depthwise`."""

    name: str
    body: Node


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts one after the other; without parts it is the identity."""

    parts: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Concat:
    """Parts that all read the same input; their outputs are joined along the channels."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """The input's channels are cut into pieces of these sizes, one for each part; the outputs are joined again."""

    sizes: tuple[Int, ...]
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Residual:
    """The body's output plus the shortcut's, which is the input itself for an empty chain."""

    name: str
    body: Node
    shortcut: Node = Chain()


Node: TypeAlias = Stage | Step | Scope | Chain | Concat | Split | Residual


def chain(*parts: Node) -> Chain:
    """Parts one after the other."""
    return Chain(parts)


def stages(node: Node) -> Iterator[Stage]:
    """Every convolution of the tree, in the order it runs."""
    match node:
        case Stage():
            yield node
        case Step():
            return
        case Scope():
            yield from stages(node.body)
        case Residual():
            yield from stages(node.body)
            yield from stages(node.shortcut)
        case _:
            for part in node.parts:
                yield from stages(part)


def place(node: Node, shape: Shape) -> tuple[tuple[Layer, ...], Shape]:
    """Put a tree on an input shape.

    Returns:
        The layers in the order they run, and the output shape.

    Raises:
        ShapeError: a stage that does not fit its input, or branches whose outputs cannot be joined.
    """
    match node:
        case Stage(name, op) | Step(name, op):
            layer = Layer(name, op, shape)
            return (layer,), layer.output
        case Scope(name, body):
            layers, output = place(body, shape)
            return tuple(replace(layer, name=f"{name}.{layer.name}") for layer in layers), output
        case Chain(parts):
            placed: tuple[Layer, ...] = ()
            for part in parts:
                layers, shape = place(part, shape)
                placed += layers
            return placed, shape
        case Concat(parts):
            return _join([place(part, shape) for part in parts])
        case Split(sizes, parts):
            pieces = [Shape(shape.batch, size, shape.spatial) for size in sizes]
            return _join([place(part, piece) for part, piece in zip(parts, pieces, strict=True)])
        case Residual(name, body, shortcut):
            layers, output = place(body, shape)
            shortcut_layers, beside = place(shortcut, shape)
            if not _equal(beside.sizes, output.sizes):
                msg = f"the residual branch gives {output.sizes} and the shortcut {beside.sizes}; make them equal."
                raise ShapeError(msg)
            return (*layers, *shortcut_layers, Layer(name, Add(), output)), output


def _equal(some: Sizes, others: Sizes) -> bool:
    """Whether all sizes are the same; arrays, everywhere."""
    return len(some) == len(others) and all(holds(a == b) for a, b in zip(some, others, strict=True))


def _join(branches: list[tuple[tuple[Layer, ...], Shape]]) -> tuple[tuple[Layer, ...], Shape]:
    shapes = [shape for _, shape in branches]
    first = shapes[0]
    if not all(_equal(shape.spatial, first.spatial) for shape in shapes):
        sizes = " and ".join(str(shape.spatial) for shape in shapes)
        msg = f"branches that are joined must keep one spatial size, not {sizes}; take stride 1 and padding same."
        raise ShapeError(msg)
    layers = tuple(layer for placed, _ in branches for layer in placed)
    return layers, Shape(first.batch, add([shape.channels for shape in shapes]), first.spatial)

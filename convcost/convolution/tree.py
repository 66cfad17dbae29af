"""Blocks and networks as trees of stages, from which layers are placed and torch modules are built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from convcost.convolution.formula import add, holds
from convcost.convolution.layer import Add, Layer
from convcost.convolution.shape import Shape
from convcost.text.errors import ShapeError
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.convolution.conv import Conv
    from convcost.convolution.formula import Int
    from convcost.convolution.layer import Between
    from convcost.convolution.shape import Sizes


@dataclass(frozen=True, slots=True)
class Stage:
    """A named convolution."""

    name: str
    conv: Conv


@dataclass(frozen=True, slots=True)
class Step:
    """A named normalisation, activation or pooling."""

    name: str
    op: Between


@dataclass(frozen=True, slots=True)
class Scope:
    """A named part of a network; the names of its layers begin with it, as in `block1.depthwise`."""

    name: str
    body: Node


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts that run one after the other; the identity without parts."""

    parts: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Concat:
    """Parts that all read the same input; their outputs are joined along the channels."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """Parts that each read their share of the input channels; their outputs are joined along the channels."""

    sizes: tuple[Int, ...]
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Residual:
    """The sum of the body's and the shortcut's output; an empty chain is the identity shortcut."""

    name: str
    body: Node
    shortcut: Node = Chain()


Node: TypeAlias = Stage | Step | Scope | Chain | Concat | Split | Residual


def chain(*parts: Node) -> Chain:
    """Parts that run one after the other."""
    return Chain(parts)


def stages(node: Node) -> Iterator[Stage]:
    """All convolutions of the tree, in the order they run."""
    match node:
        case Stage():
            yield node
        case Scope(_, body):
            yield from stages(body)
        case Residual(_, body, shortcut):
            yield from stages(Chain((body, shortcut)))
        case Chain(parts) | Concat(parts) | Split(_, parts):
            for part in parts:
                yield from stages(part)


def place(node: Node, shape: Shape) -> tuple[tuple[Layer, ...], Shape]:
    """Place a tree on an input shape.

    Returns:
        The layers in the order they run, and the output shape.

    Raises:
        ShapeError: A stage does not fit its input, or the outputs of branches cannot be joined.
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
    """Whether all sizes are equal; arrays must be equal in all elements."""
    return len(some) == len(others) and all(holds(a == b) for a, b in zip(some, others, strict=True))


def _join(branches: list[tuple[tuple[Layer, ...], Shape]]) -> tuple[tuple[Layer, ...], Shape]:
    shapes = [shape for _, shape in branches]
    first = shapes[0]
    if not all(_equal(shape.spatial, first.spatial) for shape in shapes):
        sizes = " and ".join(format_sizes(shape.spatial) for shape in shapes)
        msg = f"branches (={sizes}) that are joined must keep one spatial size; take stride 1 and padding same."
        raise ShapeError(msg)
    layers = tuple(layer for placed, _ in branches for layer in placed)
    return layers, Shape(first.batch, add([shape.channels for shape in shapes]), first.spatial)

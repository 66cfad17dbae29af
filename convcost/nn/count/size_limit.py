"""How large a block may be to be run for real when it is counted, and at which smaller size it is counted if not."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final

from convcost.convolution.conv import Conv
from convcost.convolution.cost import ITEMSIZE, macs, traffic_elements
from convcost.convolution.shape import Shape
from convcost.convolution.tree import place
from convcost.text.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Node

__all__ = ["Allowed", "allow", "effort", "memory_bytes", "smaller_shapes"]

MAX_EFFORT: Final = 20 * 10**9
"""Of all blocks that are counted together: 20 GMACs of plain convolution, a second or two on one core."""
MAX_BYTES: Final = 2 * 2**30
"""Of all blocks that are counted together: 2 GiB of weights, activations and their copies."""
SMALL_EFFORT: Final = MAX_EFFORT // 80
SMALL_BYTES: Final = MAX_BYTES // 32

HUGE_KERNEL: Final = 32
"""A kernel over this on an axis leaves oneDNN's fast kernels: 0.5 where a plain convolution does 20 GMACs a second."""
FEW_CHANNELS: Final = 4
"""Fewer input channels a group than this fill no vector: about 2 GMACs a second."""
CHANNEL_BLOCK: Final = 16
"""oneDNN's blocked layouts round the channels up to a multiple of this."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """At which input shape a block may be counted.

    Attributes:
        shape: the block's own, a smaller one, or None when none is small enough.
        note: what to tell the user when it is not the block's own.
    """

    shape: Shape | None
    note: str | None = None


def effort(layer: Layer) -> int:
    """MACs, weighted by how slowly torch works them off on a CPU; plain convolutions weigh 1."""
    if not isinstance(layer.op, Conv):
        return 0
    slow = 40 if max(layer.op.kernel_size) > HUGE_KERNEL else 1
    thin = 8 if layer.op.in_channels // layer.op.groups < FEW_CHANNELS else 1
    return macs(layer).value * max(slow, thin)


def memory_bytes(layer: Layer) -> int:
    """float32 bytes of input, weights and output, with the copies that running the layer makes.

    oneDNN copies input and output into a layout of its own, with the channels in blocks; two-sided padding copies the
    input, and a tied bank is expanded to all groups.
    """
    elements = traffic_elements(layer).value
    if isinstance(layer.op, Conv):
        for shape in (layer.input, layer.output):
            elements += shape.batch * -(-shape.channels // CHANNEL_BLOCK) * CHANNEL_BLOCK * prod(shape.spatial)
        pairs = layer.op.explicit_padding(layer.input.spatial)
        if any(before != after for before, after in pairs):
            padded = [n + before + after for n, (before, after) in zip(layer.input.spatial, pairs, strict=True)]
            elements += layer.input.batch * layer.input.channels * prod(padded)
        if layer.op.tied:
            channels = layer.op.out_channels * layer.op.in_channels // layer.op.groups
            elements += channels * prod(layer.op.kernel_size)
    return elements * ITEMSIZE["float32"]


def allow(blocks: Mapping[str, tuple[Node, Shape]]) -> dict[str, Allowed]:
    """The shape at which each block may be counted, so that all together stay within the limits.

    The blocks with the least work come first: as many as possible are counted at their real size.

    Args:
        blocks: trees and input shapes by name.

    Returns:
        One entry a block, in the order of `blocks`.
    """
    sizes = {name: _size(node, shape) for name, (node, shape) in blocks.items()}
    allowed: dict[str, Allowed] = {}
    left = _Left(MAX_EFFORT, MAX_BYTES)
    for name in sorted(blocks, key=sizes.__getitem__):
        node, shape = blocks[name]
        allowed[name] = Allowed(shape) if left.take(*sizes[name]) else _reduced(node, shape, left)
    return {name: allowed[name] for name in blocks}


@dataclass(slots=True)
class _Left:
    """What may still be spent."""

    effort: int
    memory: int

    def take(self, effort: int, memory: int) -> bool:
        """Spend it if it is there."""
        fits = effort <= self.effort and memory <= self.memory
        if fits:
            self.effort, self.memory = self.effort - effort, self.memory - memory
        return fits


def _reduced(node: Node, shape: Shape, left: _Left) -> Allowed:
    smallest, size = shape, _size(node, shape)
    for smallest in smaller_shapes(node, shape):
        size = _size(node, smallest)
        if size[0] <= SMALL_EFFORT and size[1] <= SMALL_BYTES:
            break
    text = "x".join(str(n) for n in smallest.sizes)
    if smallest != shape and (left.take(*size) or (size[0] <= SMALL_EFFORT and size[1] <= SMALL_BYTES)):
        return Allowed(smallest, f"counted at {text}")
    work = sum(macs(layer).value for layer in place(node, smallest)[0])
    need = f"{_in_units(work, 10**9)} GMACs and {_in_units(size[1], 2**30)} GiB"
    return Allowed(None, f"unavailable: counting it takes {need} even at {text}, too much to run")


def _in_units(amount: int, unit: int) -> str:
    """Three digits; a count may be too large even for a float."""
    return f"{min(amount, 10**300) / unit:.3g}"


def smaller_shapes(node: Node, shape: Shape) -> Iterator[Shape]:
    """Ever smaller input shapes on which the tree is the very same convolutions, "same" padding included.

    First one sample, then the largest axis halved again and again; channels stay. The sizes keep their remainder by
    the strides, which decides how much "same" padding goes where.
    """
    strides = [layer.op.stride for layer in place(node, shape)[0] if isinstance(layer.op, Conv)]
    spatial, least = list(shape.spatial), [0] * len(shape.spatial)
    if shape.batch > 1:
        yield Shape(1, shape.channels, shape.spatial)
    axes = set(range(len(spatial)))
    while axes:
        axis = max(axes, key=spatial.__getitem__)
        step, n = prod(stride[axis] for stride in strides), spatial[axis]
        target = (least[axis] + n) // 2
        size = target + (n - target) % step
        if size in {n, least[axis]} or size < 1:
            axes.remove(axis)
            continue
        candidate = Shape(1, shape.channels, tuple(size if i == axis else m for i, m in enumerate(spatial)))
        if _fits(node, candidate):
            spatial[axis] = size
            yield candidate
        else:
            least[axis] = size


def _fits(node: Node, shape: Shape) -> bool:
    try:
        place(node, shape)
    except ShapeError:
        return False
    return True


def _size(node: Node, shape: Shape) -> tuple[int, int]:
    layers = place(node, shape)[0]
    return sum(effort(layer) for layer in layers), sum(memory_bytes(layer) for layer in layers)

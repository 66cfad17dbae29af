"""The limit on blocks that are run in order to be counted, and the smaller input at which a larger block is counted."""

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

MAX_EFFORT: Final = 20 * 10**9
"""Effort of all blocks together: 20 GMACs of plain convolution, a second or two on one core."""
MAX_BYTES: Final = 2 * 2**30
"""Memory of all blocks together: 2 GiB of weights, activations and their copies."""
SMALL_EFFORT: Final = MAX_EFFORT // 80
SMALL_BYTES: Final = MAX_BYTES // 32
"""With `SMALL_EFFORT`, a size at which a block may be counted even when the others have used the limit up."""
HUGE_KERNEL: Final = 32
"""Kernel size above which oneDNN uses slow code: 0.5 GMACs a second, where a plain convolution reaches 20."""
FEW_CHANNELS: Final = 4
"""Input channels per group below which vectors are not full: about 2 GMACs a second."""
CHANNEL_BLOCK: Final = 16
"""Multiple to which oneDNN's blocked layouts round the channels up."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The input shape at which a block may be counted.

    Attributes:
        shape: The block's own shape, a smaller one, or None when none is small enough.
        note: Note for the user when it is not the block's own.
    """

    shape: Shape | None
    note: str | None = None


def effort(layer: Layer) -> int:
    """MACs, weighted by torch's time per MAC on a CPU relative to a plain convolution."""
    if not isinstance(layer.op, Conv):
        return 0
    if max(layer.op.kernel_size) > HUGE_KERNEL:
        return macs(layer).value * 40
    return macs(layer).value * (8 if layer.op.in_channels // layer.op.groups < FEW_CHANNELS else 1)


def memory_bytes(layer: Layer) -> int:
    """float32 bytes of input, weights and output, with their copies when the layer runs.

    oneDNN copies input and output into its own layout, with the channels in blocks; a `Pad` copies the input, and a
    tied bank is expanded to all groups.
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

    Blocks with the least work take their share first, so that as many as possible are counted at their real size.

    Args:
        blocks: Trees and input shapes by name.

    Returns:
        One entry per block, in the order of `blocks`.
    """
    sizes = {name: _size(node, shape) for name, (node, shape) in blocks.items()}
    allowed: dict[str, Allowed] = {}
    budget = _Budget(MAX_EFFORT, MAX_BYTES)
    for name in sorted(blocks, key=sizes.__getitem__):
        node, shape = blocks[name]
        allowed[name] = Allowed(shape) if budget.take(*sizes[name]) else _reduced(node, shape, budget)
    return {name: allowed[name] for name in blocks}


@dataclass(slots=True)
class _Budget:
    """What remains of the limits."""

    effort: int
    memory: int

    def take(self, effort: int, memory: int) -> bool:
        """Subtract these if they remain."""
        fits = effort <= self.effort and memory <= self.memory
        if fits:
            self.effort, self.memory = self.effort - effort, self.memory - memory
        return fits


def _reduced(node: Node, shape: Shape, budget: _Budget) -> Allowed:
    """The first smaller shape that is small, else the smallest if the budget allows it."""
    smallest, size, is_small = shape, _size(node, shape), False
    for smallest in smaller_shapes(node, shape):
        size = _size(node, smallest)
        is_small = size[0] <= SMALL_EFFORT and size[1] <= SMALL_BYTES
        if is_small:
            break
    text = "x".join(str(n) for n in smallest.sizes)
    if smallest != shape and (budget.take(*size) or is_small):
        return Allowed(smallest, f"counted at {text}")
    work = sum(macs(layer).value for layer in place(node, smallest)[0])
    need = f"{_in_units(work, 10**9)} GMACs and {_in_units(size[1], 2**30)} GiB"
    return Allowed(None, f"unavailable: counting it takes {need} even at {text}, too much to run")


def _in_units(amount: int, unit: int) -> str:
    """Three digits; the amount may be too large even for a float."""
    return f"{min(amount, 10**300) / unit:.3g}"


def smaller_shapes(node: Node, shape: Shape) -> Iterator[Shape]:
    """Smaller and smaller input shapes that leave the tree's convolutions as they are, with their "same" padding.

    First a single sample, then the largest axis halved repeatedly; channels stay. Sizes keep their remainder modulo the
    product of the strides, on which the (before, after) of "same" padding depends.
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

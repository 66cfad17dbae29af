"""The cost of a placed layer: multiply-accumulates, parameters and compulsory memory traffic.

These products are written here alone. 1 MAC is one fused multiply and add; 1 MAC = 2 FLOPs. Bias and addition are
0 MACs. Taps on padding count, as in torch's and fvcore's counters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from convcost.convolution.conv import Conv
from convcost.convolution.formula import Factor, Product, Sum, multiply, quotient
from convcost.convolution.layer import Add, Norm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from convcost.convolution.formula import Int
    from convcost.convolution.layer import Between, Layer
    from convcost.convolution.shape import Shape

FLOPS_PER_MAC: Final = 2
ITEMSIZE: Final = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
"""Bytes of one element, by dtype."""

_KERNEL_NAMES = {1: ("K",), 2: ("K_h", "K_w"), 3: ("K_d", "K_h", "K_w")}
_SPATIAL_NAMES = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}


def _activation(shape: Shape, side: str) -> tuple[Factor, ...]:
    """N × C × spatial sizes of a layer's input (`side` "in") or output ("out")."""
    names = ("N", f"C_{side}", *(f"{axis}_{side}" for axis in _SPATIAL_NAMES[len(shape.spatial)]))
    return tuple(map(Factor, names, shape.sizes))


def _kernel(conv: Conv) -> tuple[Factor, ...]:
    return tuple(map(Factor, _KERNEL_NAMES[len(conv.kernel_size)], conv.kernel_size))


def _per_group(conv: Conv, side: Literal["in", "out"]) -> Factor:
    """C_in/g or C_out/g."""
    channels = conv.in_channels if side == "in" else conv.out_channels
    is_whole = isinstance(conv.groups, int) and conv.groups == 1  # arrays of channels need no division then
    return Factor(f"C_{side}/g", channels if is_whole else channels // conv.groups)


def macs(layer: Layer) -> Product:
    """Multiply-accumulates of the whole batch.

    Each output element of a convolution takes C_in/g × kernel products; each input element of a transposed convolution
    is part of C_out/g × kernel products, whatever the stride. Other operations have none.
    """
    op = layer.op
    if not isinstance(op, Conv):
        return Product((Factor("0", 0),))
    elements = _activation(layer.input, "in") if op.transposed else _activation(layer.output, "out")
    batch, channels, *spatial = elements
    return Product((batch, *spatial, channels, _per_group(op, "out" if op.transposed else "in"), *_kernel(op)))


def params(op: Conv | Add | Between) -> Sum:
    """Weights and biases, those of a tied bank once; a normalisation has a scale and a shift per channel."""
    if isinstance(op, Norm):
        return Sum((Product((Factor("2", 2), Factor("C", op.channels))),))
    if not isinstance(op, Conv):
        return Sum(())
    filters = _per_group(op, "out") if op.tied else Factor("C_out", op.out_channels)
    if op.transposed and not op.tied:
        channels = (Factor("C_in", op.in_channels), _per_group(op, "out"))
    else:
        channels = (filters, _per_group(op, "in"))
    weights = Sum((Product((*channels, *_kernel(op))),))
    return weights + Product((filters,)) if op.bias else weights


def traffic_elements(layer: Layer) -> Sum:
    """Compulsory memory traffic in elements: inputs, parameters and output, each moved once."""
    inputs = Product(_activation(layer.input, "in"))
    operands = layer.op.operands if isinstance(layer.op, Add) else 1
    return Sum((inputs,) * operands) + params(layer.op) + Product(_activation(layer.output, "out"))


@dataclass(frozen=True, slots=True)
class Cost:
    """The exact cost of one layer or several.

    Attributes:
        macs: Multiply-accumulates of the whole batch.
        params: Weights and biases.
        traffic_bytes: Compulsory memory traffic, summed over the layers: what one writes, the next one reads.
    """

    macs: Int
    params: Int
    traffic_bytes: Int

    @property
    def flops(self) -> Int:
        """Floating-point operations, 2 per MAC."""
        return multiply((self.macs, FLOPS_PER_MAC))

    @property
    def flop_per_byte(self) -> float:
        """Arithmetic intensity: FLOPs per byte of compulsory traffic."""
        return quotient(self.flops, self.traffic_bytes)


def cost(layers: Iterable[Layer], dtype: str = "float32") -> Cost:
    """The total cost of layers with elements of this dtype; no parameters are shared."""
    placed = tuple(layers)
    traffic = _total(traffic_elements(layer) for layer in placed)
    return Cost(*macs_and_params(placed), multiply((traffic, ITEMSIZE[dtype])))


def macs_and_params(layers: Iterable[Layer]) -> tuple[Int, Int]:
    """The multiply-accumulates and the parameters of layers; no parameters are shared."""
    placed = tuple(layers)
    return Sum(tuple(map(macs, placed))).value, _total(params(layer.op) for layer in placed)


def _total(sums: Iterable[Sum]) -> Int:
    return Sum(tuple(term for one in sums for term in one.terms)).value

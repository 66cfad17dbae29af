"""What a placed layer costs: multiply-accumulates, parameters and compulsory memory traffic.

The only place where these products are written. 1 MAC is one fused multiply and add; 1 MAC = 2 FLOPs. Bias and
addition are 0 MACs. Taps on padding count, as in torch's and fvcore's counters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.convolution.conv import Conv
from convcost.convolution.formula import Factor, Product, Sum, add
from convcost.convolution.layer import Add

if TYPE_CHECKING:
    from collections.abc import Iterable

    from convcost.convolution.formula import Int
    from convcost.convolution.layer import Between, Layer
    from convcost.convolution.shape import Shape

__all__ = ["FLOPS_PER_MAC", "ITEMSIZE", "Cost", "cost", "macs", "params", "traffic_elements"]

FLOPS_PER_MAC: Final = 2
ITEMSIZE: Final = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
"""Bytes of one element, by dtype."""

_KERNEL_NAMES = {1: ("K",), 2: ("K_h", "K_w"), 3: ("K_d", "K_h", "K_w")}
_SPATIAL_NAMES = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}


def _activation(shape: Shape, side: str) -> tuple[Factor, ...]:
    """N × C × spatial sizes of the layer's input (`side` "in") or output ("out")."""
    names = ("N", f"C_{side}", *(f"{axis}_{side}" for axis in _SPATIAL_NAMES[len(shape.spatial)]))
    return tuple(map(Factor, names, shape.sizes))


def _kernel(conv: Conv) -> tuple[Factor, ...]:
    return tuple(map(Factor, _KERNEL_NAMES[len(conv.kernel_size)], conv.kernel_size))


def macs(layer: Layer) -> Product:
    """Multiply-accumulates of the whole batch.

    A convolution: every output element takes C_in/g × kernel products. A transposed one: every input element is
    spread over C_out/g × kernel products (its stride costs nothing). Additions and what lies between: none.
    """
    op = layer.op
    if not isinstance(op, Conv):
        return Product((Factor("0", 0),))
    if op.transposed:
        elements, fan = _activation(layer.input, "in"), Factor("C_out/g", op.out_channels // op.groups)
    else:
        elements, fan = _activation(layer.output, "out"), Factor("C_in/g", op.in_channels // op.groups)
    batch, channels, *spatial = elements
    return Product((batch, *spatial, channels, fan, *_kernel(op)))


def params(op: Conv | Add | Between) -> Sum:
    """Weights and biases; a tied bank counts once. A normalisation has a scale and a shift a channel."""
    if isinstance(op, Add):
        return Sum(())
    if not isinstance(op, Conv):
        from convcost.convolution.layer import Norm

        return Sum((Product((Factor("2", 2), Factor("C", op.channels))),)) if isinstance(op, Norm) else Sum(())
    tied = Factor("C_out/g", op.out_channels // op.groups)
    if op.transposed:
        pair = (Factor("C_in", op.in_channels), tied)
    else:
        pair = (Factor("C_out", op.out_channels), Factor("C_in/g", op.in_channels // op.groups))
    if op.tied:
        pair = (tied, Factor("C_in/g", op.in_channels // op.groups))
    weights = Sum((Product((*pair, *_kernel(op))),))
    return weights + Product((tied if op.tied else Factor("C_out", op.out_channels),)) if op.bias else weights


def traffic_elements(layer: Layer) -> Sum:
    """Compulsory memory traffic in elements: inputs, weights and output, each moved once."""
    inputs = Product(_activation(layer.input, "in"))
    operands = layer.op.operands if isinstance(layer.op, Add) else 1
    return Sum((inputs,) * operands) + params(layer.op) + Product(_activation(layer.output, "out"))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one layer or several cost, exact.

    Attributes:
        macs: multiply-accumulates of the whole batch.
        params: weights and biases.
        traffic_bytes: compulsory memory traffic, summed over the stages: what lies between them is written and read.
    """

    macs: Int
    params: Int
    traffic_bytes: Int

    @property
    def flops(self) -> Int:
        """Floating-point operations: 2 a MAC."""
        return self.macs * FLOPS_PER_MAC

    @property
    def flop_per_byte(self) -> float:
        """Arithmetic intensity: FLOPs a byte of compulsory traffic."""
        return self.flops / self.traffic_bytes


def cost(layers: Iterable[Layer], dtype: str = "float32") -> Cost:
    """The summed cost of layers whose elements are of this dtype; each layer's parameters are its own."""
    placed = tuple(layers)
    return Cost(
        add([macs(layer).value for layer in placed]),
        add([params(layer.op).value for layer in placed]),
        add([traffic_elements(layer).value for layer in placed]) * ITEMSIZE[dtype],
    )

"""From the stages of a block to a part of a network: width, normalisation, activation and shortcut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from convcost.convolution.conv import Conv
from convcost.convolution.other_layers import Activation, Norm
from convcost.convolution.tree import Chain, Concat, Residual, Scope, Split, Stage, Step, chain, place

if TYPE_CHECKING:
    from convcost.convolution.other_layers import Kind
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node

__all__ = ["Style", "dress", "scale_channels", "with_shortcut"]


@dataclass(frozen=True, slots=True)
class Style:
    """What a network puts after each of its convolutions.

    Attributes:
        norm: whether batch normalisation.
        activation: which, or None.
    """

    norm: bool
    activation: Kind | None


def scale_channels(channels: int, alpha: Fraction, divisor: int) -> int:
    """Channels times the width multiplier, as the nearest multiple of `divisor`, and never below 90 % of the product.

    Source: MobileNetV2's reference code (`_make_divisible`, divisor 8); MobileNet V1 has divisor 1.

    >>> scale_channels(32, Fraction("0.35"), 8)  # 11.2 → 8 would be below 90 %
    16
    """
    wanted = channels * alpha
    scaled = max(divisor, int(wanted + Fraction(divisor, 2)) // divisor * divisor)
    return scaled + divisor if scaled * 10 < wanted * 9 else scaled


def dress(node: Node, style: Style, *, linear: bool) -> Node:
    """Put normalisation and activation after every convolution of a block.

    Inside a residual the last convolution has no activation: it follows the addition.

    Args:
        node: the block's stages.
        style: what to put there.
        linear: whether the block ends without an activation (a linear bottleneck).
    """
    match node:
        case Stage(name, conv):
            norm = (Step(f"{name}_norm", Norm(conv.out_channels)),) if style.norm else ()
            return chain(node, *norm, *_activation(name, style, linear=linear))
        case Chain(parts):
            last = len(parts) - 1
            dressed = [dress(part, style, linear=linear and i == last) for i, part in enumerate(parts)]
            return chain(*(step for part in dressed for step in (part.parts if isinstance(part, Chain) else (part,))))
        case Concat(parts=parts) | Split(parts=parts):
            return replace(node, parts=tuple(dress(part, style, linear=linear) for part in parts))
        case Residual(name, body, shortcut):
            added = Residual(name, dress(body, style, linear=True), dress(shortcut, style, linear=True))
            return chain(added, *_activation(name, style, linear=linear))
        case Scope(name, body):
            return Scope(name, dress(body, style, linear=linear))
        case Step():
            return node


def with_shortcut(body: Node, shape: Shape, stride: tuple[int, int], *, bias: bool) -> Node:
    """The body plus its input, which a strided 1×1 convolution projects where the two shapes differ.

    Source: He et al. 2016, Deep Residual Learning, section 3.3, option B.
    """
    if isinstance(body, Residual):
        return body
    output = place(body, shape)[1]
    if output == shape:
        return Residual("add", body)
    projection = Stage("projection", Conv(shape.channels, output.channels, (1, 1), stride, 0, 1, 1, bias))
    return Residual("add", body, projection)


def _activation(name: str, style: Style, *, linear: bool) -> tuple[Step, ...]:
    """The activation after the stage or addition of this name; none in a linear place."""
    if linear or style.activation is None:
        return ()
    return (Step(f"{name}_activation", Activation(style.activation)),)

"""The catalogue: each block is a function that returns its stages, registered once, with its paper.

No block has a cost formula of its own: costs, formula texts and torch modules all come from the stages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.convolution.formula import common_divisor, holds, largest, times
from convcost.convolution.spec import BLOCKS, PARAMETERS, Block, Parameter, Rule, block, find_block
from convcost.convolution.tree import Concat, Residual, Split, chain, place
from convcost.text.errors import ShapeError

if TYPE_CHECKING:
    from fractions import Fraction

    from convcost.convolution.formula import Int
    from convcost.convolution.spec import Spec
    from convcost.convolution.tree import Node, Stage

__all__ = ["BLOCKS", "DEFAULT_BLOCKS", "PARAMETERS", "Block", "find_block"]

DEFAULT_BLOCKS: Final = (
    "standard",
    "depthwise",
    "pointwise",
    "depthwise-separable",
    "shared-kernel-separable",
    "spatially-separable",
)


PARAMETERS.update(
    (one.name, one)
    for one in (
        Parameter(
            "depth_multiplier", "m", "output channels per input channel of the (first) depthwise stage", short="m"
        ),
        Parameter("groups", "g", "groups of the grouped convolution"),
        Parameter("expansion", "t", "hidden channels per input channel", sets_mid=True),
        Parameter("mid_channels", "M", "channels between the stages", short="mid", kind="channels", sets_mid=True),
        Parameter("rank", "r", "channels between the K×K stage and the 1×1 stage", kind="channels", sets_mid=True),
        Parameter("ghost_ratio", "s", "output channels per primary channel", least=2, sets_mid=True),
        Parameter("partial", "p", "share of the input channels that is convolved", kind="share", sets_mid=True),
    )
)


def require_multiple(divisor_name: str, divisor: Int, **channels: Int) -> None:
    """Refuse channels that are not a multiple of the divisor."""
    for name, value in channels.items():
        if not holds(value % divisor == 0):
            raise ShapeError(f"{name} (={value}) must be divisible by {divisor_name} (={divisor}).")


def residual(s: Spec, body: Node) -> Node:
    """The body with its input added if both shapes are equal, as in the papers; else the body alone."""
    output = place(body, s.input)[1]
    same = all(holds(before == after) for before, after in zip(s.input.sizes, output.sizes, strict=True))
    return Residual("add", body) if same else body


def depthwise_stage(s: Spec, channels: Int, m: Int, *, tied: bool = False) -> Stage:
    """A K×K stage that convolves each channel alone, with m kernels per channel."""
    return s.spatial("depthwise", channels, times(channels, m), groups=channels, tied=tied)


@block("standard", "LeCun et al. 1989, Backpropagation Applied to Handwritten Zip Code Recognition")
def standard(s: Spec) -> Node:
    """One K×K convolution over all channels."""
    return s.spatial("conv", s.in_channels, s.out_channels)


@block("depthwise", "Sifre 2014, Rigid-Motion Scattering for Image Classification", depth_multiplier=1)
def depthwise(s: Spec, depth_multiplier: int) -> Node:
    """Each input channel convolved alone with m kernels: m·C output channels, not O."""
    return depthwise_stage(s, s.in_channels, depth_multiplier)


@block("pointwise", "Lin, Chen, Yan 2014, Network In Network")
def pointwise(s: Spec) -> Node:
    """One 1×1 convolution over all channels."""
    return s.pointwise("pointwise", s.in_channels, s.out_channels, s.stride)


@block("depthwise-separable", "Howard et al. 2017, MobileNets", depth_multiplier=1)
def depthwise_separable(s: Spec, depth_multiplier: int) -> Node:
    """Depthwise K×K, then pointwise."""
    first = depthwise_stage(s, s.in_channels, depth_multiplier)
    return chain(first, s.pointwise("pointwise", first.conv.out_channels, s.out_channels))


@block(
    "shared-kernel", "Wang, Ji 2018, Smoothed Dilated Convolutions for Improved Dense Prediction", depth_multiplier=1
)
def shared_kernel(s: Spec, depth_multiplier: int) -> Node:
    """Depthwise with one bank of m kernels for all channels: as many MACs, C times fewer parameters."""
    return depthwise_stage(s, s.in_channels, depth_multiplier, tied=True)


@block("shared-kernel-separable", "Wang, Ji 2018 (shared); Howard et al. 2017 (then pointwise)", depth_multiplier=1)
def shared_kernel_separable(s: Spec, depth_multiplier: int) -> Node:
    """Shared-kernel depthwise K×K, then pointwise."""
    first = depthwise_stage(s, s.in_channels, depth_multiplier, tied=True)
    return chain(first, s.pointwise("pointwise", first.conv.out_channels, s.out_channels))


@block(
    "spatially-separable",
    "Jaderberg, Vedaldi, Zisserman 2014, Speeding up Convolutional Neural Networks with Low Rank Expansions",
    mid_channels=Rule("C", lambda s: s.in_channels),
)
def spatially_separable(s: Spec, mid_channels: int) -> Node:
    """K×1 to M channels, then 1×K to O."""
    column = s.spatial("column", s.in_channels, mid_channels, axis=0)
    return chain(column, s.spatial("row", mid_channels, s.out_channels, axis=1))


@block("spatially-separable-depthwise", "Freeman, Roese-Koerner, Kummert 2018, EffNet", depth_multiplier=1)
def spatially_separable_depthwise(s: Spec, depth_multiplier: int) -> Node:
    """Depthwise K×1, depthwise 1×K, then pointwise."""
    hidden = times(s.in_channels, depth_multiplier)
    column = s.spatial("column", s.in_channels, hidden, groups=s.in_channels, axis=0)
    row = s.spatial("row", hidden, hidden, groups=hidden, axis=1)
    return chain(column, row, s.pointwise("pointwise", hidden, s.out_channels))


@block(
    "grouped",
    "Krizhevsky, Sutskever, Hinton 2012, AlexNet; Xie et al. 2017, ResNeXt",
    groups=Rule("gcd(C, O, 4)", lambda s: common_divisor(s.in_channels, s.out_channels, 4)),
)
def grouped(s: Spec, groups: int) -> Node:
    """K×K in g groups: each output channel reads the input channels of its own group."""
    return s.spatial("conv", s.in_channels, s.out_channels, groups=groups)


@block(
    "bottleneck",
    "He et al. 2016, Deep Residual Learning",
    mid_channels=Rule("O/4", lambda s: largest(1, s.out_channels // 4)),
)
def bottleneck(s: Spec, mid_channels: int) -> Node:
    """1×1 to M channels, K×K, 1×1 to O; the input is added where the shapes allow it."""
    reduce, expand = (
        s.pointwise("reduce", s.in_channels, mid_channels),
        s.pointwise("expand", mid_channels, s.out_channels),
    )
    return residual(s, chain(reduce, s.spatial("conv", mid_channels, mid_channels), expand))


@block("inverted-residual", "Sandler et al. 2018, MobileNetV2", expansion=6, depth_multiplier=1)
def inverted_residual(s: Spec, expansion: int, depth_multiplier: int) -> Node:
    """1×1 to t·C channels (none for t = 1), depthwise K×K, 1×1 to O; the input is added where the shapes allow it."""
    hidden = times(s.in_channels, expansion)
    expand = () if holds(expansion == 1) else (s.pointwise("expand", s.in_channels, hidden),)
    middle = depthwise_stage(s, hidden, depth_multiplier)
    return residual(s, chain(*expand, middle, s.pointwise("project", middle.conv.out_channels, s.out_channels)))


@block("fused-inverted-residual", "Gupta, Akin 2020, EdgeTPU; Tan, Le 2021, EfficientNetV2", expansion=6)
def fused_inverted_residual(s: Spec, expansion: int) -> Node:
    """K×K to t·C channels, 1×1 to O; the input is added where the shapes allow it."""
    hidden = times(s.in_channels, expansion)
    fused = s.spatial("fused", s.in_channels, hidden)
    return residual(s, chain(fused, s.pointwise("project", hidden, s.out_channels)))


@block("blueprint", "Haase, Amthor 2020, Blueprint Separable Convolutions (BSConv-U)", depth_multiplier=1)
def blueprint(s: Spec, depth_multiplier: int) -> Node:
    """Pointwise to O/m channels, then depthwise K×K."""
    require_multiple("depth_multiplier", depth_multiplier, out_channels=s.out_channels)
    hidden = s.out_channels // depth_multiplier
    return chain(s.pointwise("pointwise", s.in_channels, hidden), depthwise_stage(s, hidden, depth_multiplier))


@block(
    "low-rank",
    "Zhang et al. 2016, Accelerating Very Deep Networks",
    rank=Rule("O/4", lambda s: largest(1, s.out_channels // 4)),
)
def low_rank(s: Spec, rank: int) -> Node:
    """K×K to r channels, then 1×1 to O."""
    return chain(s.spatial("reduced", s.in_channels, rank), s.pointwise("pointwise", rank, s.out_channels))


@block(
    "tucker-2",
    "Kim et al. 2016, Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications",
    mid_channels=Rule("C/4", lambda s: largest(1, s.in_channels // 4)),
    rank=Rule("O/4", lambda s: largest(1, s.out_channels // 4)),
)
def tucker_2(s: Spec, mid_channels: int, rank: int) -> Node:
    """1×1 to M channels, K×K to r channels, 1×1 to O."""
    reduce, expand = s.pointwise("reduce", s.in_channels, mid_channels), s.pointwise("expand", rank, s.out_channels)
    return chain(reduce, s.spatial("core", mid_channels, rank), expand)


@block("ghost", "Han et al. 2020, GhostNet", ghost_ratio=2)
def ghost(s: Spec, ghost_ratio: int) -> Node:
    """K×K to O/s primary channels; a depthwise K×K of these makes the other O - O/s."""
    require_multiple("ghost_ratio", ghost_ratio, out_channels=s.out_channels)
    primary = s.out_channels // ghost_ratio
    cheap = s.spatial("cheap", primary, primary * (ghost_ratio - 1), groups=primary, strided=False)
    return chain(s.spatial("primary", s.in_channels, primary), Concat((chain(), cheap)))


def quarter() -> Fraction:
    """The share of the channels that FasterNet convolves."""
    from fractions import Fraction

    return Fraction(1, 4)


@block("partial", "Chen et al. 2023, FasterNet", partial=Rule("1/4", lambda _: quarter()))
def partial(s: Spec, partial: Fraction) -> Node:
    """K×K over a share p of the channels, the rest untouched, then pointwise; stride 1 only."""
    if not holds(s.stride[0] * s.stride[1] == 1):
        msg = f"stride (={s.stride[0]}x{s.stride[1]}) must be 1 for partial: the untouched channels keep their size."
        raise ShapeError(msg)
    part = largest(1, times(s.in_channels, partial.numerator) // partial.denominator)
    conv, rest = s.spatial("partial", part, part), s.in_channels - part
    mixed = Split((part, rest), (conv, chain())) if holds(rest > 0) else conv
    return chain(mixed, s.pointwise("pointwise", s.in_channels, s.out_channels))

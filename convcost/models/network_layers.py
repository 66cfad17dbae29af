"""The list of layers of a network's TOML file as a tree: each entry sees the shape that the one before puts out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal

from convcost.convolution.blocks import BLOCKS, PARAMETERS
from convcost.convolution.conv import Conv
from convcost.convolution.layer import ACTIVATIONS, Activation, GlobalPool, MaxPool, Norm
from convcost.convolution.spec import Spec
from convcost.convolution.tree import Chain, Concat, Residual, Scope, Split, Stage, Step, chain, place
from convcost.text.errors import ShapeError, did_you_mean

if TYPE_CHECKING:
    from convcost.convolution.layer import Kind
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.text.toml import Table


__all__ = ["NETWORK_KEYS", "Reader", "Style", "dress", "scale_channels", "with_shortcut"]

NETWORK_KEYS: Final = (
    *("name", "paper", "in_channels", "resolution", "alpha", "divisor"),
    *("norm", "activation", "bias", "padding", "layers"),
)
"""The keys of a network's file; the list of layers comes last."""
_KINDS: Final = ("block", "blocks", "pool", "classifier")
_BLOCK_KEYS: Final = (
    *("name", "out_channels", "kernel_size", "stride", "dilation", "padding"),
    *("repeat", "shortcut", "linear", "widen_only"),
)
_MOST_REPEATS: Final = 1000


class Reader:
    """Walks the list of layers.

    Args:
        table: the whole file.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.alpha = table.share("alpha", Fraction(1))
        self.divisor = table.integer("divisor", 1)
        self.bias = table.flag("bias")
        norm = table.choice("norm", "batch", ("batch", "none"))
        choices: tuple[Kind | Literal["none"], ...] = (*ACTIVATIONS, "none")
        activation = table.choice("activation", "relu", choices)
        self.style = Style(norm == "batch", None if activation == "none" else activation)
        self.padding = _padding(table, "half")

    def tree(self, shape: Shape) -> Node:
        """The named parts for an input of this shape.

        Raises:
            ConvcostError: a key or a value that the format does not have.
            ShapeError: layers that do not fit each other.
        """
        parts: dict[str, Node] = {}
        for position, entry in enumerate(self.table.tables("layers"), start=1):
            kind = _kind(entry)
            name = entry.text("name", "classifier" if kind == "classifier" else f"{kind.rstrip('s')}{position}")
            if name in parts or "." in name:
                entry.refuse("name", "must be unique and without a dot; write another name.")
            try:
                parts[name] = self._part(kind, name, entry, shape)
                shape = place(parts[name], shape)[1]
            except ShapeError as error:
                msg = f"{entry.where}: {error}"
                raise ShapeError(msg) from error
        return chain(*parts.values())

    def _part(self, kind: str, name: str, entry: Table, shape: Shape) -> Node:
        if kind == "pool":
            return Step(name, _pool(entry))
        if kind == "classifier":
            entry.refuse_unknown(("name", "classifier"))
            if shape.spatial != (1, 1):
                entry.refuse("classifier", 'must follow a map of 1x1; put { pool = "global-average" } before it.')
            return Stage(name, Conv(shape.channels, entry.integer("classifier", 1000), (1, 1), bias=True))
        return Scope(name, self._repeated(entry, shape))

    def _repeated(self, entry: Table, shape: Shape) -> Node:
        """The blocks of one entry; as in the papers, only the first repetition has the stride."""
        names = _block_names(entry)
        entry.refuse_unknown((*_KINDS, *_BLOCK_KEYS, *(key for name in names for key in BLOCKS[name].defaults)))
        repeat = entry.integer("repeat", 1, most=_MOST_REPEATS)
        parts = []
        for i in range(repeat):
            part = self._blocks(names, entry, shape, first=i == 0)
            shape = place(part, shape)[1]
            parts.append(part)
        return parts[0] if repeat == 1 else chain(*(Scope(str(i), part) for i, part in enumerate(parts)))

    def _blocks(self, names: tuple[str, ...], entry: Table, shape: Shape, *, first: bool) -> Node:
        """Blocks one after the other, the first with the stride, and the shortcut around them all."""
        stride = entry.pair("stride", 1) if first else (1, 1)
        out_channels, before = self._out_channels(entry, shape), shape
        parts = []
        for i, name in enumerate(names):
            node = self._block(name, entry, shape, out_channels, (1, 1) if i else stride)
            shape = place(node, shape)[1]
            parts.append(node)
        body = parts[0] if len(parts) == 1 else chain(*(Scope(str(i), part) for i, part in enumerate(parts)))
        if entry.choice("shortcut", "none", ("none", "projection")) == "projection":
            body = with_shortcut(body, before, stride, bias=self.bias)
        return dress(body, self.style, linear=entry.flag("linear"))

    def _block(self, name: str, entry: Table, shape: Shape, out_channels: int, stride: tuple[int, int]) -> Node:
        kernel, dilation = entry.pair("kernel_size", 3), entry.pair("dilation", 1)
        padding = _padding(entry, self.padding) if "padding" in entry.values else self.padding
        if padding == "half":
            padding = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
        height, width = shape.spatial
        spec = Spec(
            *(shape.channels, out_channels, kernel, height, width, shape.batch),
            *(stride, dilation, padding, self.bias),
        )
        block = BLOCKS[name]
        given = {key: self._parameter(entry, key) for key in block.defaults if key in entry.values}
        return block.make(spec, **block.parameters(spec, given))

    def _parameter(self, entry: Table, key: str) -> int | Fraction:
        kind = PARAMETERS[key].kind
        if kind == "share":
            return entry.share(key, Fraction(1))
        value = entry.integer(key, 1)
        return scale_channels(value, self.alpha, self.divisor) if kind == "channels" else value

    def _out_channels(self, entry: Table, shape: Shape) -> int:
        if "out_channels" not in entry.values:
            return shape.channels
        alpha = max(self.alpha, Fraction(1)) if entry.flag("widen_only") else self.alpha
        return scale_channels(entry.integer("out_channels", 1), alpha, self.divisor)


def _kind(entry: Table) -> str:
    kinds = [kind for kind in _KINDS if kind in entry.values]
    if len(kinds) != 1:
        entry.refuse(
            kinds[1] if kinds else "block", f"must be the one key that says what the layer is: {', '.join(_KINDS)}."
        )
    return kinds[0]


def _block_names(entry: Table) -> tuple[str, ...]:
    key = "block" if "block" in entry.values else "blocks"
    names = entry.values[key] if key == "blocks" else [entry.values[key]]
    if not isinstance(names, list) or not names:
        entry.refuse(key, 'must be a list of names; write blocks = ["standard", "standard"].')
    for name in names:
        if not isinstance(name, str) or name not in BLOCKS:
            entry.refuse(key, f"must be of the catalogue; {did_you_mean(str(name), BLOCKS)}")
    return tuple(names)


def _padding(table: Table, default: object) -> tuple[int, int] | Literal["half", "same", "valid"]:
    """`half` is (k - 1)·dilation / 2 on both sides, torch's habit; `same` is TensorFlow's SAME."""
    if isinstance(table.values.get("padding", default), str):
        return table.choice("padding", "half", ("half", "same", "valid"))
    return table.pair("padding", 0, least=0)


def _pool(entry: Table) -> MaxPool | GlobalPool:
    kind = entry.choice("pool", "global-average", ("global-average", "max"))
    if kind == "global-average":
        entry.refuse_unknown(("name", "pool"))
        return GlobalPool()
    entry.refuse_unknown(("name", "pool", "kernel_size", "stride", "padding"))
    return MaxPool(entry.integer("kernel_size", 2), entry.integer("stride", 2), entry.integer("padding", 0, least=0))


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

"""The keys of a network's TOML file, and its layers as a tree: each layer's output is the input of the next."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, make_dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from convcost.convolution.blocks import BLOCKS, PARAMETERS, find_block
from convcost.convolution.conv import Conv
from convcost.convolution.layer import ACTIVATIONS, Activation, GlobalPool, MaxPool, Norm
from convcost.convolution.spec import Spec
from convcost.convolution.tree import Chain, Concat, Residual, Scope, Split, Stage, Step, chain, place
from convcost.text.errors import ShapeError, as_text
from convcost.text.toml_tables import Read, is_number, number, read_table, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.convolution.layer import Kind
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.text.toml import Key, TomlFile


_WORDS: Final = ("half", "same", "valid")
"""Paddings by name: `half` is (k - 1)·dilation / 2 on both sides as in torch, `same` is TensorFlow's SAME."""
_SHARE: Final = r"\d{1,9}(/0{0,8}[1-9]\d{0,8}|\.\d{1,17})?"
"""A number without an exponent, or a fraction whose denominator is not 0."""


def _is_share(value: object) -> bool:
    text = as_text(value)
    return not isinstance(value, bool) and bool(re.fullmatch(_SHARE, text, re.ASCII)) and Fraction(text) > 0


def _sizes(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a value of a TOML file has any type
    return tuple(value) if isinstance(value, (list, tuple)) else (value, value)


def _is_pair(value: object, least: int = 1) -> bool:
    return [is_number(size, least) for size in _sizes(value)] == [True, True]


_share: Final = require('must be a number above 0; write 0.5 or "1/2".', _is_share, lambda value: Fraction(str(value)))
_pair: Final = require("must be a whole number of at least 1, or [height, width]; write 1.", _is_pair, _sizes)
_padding: Final = require(
    "must be half, same, valid, a whole number of at least 0, or [height, width]; write one of them.",
    lambda value: value in _WORDS if isinstance(value, str) else _is_pair(value, 0),
    lambda value: value if isinstance(value, str) else _sizes(value),
)
_block: Final = require(
    'must be a name of the catalogue; write "standard".',
    lambda value: isinstance(value, str),
    lambda name: find_block(name).name,
)
Flag: TypeAlias = Annotated[
    bool, Read(require("must be true or false; write true.", lambda value: isinstance(value, bool)))
]
AtLeastOne: TypeAlias = Annotated[int, Read(number(1))]
Share: TypeAlias = Annotated[Fraction, Read(_share)]
Pair: TypeAlias = Annotated[tuple[int, int], Read(_pair)]
Padding: TypeAlias = Annotated[tuple[int, int] | Literal["half", "same", "valid"], Read(_padding)]
BlockName: TypeAlias = Annotated[str, Read(_block)]

ARGUMENTS: Final[dict[str, Callable[[object], object]]] = {"alpha": _share, "resolution": _pair}
"""The keys that a caller may override, each with the function that reads its value."""


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """The keys of the file."""

    resolution: Pair
    name: str = ""
    paper: str = ""
    in_channels: AtLeastOne = 3
    alpha: Share = Fraction(1)
    divisor: AtLeastOne = 1
    norm: Literal["batch", "none"] = "batch"
    activation: Literal["relu", "relu6", "silu", "hardswish", "gelu", "none"] = "relu"
    bias: Flag = False
    padding: Padding = "half"
    layers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Pool:
    """The keys of a pooling layer; `kernel_size`, `stride` and `padding` are for "max" alone."""

    pool: Literal["global-average", "max"]
    name: str = ""
    kernel_size: AtLeastOne = 2
    stride: AtLeastOne = 2
    padding: Annotated[int, Read(number(0))] = 0


@dataclass(frozen=True, slots=True)
class _Classifier:
    """The keys of a fully connected layer."""

    classifier: AtLeastOne
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The keys of blocks of the catalogue, one after the other; their own parameters are added in `_LAYERS`."""

    block: BlockName | None = None
    blocks: tuple[BlockName, ...] = ()
    name: str = ""
    out_channels: AtLeastOne | None = None
    kernel_size: Pair = (3, 3)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding | None = None
    repeat: Annotated[int, Read(number(1, 1000))] = 1
    shortcut: Literal["none", "projection"] = "none"
    linear: Flag = False
    widen_only: Flag = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the blocks, in order."""
        return self.blocks if self.block is None else (self.block,)


_OWN: Final = [
    (name, Share if own.kind == "share" else Annotated[int, Read(number(own.least))], field(default=None))
    for name, own in PARAMETERS.items()
]
_ALL: Final = make_dataclass("_All", _OWN, bases=(_Blocks,), namespace={"__module__": __name__}, frozen=True)
_LAYERS: Final[dict[str, Any]] = {"block": _ALL, "blocks": _ALL, "pool": _Pool, "classifier": _Classifier}
"""The keys that say the kind of a layer, which has exactly one of them, each with the dataclass of all its keys."""


class LayerReader:
    """Makes the tree of a network from its list of layers.

    Args:
        file: File of the network.
        network: Keys of the file.
    """

    def __init__(self, file: TomlFile, network: NetworkFile) -> None:
        self.file, self.network = file, network
        activation = next((kind for kind in ACTIVATIONS if kind == network.activation), None)
        self.style = Style(network.norm == "batch", activation)

    def tree(self, shape: Shape) -> Node:
        """The named parts for an input of this shape.

        Raises:
            ConvcostError: A key or a value is not one of the format.
            ShapeError: Layers do not fit each other.
        """
        if not self.network.layers:
            self.file.refuse(("layers",), "must be a list of tables; write layers = [{ ... }, { ... }].")
        parts: dict[str, Node] = {}
        for index, values in enumerate(self.network.layers):
            path: Key = ("layers", index)
            kind, layer = self._layer(values, path)
            name = layer.name or ("classifier" if kind == "classifier" else f"{kind.rstrip('s')}{index + 1}")
            if name in parts or "." in name:
                self.file.refuse((*path, "name"), "must be unique and without a dot; write another name.")
            try:
                parts[name] = self._part(layer, name, shape, path)
                shape = place(parts[name], shape)[1]
            except ShapeError as error:
                raise ShapeError(f"{self.file.at(path)}: {error}") from error
        return chain(*parts.values())

    def _layer(self, values: dict[str, Any], path: Key) -> tuple[str, _Pool | _Classifier | _Blocks]:
        """The kind of a layer, and the values of its keys."""
        kinds = [key for key in _LAYERS if key in values]
        if len(kinds) != 1:
            rule = f"must have exactly one of the keys {', '.join(_LAYERS)}; name one kind of layer."
            self.file.refuse((*path, *kinds[1:2]), rule)
        (kind,) = kinds
        layer = read_table(self.file, _LAYERS[kind], path)
        if kind == "blocks" and not layer.blocks:
            self.file.refuse((*path, kind), 'must not be empty; write blocks = ["standard", "standard"].')
        foreign = {"kernel_size", "stride", "padding"} if values[kind] == "global-average" else set()
        if isinstance(layer, _Blocks):
            foreign = PARAMETERS.keys() - {key for name in layer.names for key in BLOCKS[name].defaults}
        for key in sorted(foreign & values.keys()):
            self.file.refuse(
                (*path, key), f"must not be there, for {as_text(values[kind])} has no such key; delete it."
            )
        return kind, layer

    def _part(self, layer: _Pool | _Classifier | _Blocks, name: str, shape: Shape, path: Key) -> Node:
        match layer:
            case _Pool(pool="max"):
                return Step(name, MaxPool(layer.kernel_size, layer.stride, layer.padding))
            case _Pool():
                return Step(name, GlobalPool())
            case _Blocks():
                return Scope(name, self._repeated(layer, shape))
        if shape.spatial != (1, 1):
            rule = 'must follow a map of 1x1; put { pool = "global-average" } before it.'
            self.file.refuse((*path, "classifier"), rule)
        return Stage(name, Conv(shape.channels, layer.classifier, (1, 1), bias=True))

    def _repeated(self, layer: _Blocks, shape: Shape) -> Node:
        """The blocks of one layer; as in the papers, only the first repetition has the stride."""
        parts = []
        for i in range(layer.repeat):
            parts.append(self._blocks(layer, shape, first=i == 0))
            shape = place(parts[-1], shape)[1]
        return _numbered(parts)

    def _blocks(self, layer: _Blocks, shape: Shape, *, first: bool) -> Node:
        """Blocks one after the other, the first with the stride, and the shortcut around them all."""
        stride = layer.stride if first else (1, 1)
        out_channels, before = self._out_channels(layer, shape), shape
        parts = []
        for i, name in enumerate(layer.names):
            parts.append(self._block(name, layer, shape, out_channels, (1, 1) if i else stride))
            shape = place(parts[-1], shape)[1]
        body = _numbered(parts)
        if layer.shortcut == "projection":
            body = with_shortcut(body, before, stride, bias=self.network.bias)
        return dress(body, self.style, linear=layer.linear)

    def _block(self, name: str, layer: _Blocks, shape: Shape, out_channels: int, stride: tuple[int, int]) -> Node:
        kernel, dilation = layer.kernel_size, layer.dilation
        padding = self.network.padding if layer.padding is None else layer.padding
        if padding == "half":
            padding = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
        height, width = shape.spatial
        spec = Spec(
            *(shape.channels, out_channels, kernel, height, width, shape.batch),
            *(stride, dilation, padding, self.network.bias),
        )
        block = BLOCKS[name]
        given = {key: value for key in block.defaults if (value := getattr(layer, key)) is not None}
        for key, value in given.items():
            if PARAMETERS[key].kind == "channels":
                given[key] = scale_channels(value, self.network.alpha, self.network.divisor)
        return block.make(spec, **block.parameters(spec, given))

    def _out_channels(self, layer: _Blocks, shape: Shape) -> int:
        if layer.out_channels is None:
            return shape.channels
        alpha = max(self.network.alpha, Fraction(1)) if layer.widen_only else self.network.alpha
        return scale_channels(layer.out_channels, alpha, self.network.divisor)


def _numbered(parts: list[Node]) -> Node:
    """Parts one after the other, named by their numbers; a single part keeps its name."""
    return parts[0] if len(parts) == 1 else chain(*(Scope(str(i), part) for i, part in enumerate(parts)))


@dataclass(frozen=True, slots=True)
class Style:
    """The operations that follow each convolution of a network.

    Attributes:
        norm: Whether batch normalisation follows.
        activation: Activation after the normalisation; None without one.
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
        node: Stages of the block.
        style: Operations that follow each convolution.
        linear: Whether the block ends without an activation (a linear bottleneck).
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

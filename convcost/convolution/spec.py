"""The requested layer shape, the parameters that only some blocks have, and the registry of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape, require_at_least
from convcost.convolution.tree import Stage
from convcost.text.errors import ConvcostError, ShapeError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

    from convcost.convolution.formula import Int
    from convcost.convolution.tree import Node

    Value: TypeAlias = int | Fraction
    Default: TypeAlias = "int | Rule"


@dataclass(frozen=True, slots=True)
class Spec:
    """One layer shape that a block is built for.

    Attributes:
        in_channels: Input channels, C.
        out_channels: Requested output channels, O.
        kernel_size: Kernel size (height, width).
        height: Input height.
        width: Input width.
        batch: Samples of the batch, N.
        stride: Stride (vertical, horizontal).
        dilation: Dilation (vertical, horizontal).
        padding: "same" (output ceil(input / stride), TensorFlow's SAME), "valid" (none), or a size for each axis.
        bias: Whether every stage has a bias.

    Raises:
        ShapeError: A size below its minimum, or a kernel larger than the padded input.
    """

    in_channels: Int
    out_channels: Int
    kernel_size: tuple[Int, Int]
    height: Int = 224
    width: Int = 224
    batch: Int = 1
    stride: tuple[Int, Int] = (1, 1)
    dilation: tuple[Int, Int] = (1, 1)
    padding: tuple[Int, Int] | Literal["same", "valid"] = "same"
    bias: bool = False

    def __post_init__(self) -> None:
        """Refuse a shape that no block could convolve with this kernel."""
        require_at_least(1, out_channels=self.out_channels)
        kernel = Conv(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation)
        kernel.output_shape(self.input)

    @property
    def input(self) -> Shape:
        """The shape of the block's input, (N, C, height, width)."""
        return Shape(self.batch, self.in_channels, (self.height, self.width))

    def spatial(  # noqa: PLR0913 - the hyper-parameters of a convolution
        self,
        name: str,
        in_channels: Int,
        out_channels: Int,
        *,
        groups: Int = 1,
        tied: bool = False,
        axis: int | None = None,
        strided: bool = True,
    ) -> Stage:
        """A stage with the spec's kernel, stride, dilation and padding.

        Args:
            name: Name of this stage, unique in its block.
            in_channels: Input channels of this stage.
            out_channels: Output channels of this stage.
            groups: Groups of this stage.
            tied: Whether all groups share one filter bank.
            axis: Axis that has the spec's sizes, the other having kernel size 1 (0: K×1, 1: 1×K); None for both axes.
            strided: Whether the stage has the spec's stride and padding; else its output is as large as its input.
        """
        keep = (axis in {None, 0}, axis in {None, 1})
        kernel, dilation = _where(keep, self.kernel_size), _where(keep, self.dilation)
        stride = _where(keep, self.stride) if strided else (1, 1)
        if not strided:
            padding: tuple[Int, Int] | Literal["same", "valid"] = "same"
        else:
            padding = self.padding if isinstance(self.padding, str) else _where(keep, self.padding, fill=0)
        return Stage(
            name, Conv(in_channels, out_channels, kernel, stride, padding, dilation, groups, self.bias, tied=tied)
        )

    def pointwise(self, name: str, in_channels: Int, out_channels: Int, stride: tuple[Int, Int] = (1, 1)) -> Stage:
        """A 1×1 stage without padding."""
        return Stage(name, Conv(in_channels, out_channels, (1, 1), stride, 0, 1, 1, self.bias))


def _where(keep: tuple[bool, bool], sizes: tuple[Int, Int], fill: int = 1) -> tuple[Int, Int]:
    return (sizes[0] if keep[0] else fill, sizes[1] if keep[1] else fill)


SHORT_SIZES: Final = {
    "in_channels": "c",
    "out_channels": "o",
    "kernel_size": "k",
    "height": "h",
    "width": "w",
    "batch": "bs",
}


def short_names() -> dict[str, str]:
    """The short names of sizes and parameters, by their full names."""
    return SHORT_SIZES | {one.name: one.short for one in PARAMETERS.values() if one.short is not None}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that only some blocks have: its one declaration for commands, public functions and documentation.

    Attributes:
        name: Name of the argument.
        symbol: Letter in formulas.
        help: Meaning, as a noun phrase.
        short: Short name of the argument; None without one.
        least: Smallest legal value of a count or of channels.
        kind: "count", "channels" (scaled by a network's width multiplier), or "share" (above 0 and at most 1).
        sets_mid: Whether it sets the output channels of the block's first stage.
    """

    name: str
    symbol: str
    help: str
    short: str | None = None
    least: int = 1
    kind: Literal["count", "channels", "share"] = "count"
    sets_mid: bool = False

    def require(self, value: Value) -> None:
        """Refuse a value that no block allows.

        Raises:
            ShapeError: A value below its minimum, no whole number, or a share outside 0 to 1.
        """
        if self.kind != "share":
            require_at_least(self.least, **{self.name: value})
        elif not 0 < value <= 1:
            raise ShapeError(f"{self.name} (={value}) must be above 0 and at most 1; give a share such as 1/4.")

    @property
    def owners(self) -> tuple[Block, ...]:
        """The blocks with this parameter."""
        return tuple(block for block in BLOCKS.values() if self.name in block.defaults)

    @property
    def defaults(self) -> str:
        """The default values, each with its blocks, as text."""
        names: dict[str, list[str]] = {}
        for block in self.owners:
            names.setdefault(str(block.defaults[self.name]), []).append(block.name)
        return "; ".join(f"{default} for {', '.join(blocks)}" for default, blocks in names.items())


PARAMETERS: Final[dict[str, Parameter]] = {}
"""Every parameter that only some blocks have, by name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A default value that depends on the layer shape.

    Attributes:
        text: Formula of the rule, for documentation.
        value: Function that computes the default from a layer shape.
    """

    text: str
    value: Callable[[Spec], Value]

    def __str__(self) -> str:
        """The formula of the rule."""
        return self.text


@dataclass(frozen=True, slots=True)
class Block:
    """A named composition of stages.

    Attributes:
        name: Name in the catalogue.
        paper: Paper that describes the block.
        make: Function of a spec and the block's own parameters that returns the tree of stages.
        defaults: Default values, or the rules for them, of the block's own parameters.
    """

    name: str
    paper: str
    make: Callable[..., Node]
    defaults: Mapping[str, Default]

    @property
    def summary(self) -> str:
        """Description in one line."""
        return (self.make.__doc__ or "").partition("\n")[0]

    def parameters(self, spec: Spec, given: Mapping[str, Value]) -> dict[str, Value]:
        """The block's own parameters: the given values, else the defaults for this spec.

        Raises:
            ShapeError: A value below its minimum, or a share outside 0 to 1.
        """
        chosen: dict[str, Value] = {}
        for name, default in self.defaults.items():
            value = given.get(name)
            if value is None:
                value = default.value(spec) if isinstance(default, Rule) else default
            PARAMETERS[name].require(value)
            chosen[name] = value
        return chosen


BLOCKS: Final[dict[str, Block]] = {}
"""Every block of the catalogue by name, in order."""


def find_block(name: str) -> Block:
    """The block of this name.

    Raises:
        ConvcostError: There is no such block; the message names the nearest one.
    """
    if name not in BLOCKS:
        hint = did_you_mean(name, BLOCKS, "see convcost compare --list-blocks.")
        raise ConvcostError(f"block (={name}) must be a name of the catalogue; {hint}")
    return BLOCKS[name]


def block(name: str, paper: str, **defaults: Default) -> Callable[[Callable[..., Node]], Callable[..., Node]]:
    """Register the decorated function as a block of the catalogue."""

    def register(make: Callable[..., Node]) -> Callable[..., Node]:
        BLOCKS[name] = Block(name, paper, make, defaults)
        return make

    return register

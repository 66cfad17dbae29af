"""What a block is, how it is registered, and the parameters that only some blocks have.

A block's own parameters are named in its `@block` line with their default, or with the rule that makes it. The
catalogue itself is `convcost.convolution.blocks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from convcost.convolution.shape import require_at_least
from convcost.text.errors import ConvcostError, ShapeError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

    from convcost.convolution.spec import Spec
    from convcost.convolution.tree import Node

    Value: TypeAlias = int | Fraction
    Default: TypeAlias = Value | Callable[[Spec], Value]

__all__ = ["BLOCKS", "PARAMETERS", "Block", "Parameter", "block", "find_block"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that only some blocks have: its name, its symbol in formulas, its least value, its meaning."""

    name: str
    symbol: str
    least: int
    help: str

    def require(self, value: Value) -> None:
        """Refuse a value that no block could take.

        Raises:
            ShapeError: below the least value, no whole number, or a share outside 0 to 1.
        """
        if self.least:
            require_at_least(self.least, **{self.name: value})
        elif not 0 < value <= 1:
            msg = f"{self.name} (={value}) must be above 0 and at most 1; give a share such as 1/4."
            raise ShapeError(msg)


PARAMETERS: Final = {
    parameter.name: parameter
    for parameter in (
        Parameter("depth_multiplier", "m", 1, "outputs per input channel of the (first) depthwise stage"),
        Parameter("groups", "g", 1, "groups of the grouped convolution"),
        Parameter("expansion", "t", 1, "hidden channels per input channel"),
        Parameter("mid_channels", "M", 1, "channels between the stages"),
        Parameter("rank", "r", 1, "channels between the K×K and the 1×1 stage"),
        Parameter("ghost_ratio", "s", 2, "outputs per primary output channel"),
        Parameter("partial", "p", 0, "share of the input channels that is convolved, as in 1/4"),
    )
}


@dataclass(frozen=True, slots=True)
class Block:
    """A named composition of stages.

    Attributes:
        name: as the user types it.
        paper: where the block comes from.
        make: returns the tree of stages for a spec and the block's own parameters.
        defaults: the block's own parameters, each with its default or the rule that makes it.
    """

    name: str
    paper: str
    make: Callable[..., Node]
    defaults: Mapping[str, Default]

    @property
    def summary(self) -> str:
        """One line that says what the block is."""
        return (self.make.__doc__ or "").partition("\n")[0]

    def parameters(self, spec: Spec, given: Mapping[str, Value]) -> dict[str, Value]:
        """The block's own parameters: what was given, else the defaults for this spec.

        Raises:
            ShapeError: a value below its least one, or a partial share outside 0 to 1.
        """
        chosen: dict[str, Value] = {}
        for name, default in self.defaults.items():
            value = given.get(name)
            if value is None:
                value = default(spec) if callable(default) else default
            PARAMETERS[name].require(value)
            chosen[name] = value
        return chosen


BLOCKS: Final[dict[str, Block]] = {}
"""Every block by name, in the order of the catalogue."""


def find_block(name: str) -> Block:
    """The block of this name.

    Raises:
        ConvcostError: no such block; the message names the nearest ones.
    """
    if name not in BLOCKS:
        hint = did_you_mean(name, BLOCKS, "see convcost compare --list-blocks.")
        msg = f"block (={name}) must be a name of the catalogue; {hint}"
        raise ConvcostError(msg)
    return BLOCKS[name]


def block(name: str, paper: str, **defaults: Default) -> Callable[[Callable[..., Node]], Callable[..., Node]]:
    """Register the decorated function as a block of the catalogue."""

    def register(make: Callable[..., Node]) -> Callable[..., Node]:
        BLOCKS[name] = Block(name, paper, make, defaults)
        return make

    return register

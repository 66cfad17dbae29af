"""A network as data: the text of a TOML file becomes a tree of catalogue blocks, with nothing of the user's to run."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.convolution.cost import cost
from convcost.convolution.shape import Shape
from convcost.convolution.tree import place
from convcost.models.network_layers import NETWORK_KEYS, Reader
from convcost.text.errors import ConvcostError, did_you_mean
from convcost.text.toml_table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from convcost.convolution.conv import Layer
    from convcost.convolution.cost import Cost
    from convcost.convolution.tree import Node

__all__ = ["ARGUMENTS", "Network", "parse_network"]

ARGUMENTS: Final = ("alpha", "resolution")
"""What a caller may override: the width multiplier and the input's size."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network and the input it is for.

    Attributes:
        name: of the network.
        paper: where it comes from.
        alpha: the width multiplier that was applied.
        input: (1, C, height, width).
        tree: of named parts; `place` puts it on the input and `convcost.nn.build.tree_module` makes the module.
    """

    name: str
    paper: str
    alpha: Fraction
    input: Shape
    tree: Node

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer in the order it runs."""
        return place(self.tree, self.input)[0]

    @property
    def cost(self) -> Cost:
        """MACs, parameters and compulsory traffic (float32) of one sample."""
        return cost(self.layers)


def parse_network(text: str, source: str, args: Mapping[str, object] | None = None) -> Network:
    """Read a network from the text of its TOML file.

    Args:
        text: the file's text.
        source: the file's name, for messages.
        args: `alpha` and `resolution` in place of the file's own.

    Raises:
        ConvcostError: no TOML, a key or a value that the format does not have, layers that do not fit each other; the
            message names the file and the key.
    """
    given = dict(args or {})
    for name, value in given.items():
        if name not in ARGUMENTS:
            msg = f"{source}: argument {name} (={value}) is none of a network; {did_you_mean(name, ARGUMENTS)}"
            raise ConvcostError(msg)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{source}: the file must be TOML: {error}; mend the text there."
        raise ConvcostError(msg) from error
    table = Table(source, {**values, **given})
    table.refuse_unknown(NETWORK_KEYS)
    if "resolution" not in table.values:
        table.refuse("resolution", "must be there; write resolution = 224.")
    inputs = Shape(1, table.integer("in_channels", 3), table.pair("resolution", 224))
    reader = Reader(table)
    tree = reader.tree(inputs)
    return Network(table.text("name", source), table.text("paper", ""), reader.alpha, inputs, tree)

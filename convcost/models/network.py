"""A network as data: the text of a TOML file becomes a tree of catalogue blocks, with nothing of the user's to run."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.convolution.cost import cost
from convcost.convolution.shape import Shape
from convcost.convolution.tree import place
from convcost.models.network_layers import NETWORK_KEYS, Reader
from convcost.text.errors import ConvcostError, did_you_mean
from convcost.text.toml import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from convcost.convolution.cost import Cost
    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Node


__all__ = [
    "ARGUMENTS",
    "Network",
    "config_folder",
    "list_networks",
    "parse_network",
    "read_network",
    "read_packaged_network",
]

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


def config_folder() -> Path:
    """The package's TOML files: in the installed package, else in the source checkout around it.

    Raises:
        ConvcostError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return folder
    msg = f"the folder of networks (={package / 'configs'}) must be there; install convcost again."
    raise ConvcostError(msg)


def list_networks() -> tuple[str, ...]:
    """The names of the package's networks, as `network:NAME` takes them."""
    return tuple(sorted(path.stem for path in (config_folder() / "networks").glob("*.toml")))


def read_network(path: Path, args: Mapping[str, object] | None = None) -> Network:
    """Read a network's file.

    Args:
        path: of the TOML file.
        args: `alpha` and `resolution` in place of the file's own.

    Raises:
        ConvcostError: the file cannot be read, or is no network.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        msg = f"network (={path}) must be a TOML file that can be read: {why}; give the path of one."
        raise ConvcostError(msg) from error
    return parse_network(text, str(path), args)


def read_packaged_network(name: str, args: Mapping[str, object] | None = None) -> Network:
    """Read a network of the package by its name, such as `mobilenet_v1`.

    Raises:
        ConvcostError: no such network, with the nearest name; or as `read_network`.
    """
    known = list_networks()
    if name not in known:
        msg = f"network (={name}) must be one of the package; {did_you_mean(name, known)}"
        raise ConvcostError(msg)
    return read_network(config_folder() / "networks" / f"{name}.toml", args)

"""A network as data: a TOML file that becomes a tree of the catalogue's blocks; no user code runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.convolution.cost import cost
from convcost.convolution.shape import Shape
from convcost.convolution.tree import place
from convcost.models.network_layers import ARGUMENTS, LayerReader, NetworkFile
from convcost.text.errors import ConvcostError, did_you_mean
from convcost.text.input_file import read_file
from convcost.text.toml import parse_toml
from convcost.text.toml_tables import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from convcost.convolution.cost import Cost
    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Node


@dataclass(frozen=True, slots=True)
class Network:
    """A network and its input.

    Attributes:
        name: Name of the network.
        paper: Paper that describes it.
        alpha: Width multiplier that the tree was made with.
        input: Shape of the input: (1, C, height, width).
        tree: Tree of the named parts.
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


def parse_network(data: bytes, source: str, args: Mapping[str, object] | None = None) -> Network:
    """The network of a TOML file.

    Args:
        data: Content of the file.
        source: Name of the file, for messages.
        args: Values for `alpha` and `resolution` that replace those of the file.

    Raises:
        ConvcostError: The file is not TOML, a key or a value is not one of the format, or layers do not fit each other;
            the message has the line.
    """
    given = dict(args or {})
    for name, value in given.items():
        if name not in ARGUMENTS:
            raise ConvcostError(
                f"{source}: argument {name} (={value}) is none of a network; {did_you_mean(name, ARGUMENTS)}"
            )
        try:
            ARGUMENTS[name](value)
        except ConvcostError as error:
            raise ConvcostError(f"{source}: argument {name} {error}") from None
    file = parse_toml(data, source)
    file = replace(file, values={**file.values, **given})
    read = read_table(file, NetworkFile, next_steps={"resolution": "write resolution = 224"})
    inputs = Shape(1, read.in_channels, read.resolution)
    tree = LayerReader(file, read).tree(inputs)
    return Network(read.name or source, read.paper, read.alpha, inputs, tree)


def config_folder() -> Path:
    """The folder of the package's TOML files, in the installed package or in the source checkout around it.

    Raises:
        ConvcostError: There is no such folder.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return folder
    raise ConvcostError(f"the folder of networks (={package / 'configs'}) must be there; install convcost again.")


def list_networks() -> tuple[str, ...]:
    """The names of the package's networks, as `network:NAME` takes them."""
    return tuple(sorted(path.stem for path in (config_folder() / "networks").glob("*.toml")))


def read_network(path: Path, args: Mapping[str, object] | None = None) -> Network:
    """Read a network's file.

    Args:
        path: Path of the TOML file.
        args: Values for `alpha` and `resolution` that replace those of the file.

    Raises:
        ConvcostError: The file cannot be read, or is not a network.
    """
    return parse_network(read_file(path, "network", "give the path of a TOML file"), str(path), args)


def read_packaged_network(name: str, args: Mapping[str, object] | None = None) -> Network:
    """Read a network of the package by its name, such as `mobilenet_v1`.

    Raises:
        ConvcostError: There is no such network, or as for `read_network`.
    """
    known = list_networks()
    if name not in known:
        raise ConvcostError(f"network (={name}) must be one of the package; {did_you_mean(name, known)}")
    return read_network(config_folder() / "networks" / f"{name}.toml", args)

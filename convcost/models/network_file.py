"""Where the networks of the package lie, and reading one: the only place that opens a network's file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convcost.models.network import parse_network
from convcost.text.errors import ConvcostError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.models.network import Network

__all__ = ["config_folder", "list_networks", "read_network", "read_packaged_network"]


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

"""This machine as torch sees it: whose figures a calibration holds, and what its caches can take."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

from convcost.machine import Identity
from convcost.nn.device import cpu_name, resolve_threads

__all__ = ["cache_sizes", "identity"]

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def identity(device: torch.device) -> Identity:
    """The machine's name and what else its speeds depend on."""
    version = torch.__version__.partition("+")[0]
    if device.type != "cpu":
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu_name()} GPU"
        return Identity(name, device.type, 0, "", version, "")
    isa = torch.backends.cpu.get_cpu_capability()
    return Identity(cpu_name(), "cpu", resolve_threads("all"), isa, version, _onednn_version())


def _onednn_version() -> str:
    """Of the library in this build of torch; empty for a build without it."""
    found = re.search(r"MKL-DNN v([\d.]+)|oneDNN v([\d.]+)", torch.__config__.show())
    return next(filter(None, found.groups()), "") if found else ""


def cache_sizes(device: torch.device, threads: int) -> tuple[tuple[str, int], ...]:
    """The data caches, the fastest first, with the bytes that so many threads hold in them together.

    Empty where the system does not tell: then memory is the only level.
    """
    if device.type == "cuda":
        size = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)
        return (("L2", int(size)),) if size else ()
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return ()
    found: dict[str, int] = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size, shared = (
            (folder / name).read_text(encoding="ascii").strip() for name in ("type", "level", "size", "shared_cpu_list")
        )
        match = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind in {"Data", "Unified"} and match:
            copies = -(-threads // _members(shared))
            found[f"L{level}"] = int(match[1]) * UNITS[match[2]] * copies
    return tuple(sorted(found.items()))


def _members(listed: str) -> int:
    """How many processors a list such as `0-3,8` names."""
    ranges = (part.partition("-") for part in listed.split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)

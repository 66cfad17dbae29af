"""Entries of a lock, for tests."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from convcost.budgets.lock import checksum
from convcost.changes.layer_cost import Entry, LayerCost

if TYPE_CHECKING:
    from pathlib import Path


def conv(name: str, channels: str, kernel: str = "3x3", size: int = 8, groups: int = 1) -> LayerCost:
    """A 'same' convolution on a square image; params and MACs are products written out."""
    inputs, outputs = map(int, channels.split(">"))
    height, width = map(int, kernel.split("x"))
    params = inputs // groups * outputs * height * width
    padding = f"{height // 2}x{width // 2}"
    shapes = f"1x{inputs}x{size}x{size}", f"1x{outputs}x{size}x{size}"
    return LayerCost(
        name, "Conv2d", channels, kernel, "1x1", padding, "1x1", groups, *shapes, params, params * size * size
    )


def relu(name: str, channels: int = 8) -> LayerCost:
    shape = f"1x{channels}x8x8"
    return LayerCost(name, "ReLU", "", "", "", "", "", 0, shape, shape, 0, 0)


def entry(*layers: LayerCost, counter: int = 1, torch: str = "2.13.0", uncounted: int = 0) -> Entry:
    params = sum(layer.params for layer in layers)
    macs = sum(layer.macs for layer in layers)
    named = {layer.name: layer for layer in layers}
    return Entry(counter, torch, (layers[0].input,), params, macs, 4 * params, 4096, uncounted, named)


def edit_lock(path: Path, *changes: tuple[str, str]) -> None:
    """Edit a lock as another version would have written it: with the checksums of the edited entries."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    for name, table in tomllib.loads(text)["budget"].items():
        layers, before = table.pop("layers"), table.pop("checksum")
        assert re.fullmatch("[0-9a-f]{16}", before), name
        text = text.replace(before, checksum(table, layers))
    path.write_text(text, encoding="utf-8")

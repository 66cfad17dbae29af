"""Which layer of one count is which of another, whatever it is called."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from convcost.budgets.layer_cost import Entry, LayerCost

    Pair: TypeAlias = tuple[LayerCost, LayerCost]

__all__ = ["Matched", "match_layers"]


class Matched(NamedTuple):
    """Pairs of one layer each, and what is left on either side."""

    pairs: list[Pair]
    removed: list[LayerCost]
    added: list[LayerCost]


def match_layers(before: Entry, after: Entry) -> Matched:
    """Match the layers of two counts, those that are surely the same first.

    By name and structure. By structure in the order of the forward pass, but not where a layer is still there under
    its own name, only on another shape. By what the layer itself is in that order, whatever its shapes. By name and
    operator, or by the name that its neighbours' renaming would give it. By operator in order, under names that differ
    in their numbers, which shift when a layer is inserted.
    """
    old, new = dict(before.layers), dict(after.layers)
    same = [name for name in old if name in new and old[name].structure == new[name].structure]
    pairs = [(old.pop(name), new.pop(name)) for name in same]
    there = {name for name in old if "#" not in name and name in new and old[name].itself == new[name].itself}
    pairs += _in_order(old, new, lambda layer: None if layer.name in there else layer.structure)
    pairs += _in_order(old, new, lambda layer: layer.itself)
    renames = _prefixes(pairs)
    for name in list(old):
        wanted = name if name in new else _renamed(name, renames)
        if wanted in new and new[wanted].op == old[name].op:
            pairs.append((old.pop(name), new.pop(wanted)))
    pairs += _in_order(old, new, lambda layer: (layer.op, re.sub(r"\d+", "#", layer.name)))
    return Matched(pairs, list(old.values()), list(new.values()))


def _in_order(
    old: dict[str, LayerCost], new: dict[str, LayerCost], key: Callable[[LayerCost], Hashable | None]
) -> list[Pair]:
    """Take the layers of equal keys out of both, in the order of the forward pass; a key of None matches nothing."""
    olds, news = ([layer for layer in one.values() if key(layer) is not None] for one in (old, new))
    matcher = SequenceMatcher(None, list(map(key, olds)), list(map(key, news)), autojunk=False)
    pairs = [
        (olds[block.a + offset], news[block.b + offset])
        for block in matcher.get_matching_blocks()
        for offset in range(block.size)
    ]
    for a, b in pairs:
        del old[a.name], new[b.name]
    return pairs


def _prefixes(pairs: Iterable[tuple[LayerCost, LayerCost]]) -> dict[str, str]:
    """How paths were renamed: the shortest differing beginnings of renamed layers."""
    found: dict[str, str] = {}
    for old, new in pairs:
        a, b = old.name.split("."), new.name.split(".")
        while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
            a, b = a[:-1], b[:-1]
        if a != b:
            found.setdefault(".".join(a), ".".join(b))
    return found


def _renamed(name: str, renames: dict[str, str]) -> str:
    """The name under the longest renamed beginning."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        beginning = ".".join(words[:length])
        if beginning in renames:
            return ".".join([renames[beginning], *words[length:]])
    return name

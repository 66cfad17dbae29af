"""The layers of two counts, aligned: by name, then by what they are and their order."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from convcost.changes.layer_cost import Entry, LayerCost

    Pair: TypeAlias = tuple[LayerCost, LayerCost]


def match_layers(before: Entry, after: Entry) -> tuple[list[Pair], list[LayerCost], list[LayerCost]]:
    """Match the layers of two counts, the surest matches first.

    1. Layers of the same name and structure.
    2. Layers of the same structure, in the order of the forward pass; except layers that kept their name and differ
       only in the shapes they run on.
    3. Layers that are the same whatever their shapes, in the same order.
    4. Layers of the same operator and name, where the name may follow from how their neighbours were renamed.
    5. Layers of the same operator, in the same order, whose names differ in numbers alone: an inserted layer shifts
       the numbers of those behind it.
    6. Layers that compute the same on the same shapes, one as a module and one as a function, in the same order.
    7. Layers of the same name: another operator took the place of one.

    Returns:
        The pairs, then the layers that are left on either side: the removed ones and the added ones.
    """
    old, new = dict(before.layers), dict(after.layers)
    same = [name for name in old if name in new and old[name].structure == new[name].structure]
    pairs = [(old.pop(name), new.pop(name)) for name in same]
    reshaped = {name for name in old if "#" not in name and name in new and old[name].itself == new[name].itself}
    pairs += _pop_in_order(old, new, lambda layer: None if layer.name in reshaped else layer.structure)
    pairs += _pop_in_order(old, new, lambda layer: layer.itself)
    renames = _renamed_prefixes(pairs)
    for name in list(old):
        wanted = name if name in new else _renamed(name, renames)
        if wanted in new and new[wanted].op == old[name].op:
            pairs.append((old.pop(name), new.pop(wanted)))
    pairs += _pop_in_order(old, new, lambda layer: (layer.op, re.sub(r"\d+", "#", layer.name)))
    pairs += _pop_in_order(old, new, _computed)
    pairs += [(old.pop(name), new.pop(name)) for name in list(old) if name in new and "#" not in name]
    return pairs, list(old.values()), list(new.values())


def _pop_in_order(
    old: dict[str, LayerCost], new: dict[str, LayerCost], key: Callable[[LayerCost], Hashable | None]
) -> list[Pair]:
    """Remove the layers of equal keys from both, in the order of the forward pass; a key of None matches nothing."""
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


def _computed(layer: LayerCost) -> tuple[object, ...]:
    """What a layer computes, whoever does it: `Conv2d` and `conv2d.default`, `BatchNorm2d` and `batch_norm` are one."""
    op = re.sub(r"\d+d$|_", "", layer.op.partition(".")[0].lower())
    sizes = layer.channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups
    return op, *sizes, layer.input.partition(",")[0], layer.output


def _renamed_prefixes(pairs: Iterable[Pair]) -> dict[str, str]:
    """The shortest differing prefixes of renamed layers: old to new."""
    prefixes: dict[str, str] = {}
    for old, new in pairs:
        a, b = old.name.split("."), new.name.split(".")
        while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
            a, b = a[:-1], b[:-1]
        if a != b:
            prefixes.setdefault(".".join(a), ".".join(b))
    return prefixes


def _renamed(name: str, prefixes: dict[str, str]) -> str:
    """The name after its longest renamed prefix is replaced."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        prefix = ".".join(words[:length])
        if prefix in prefixes:
            return ".".join([prefixes[prefix], *words[length:]])
    return name

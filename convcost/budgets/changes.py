"""The changes of a model between two counts: layers that were added, removed, renamed or changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.text.units import human_count, human_percent, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from convcost.budgets.layer_cost import Entry, LayerCost

    Pair: TypeAlias = tuple[LayerCost, LayerCost]

MAX_RENAMED: Final = 2
"""Maximum number of renamed layers that a summary names."""


@dataclass(frozen=True, slots=True)
class Change:
    """One layer that differs between two counts.

    Attributes:
        kind: Kind of the change; "recounted" is an unchanged layer whose count differs between versions.
        before: Layer in the baseline; None for an added layer.
        after: Layer in the model as it is; None for a removed layer.
    """

    kind: Literal["added", "removed", "changed", "renamed", "recounted"]
    before: LayerCost | None
    after: LayerCost | None

    @property
    def _latest(self) -> LayerCost:
        return next(layer for layer in (self.after, self.before) if layer is not None)

    @property
    def layer(self) -> str:
        """The name of the layer; of a renamed layer, its new name."""
        return self._latest.name

    @property
    def params_delta(self) -> int:
        """Change of the parameters, after - before."""
        return _of(self.after, "params") - _of(self.before, "params")

    @property
    def macs_delta(self) -> int:
        """Change of the MACs, after - before."""
        return _of(self.after, "macs") - _of(self.before, "macs")

    @property
    def text(self) -> str:
        """The change of the layer itself: `128→256, 3×3→5×5`."""
        before, after = self.before, self.after
        if after is None or before is None:
            return f"{self.kind}: {_described(self._latest)}"
        renamed = f"renamed from {before.name}" if before.name != after.name else ""
        if self.kind == "recounted":
            return f"counted differently, the layer is the same{f'; {renamed}' if renamed else ''}"
        if self.kind == "renamed":
            return renamed
        return "; ".join(filter(None, (renamed, ", ".join(_differences(before, after)))))

    @property
    def cost_text(self) -> str:
        """The change of its costs: `+1.05 M params (+178 %), +822 M MACs (+178 %)`."""
        parts = [
            _delta_text(self.params_delta, _of(self.before, "params"), "params"),
            _delta_text(self.macs_delta, _of(self.before, "macs"), "MACs"),
        ]
        if not any(parts) and self.before and self.after and self.before.dtype != self.after.dtype:
            return "other bytes a parameter"
        if _of(self.before, "uncounted") or _of(self.after, "uncounted"):
            parts.append("MACs not counted")
        return ", ".join(filter(None, parts)) or "costs the same"


def what_changed(before: Entry, after: Entry) -> tuple[Change, ...]:
    """The layers that differ between the baseline and the model as it is, largest change first."""
    versions_differ = (before.counter, before.torch) != (after.counter, after.torch)
    pairs, removed, added = _match_layers(before, after)
    changes = [Change("removed", layer, None) for layer in removed]
    changes += [Change("added", None, layer) for layer in added]
    for old, new in pairs:
        if old.structure != new.structure:
            changes.append(Change("changed", old, new))
        elif (old.macs, old.uncounted) != (new.macs, new.uncounted):
            changes.append(Change("recounted" if versions_differ else "changed", old, new))
        elif old.name != new.name:
            changes.append(Change("renamed", old, new))
    params, macs = max(before.params or 0, 1), max(before.macs, 1)
    changes.sort(key=lambda one: max(abs(one.params_delta) / params, abs(one.macs_delta) / macs), reverse=True)
    return tuple(changes)


def recounted(changes: Iterable[Change]) -> int:
    """MACs that a change of the counter added to unchanged layers."""
    return sum(change.macs_delta for change in changes if change.kind == "recounted")


def renamed_summary(changes: Sequence[Change]) -> str | None:
    """One line for all renamed layers; None without any."""
    names = [(change.before.name, change.after.name) for change in changes if change.before and change.after]
    if not names:
        return None
    few = ", ".join(f"{old} → {new}" for old, new in names[:MAX_RENAMED])
    more = f" and {len(names) - MAX_RENAMED} more" if len(names) > MAX_RENAMED else ""
    return f"{number_of('layer', len(names))} renamed: {few}{more}"


def _described(layer: LayerCost) -> str:
    """A description of a layer: `Conv2d 128→256, 3×3, stride 2, on 1x128x28x28`."""
    words = [layer.op]
    if layer.channels:
        words = [f"{layer.op} {layer.channels.replace('>', '→')}", layer.kernel_size.replace("x", "×")]
        words += [f"stride {layer.stride}"] if set(layer.stride.split("x")) != {"1"} else []
        words += [f"groups {layer.groups}"] if layer.groups > 1 else []
    return f"{', '.join(words)}{f', on {layer.input}' if layer.input else ''}"


def _differences(old: LayerCost, new: LayerCost) -> list[str]:
    """Each field that differs, as before→after."""
    parts = []
    if old.op != new.op:
        parts.append(f"{old.op}→{new.op}")
    if old.channels != new.channels and old.channels and new.channels:
        parts.append(_channels(old.channels, new.channels))
    if old.kernel_size != new.kernel_size and old.kernel_size and new.kernel_size:
        parts.append(f"{old.kernel_size}→{new.kernel_size}".replace("x", "×"))
    for name in ("stride", "padding", "dilation", "groups"):
        a, b = getattr(old, name), getattr(new, name)
        if a != b and a and b:
            parts.append(f"{name} {a}→{b}")
    if old.dtype != new.dtype:
        parts.append(f"{old.dtype or 'float32'}→{new.dtype or 'float32'}")
    if old.input != new.input and not _same_but_channels(old, new):
        parts.append(f"input {old.input}→{new.input}")
    if not parts and old.output != new.output:
        parts.append(f"output {old.output}→{new.output}")
    return parts or ["the same sizes, another cost"]


def _channels(old: str, new: str) -> str:
    """`128→256` where only the outputs differ, `64→128 in` where only the inputs do, else both."""
    (a_in, a_out), (b_in, b_out) = old.split(">"), new.split(">")
    if a_in == b_in:
        return f"{a_out}→{b_out}"
    return f"{a_in}→{b_in} in" if a_out == b_out else f"{a_in}→{b_in} in, {a_out}→{b_out} out"


def _same_but_channels(old: LayerCost, new: LayerCost) -> bool:
    """Whether the inputs of a convolution differ in channels alone, which `_channels` has shown."""
    a, b = (layer.input.partition(",")[0].split("x") for layer in (old, new))
    return bool(old.channels) and len(a) == len(b) and a[2:] == b[2:] and a[0] == b[0]


def _of(layer: LayerCost | None, field: Literal["params", "macs", "uncounted"]) -> int:
    return 0 if layer is None else getattr(layer, field)


def _delta_text(delta: int, before: int, unit: str) -> str:
    if not delta:
        return ""
    share = f" ({human_percent(delta / before, '+')})" if before else ""
    return f"{'+' if delta > 0 else ''}{human_count(delta)} {unit}{share}"


def _match_layers(before: Entry, after: Entry) -> tuple[list[Pair], list[LayerCost], list[LayerCost]]:
    """Match the layers of two counts, the surest matches first.

    1. Layers of the same name and structure.
    2. Layers of the same structure, in the order of the forward pass; except layers that kept their name and differ
       only in the shapes they run on.
    3. Layers that are the same whatever their shapes, in the same order.
    4. Layers of the same operator and name, where the name may follow from how their neighbours were renamed.
    5. Layers of the same operator, in the same order, whose names differ in numbers alone: an inserted layer shifts
       the numbers of those behind it.

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

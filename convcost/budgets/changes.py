"""Why a model grew: the layers that were added, removed, renamed and changed between two counts of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from convcost.text.units import human_count, human_percent, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from convcost.budgets.layer_cost import Entry, LayerCost

    Pair: TypeAlias = tuple[LayerCost, LayerCost]

__all__ = ["Change", "Matched", "match_layers", "recounted", "renamed_summary", "what_changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One layer that is not what it was.

    Attributes:
        kind: what happened; `recounted` is the same layer counted by another version.
        before: None for a layer that was added.
        after: None for a layer that was removed.
    """

    kind: Literal["added", "removed", "changed", "renamed", "recounted"]
    before: LayerCost | None
    after: LayerCost | None

    @property
    def layer(self) -> str:
        """Its name, the new one where there is one."""
        return (self.after or self.before).name  # type: ignore[union-attr]  # one of them is there

    @property
    def params_delta(self) -> int:
        """Parameters after - before."""
        return _of(self.after, "params") - _of(self.before, "params")

    @property
    def macs_delta(self) -> int:
        """MACs after - before."""
        return _of(self.after, "macs") - _of(self.before, "macs")

    @property
    def text(self) -> str:
        """What happened, spelled out: `128→256, 3×3→5×5`."""
        before, after = self.before, self.after
        if after is None or before is None:
            return f"{self.kind}: {described(after or before)}"  # type: ignore[arg-type]  # one of them is there
        renamed = f"renamed from {before.name}" if before.name != after.name else ""
        if self.kind == "recounted":
            return f"counted differently, the layer is the same{f'; {renamed}' if renamed else ''}"
        if self.kind == "renamed":
            return renamed
        return "; ".join(filter(None, (renamed, ", ".join(_differences(before, after)))))

    @property
    def cost_text(self) -> str:
        """What it costs: `+1.05 M params (+178 %), +822 M MACs (+178 %)`."""
        parts = [
            _delta_text(getattr(self, f"{what}_delta"), _of(self.before, what), unit)
            for what, unit in (("params", "params"), ("macs", "MACs"))
        ]
        if not any(parts) and self.before and self.after and self.before.dtype != self.after.dtype:
            return "other bytes a parameter"
        if any(layer is not None and layer.uncounted for layer in (self.before, self.after)):
            parts.append("MACs not counted")
        return ", ".join(filter(None, parts)) or "costs the same"


def what_changed(before: Entry, after: Entry) -> tuple[Change, ...]:
    """The layers that differ, largest first.

    A layer keeps its identity under a new name (`convcost.budgets.changes`).

    Args:
        before: the baseline.
        after: the model as it is.
    """
    versions_differ = (before.counter, before.torch) != (after.counter, after.torch)
    matched = match_layers(before, after)
    found = [Change("removed", layer, None) for layer in matched.removed]
    found += [Change("added", None, layer) for layer in matched.added]
    for old, new in matched.pairs:
        if old.structure != new.structure:
            found.append(Change("changed", old, new))
        elif (old.macs, old.uncounted) != (new.macs, new.uncounted):
            found.append(Change("recounted" if versions_differ else "changed", old, new))
        elif old.name != new.name:
            found.append(Change("renamed", old, new))
    params, macs = max(before.params, 1), max(before.macs, 1)
    return tuple(
        sorted(found, key=lambda one: max(abs(one.params_delta) / params, abs(one.macs_delta) / macs), reverse=True)
    )


def recounted(changes: Iterable[Change]) -> int:
    """MACs that a change of the counter added, the layers being the same."""
    return sum(change.macs_delta for change in changes if change.kind == "recounted")


def described(layer: LayerCost) -> str:
    """What a layer is: `Conv2d 128→256, 3×3, stride 2, on 1x128x28x28`."""
    words = [layer.op]
    if layer.channels:
        words = [f"{layer.op} {_arrow(layer.channels)}", layer.kernel_size.replace("x", "×")]
        words += [f"stride {layer.stride}"] if set(layer.stride.split("x")) != {"1"} else []
        words += [f"groups {layer.groups}"] if layer.groups > 1 else []
    return f"{', '.join(words)}{f', on {layer.input}' if layer.input else ''}"


def _differences(old: LayerCost, new: LayerCost) -> list[str]:
    """Each field that differs, as before→after."""
    said = []
    if old.op != new.op:
        said.append(f"{old.op}→{new.op}")
    if old.channels != new.channels and old.channels and new.channels:
        said.append(_channels(old.channels, new.channels))
    if old.kernel_size != new.kernel_size and old.kernel_size and new.kernel_size:
        said.append(f"{old.kernel_size}→{new.kernel_size}".replace("x", "×"))
    for word in ("stride", "padding", "dilation", "groups"):
        a, b = getattr(old, word), getattr(new, word)
        if a != b and a and b:
            said.append(f"{word} {a}→{b}")
    if old.dtype != new.dtype:
        said.append(f"{old.dtype or 'float32'}→{new.dtype or 'float32'}")
    if old.input != new.input and not _only_channels(old.input, new.input, old.channels):
        said.append(f"input {old.input}→{new.input}")
    if not said and old.output != new.output:
        said.append(f"output {old.output}→{new.output}")
    return said or ["the same sizes, another cost"]


def _channels(old: str, new: str) -> str:
    """`128→256` where only the outputs differ, `64→128 in` where only the inputs do, else both."""
    (a_in, a_out), (b_in, b_out) = old.split(">"), new.split(">")
    if a_in == b_in:
        return f"{a_out}→{b_out}"
    return f"{a_in}→{b_in} in" if a_out == b_out else f"{a_in}→{b_in} in, {a_out}→{b_out} out"


def _only_channels(old: str, new: str, channels: str) -> bool:
    """Whether two convolutions' inputs differ in what is said already: channels, and a functional one's weight."""
    a, b = (text.partition(",")[0].split("x") for text in (old, new))
    return bool(channels) and len(a) == len(b) and a[2:] == b[2:] and a[0] == b[0]


def _arrow(channels: str) -> str:
    return channels.replace(">", "→")


def _of(layer: LayerCost | None, what: str) -> int:
    return 0 if layer is None else getattr(layer, what)


def _delta_text(delta: int, before: int, unit: str) -> str:
    if not delta:
        return ""
    sign = "+" if delta > 0 else "-"
    share = f" ({human_percent(delta / before, '+')})" if before else ""
    return f"{sign}{human_count(abs(delta))} {unit}{share}"


def renamed_summary(changes: Sequence[Change]) -> str | None:
    """One line for all layers that only have another name; None without any."""
    names = [(change.before.name, change.after.name) for change in changes if change.before and change.after]
    if not names:
        return None
    few = ", ".join(f"{old} → {new}" for old, new in names[:2])
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""  # noqa: PLR2004 - the two that are shown
    return f"{number_of('layer', len(names))} renamed: {few}{more}"


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

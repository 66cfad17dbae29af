"""The changes of a model between two counts: layers that were added, removed, renamed or changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from convcost.changes.alignment import match_layers
from convcost.text.units import human_count, human_percent, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from convcost.changes.layer_cost import Entry, LayerCost

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
    pairs, removed, added = match_layers(before, after)
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

"""The changes of a model between two counts: layers that were added, removed, renamed or changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from convcost.changes.alignment import match_layers
from convcost.changes.layer_cost import described
from convcost.text.units import human_count, human_percent, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from convcost.changes.layer_cost import Entry, LayerCost

MAX_RENAMED: Final = 2
"""Maximum number of renamed layers that a summary names."""


@dataclass(frozen=True, slots=True)
class Change:
    """One layer in two counts.

    Attributes:
        kind: Kind of the change; "recounted" is an unchanged layer whose count differs between versions.
        before: Layer in the baseline; None for an added layer.
        after: Layer in the model as it is; None for a removed layer.
        settings: Further hyper-parameters that differ, in words.
    """

    kind: Literal["added", "removed", "changed", "renamed", "recounted", "same"]
    before: LayerCost | None
    after: LayerCost | None
    settings: tuple[str, ...] = ()

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

    def grew(self, metric: str) -> bool:
        """Whether the layer adds more to a total of the model than before."""
        if metric in {"macs", "flops"}:
            return self.macs_delta > 0
        if metric == "params":
            return self.params_delta > 0
        if metric == "weight_bytes":
            dtypes = {layer.dtype for layer in (self.before, self.after) if layer is not None}
            return self.params_delta > 0 or len(dtypes) > 1
        elements = [0 if layer is None else layer.elements for layer in (self.before, self.after)]
        larger = elements[1] > elements[0]
        return larger or (metric == "latency" and (self.params_delta > 0 or self.macs_delta > 0))

    @property
    def costs_the_same(self) -> bool:
        """Whether neither its parameters, their data type nor its MACs changed."""
        dtypes = {layer.dtype for layer in (self.before, self.after) if layer is not None}
        return not self.params_delta and not self.macs_delta and len(dtypes) == 1

    @property
    def text(self) -> str:
        """The change of the layer itself: `out_channels 128 → 256, kernel 3x3 → 5x5`."""
        return self.what if self.before is not None and self.after is not None else f"{self.kind}: {self.what}"

    @property
    def what(self) -> str:
        """The change of a layer that both counts have; what any other layer is: `Conv2d 8→16, 3×3, on 1x8x8x8`."""
        before, after = self.before, self.after
        if after is None or before is None:
            return _described(self._latest)
        renamed = f"renamed from {before.name}" if before.name != after.name else ""
        if self.kind == "recounted":
            return f"counted differently, the layer is the same{f'; {renamed}' if renamed else ''}"
        if self.kind in {"renamed", "same"}:
            return renamed
        return "; ".join(filter(None, (renamed, ", ".join(_differences(before, after, self.settings)))))

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


def layers_of(before: Entry, after: Entry) -> list[Change]:
    """Every layer of two counts, each once: the removed ones, the added ones, and those that both have."""
    versions_differ = (before.counter, before.torch) != (after.counter, after.torch)
    pairs, removed, added = match_layers(before, after)
    changes = [Change("removed", layer, None) for layer in removed]
    changes += [Change("added", None, layer) for layer in added]
    for old, new in pairs:
        if old.structure != new.structure:
            changes.append(Change("changed", old, new))
        elif (old.macs, old.uncounted) != (new.macs, new.uncounted):
            changes.append(Change("recounted" if versions_differ else "changed", old, new))
        else:
            changes.append(Change("same" if old.name == new.name else "renamed", old, new))
    return changes


def what_changed(before: Entry, after: Entry) -> tuple[Change, ...]:
    """The layers that differ between the baseline and the model as it is, largest change first."""
    changes = [change for change in layers_of(before, after) if change.kind != "same"]
    params, macs = max(before.params or 0, 1), max(before.macs, 1)
    changes.sort(key=lambda one: max(abs(one.params_delta) / params, abs(one.macs_delta) / macs), reverse=True)
    return tuple(changes)


def recounted(changes: Iterable[Change]) -> int:
    """MACs that a change of the counter added to unchanged layers."""
    return sum(change.macs_delta for change in changes if change.kind == "recounted")


def renamed_summary(changes: Sequence[Change]) -> str | None:
    """One line for all renamed layers; None without any."""
    names = [(change.before.name, change.after.name) for change in changes if change.before and change.after]
    return renamed_text(names) if names else None


def renamed_text(names: Sequence[tuple[str, str]]) -> str:
    """One line for renamed layers: their number, and the first of them.

    Args:
        names: Former and present name of each.
    """
    few = ", ".join(f"{old} → {new}" for old, new in names[:MAX_RENAMED])
    more = f" and {len(names) - MAX_RENAMED} more" if len(names) > MAX_RENAMED else ""
    return f"{number_of('layer', len(names))} renamed: {few}{more}"


def _described(layer: LayerCost) -> str:
    """A description of a layer: `Conv2d 128→256, 3×3, stride 2, on 1x128x28x28`."""
    sizes = layer.channels, layer.kernel_size, layer.stride, layer.dilation, layer.groups
    words = described(layer.op, *sizes) if layer.channels else layer.op
    return f"{words}{f', on {layer.input}' if layer.input else ''}"


def _differences(old: LayerCost, new: LayerCost, settings: Iterable[str]) -> list[str]:
    """Each field that differs, with its name: `kernel 3x3 → 5x5`; and further settings."""
    (a_in, _, a_out), (b_in, _, b_out) = old.channels.partition(">"), new.channels.partition(">")
    fields = {
        "": (old.op, new.op),
        "in_channels": (a_in, b_in),
        "out_channels": (a_out, b_out),
        "kernel": (old.kernel_size, new.kernel_size),
        **{name: (getattr(old, name), getattr(new, name)) for name in ("stride", "padding", "dilation", "groups")},
    }
    parts = [f"{name} {a} → {b}".lstrip() for name, (a, b) in fields.items() if a != b and a and b]
    parts += settings
    if old.dtype != new.dtype:
        parts.append(f"{old.dtype or 'float32'} → {new.dtype or 'float32'}")
    if old.input != new.input and not _same_but_channels(old, new):
        parts.append(f"input {old.input} → {new.input}")
    if not parts and old.output != new.output:
        parts.append(f"output {old.output} → {new.output}")
    if not parts and old.params != new.params:
        parts.append(f"params {old.params:,} → {new.params:,}")
    return parts or ["the same sizes, another cost"]


def _same_but_channels(old: LayerCost, new: LayerCost) -> bool:
    """Whether the inputs differ in channels alone, which `in_channels` has shown, or in the weights of a function."""
    a, b = (layer.input.partition(",")[0].split("x") for layer in (old, new))
    if old.op != new.op and a == b:
        return True
    return bool(old.channels) and len(a) == len(b) and a[2:] == b[2:] and a[0] == b[0]


def _of(layer: LayerCost | None, field: Literal["params", "macs", "uncounted"]) -> int:
    return 0 if layer is None else getattr(layer, field)


def _delta_text(delta: int, before: int, unit: str) -> str:
    if not delta:
        return ""
    share = f" ({human_percent(delta / before, '+')})" if before else ""
    return f"{'+' if delta > 0 else ''}{human_count(delta)} {unit}{share}"

"""The lock: what each budgeted model cost when that was last accepted. Text ↔ entries, one layer a line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from convcost.errors import ConvcostError, as_text
from convcost.sizes import format_sizes
from convcost.toml_places import parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.report import Call, ModelReport

__all__ = ["COUNTER", "Entry", "LayerCost", "entry_of", "key_text", "lock_text", "quoted", "read_lock"]

COUNTER: Final = 1
"""Version of the counting conventions; a change that moves any figure of any model raises it."""
FORMAT: Final = 2
HEAD: Final = f"""\
# What each model cost when that was last accepted: one layer a line, in the order of the forward pass.
# Written by `convcost check --update`; after a merge conflict keep either side and run it again.
lock_version = {FORMAT}
"""
TOTALS: Final = ("params", "macs", "weight_bytes", "peak_activation_bytes", "uncounted")


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One call of a layer.

    Attributes:
        name: as in the rows of `convcost model`.
        op: the module's class, or the function.
        channels: C>O of a convolution; empty for everything else, as are the next four.
        kernel_size: height x width.
        stride: vertical x horizontal.
        padding: vertical x horizontal.
        dilation: vertical x horizontal.
        groups: 0 where there is no convolution.
        input: every tensor in, as `1x4x16x32, 1x16:int64`; float32 is not said.
        output: shape of the first tensor out.
        params: that no call before used.
        macs: multiply-accumulates.
        dtype: of its parameters; empty for float32.
        uncounted: operations without a formula in it.
        shares: the call before it that used its parameters first; empty where none did.
    """

    name: str
    op: str
    channels: str
    kernel_size: str
    stride: str
    padding: str
    dilation: str
    groups: int
    input: str
    output: str
    params: int
    macs: int
    dtype: str = ""
    uncounted: int = 0
    shares: str = ""

    @property
    def structure(self) -> tuple[object, ...]:
        """What it is, without names and without what the counter says of it."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in _NO_STRUCTURE)

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """Of the first tensor in."""
        first = self.input.partition(",")[0].partition(":")[0]
        return tuple(int(size) for size in first.split("x") if size.isdigit())


_NO_STRUCTURE: Final = {"name", "macs", "uncounted", "shares"}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one model costs.

    Attributes:
        counter: version of the counting conventions.
        torch: version of torch that ran.
        input: of the model, as text.
        params: every parameter.
        macs: of one forward pass.
        weight_bytes: of the parameters.
        peak_activation_bytes: the largest sum of activations alive at one call.
        uncounted: operations without a formula; macs are then a lower bound.
        layers: by name, in the order of the forward pass.
    """

    counter: int
    torch: str
    input: tuple[str, ...]
    params: int
    macs: int
    weight_bytes: int
    peak_activation_bytes: int
    uncounted: int
    layers: Mapping[str, LayerCost]

    @property
    def flops(self) -> int:
        """2 a MAC."""
        from convcost.cost import FLOPS_PER_MAC  # noqa: PLC0415 - beside its one use

        return FLOPS_PER_MAC * self.macs

    @property
    def versions(self) -> str:
        """That counted it."""
        return f"counter {self.counter}, torch {self.torch}"


def entry_of(report: ModelReport) -> Entry:
    """What the lock keeps of a counted model."""
    totals = report.totals
    return Entry(
        COUNTER,
        str(report.conditions["torch_version"]).partition("+")[0],  # the build, +cpu or +cu128, counts the same
        report.inputs,
        totals.params,
        totals.macs,
        totals.weight_bytes,
        totals.peak_activation_bytes,
        len(report.uncounted),
        {call.name: _layer(call) for call in report.layers},
    )


def _layer(call: Call) -> LayerCost:
    conv = call.conv
    sizes = ("", "", "", "", "", 0)
    if conv is not None:
        padding = format_sizes(call.padding or ())
        channels = f"{conv.in_channels}>{conv.out_channels}"
        shown = tuple(format_sizes(size) for size in (conv.kernel_size, conv.stride))
        sizes = (channels, *shown, padding, format_sizes(conv.dilation), conv.groups)  # type: ignore[assignment]  # two texts
    shapes = ", ".join(call.inputs), format_sizes(call.output_shape)
    dtype = "" if call.weights == ("float32",) else "+".join(call.weights)
    counted = call.params, call.macs
    return LayerCost(call.name, call.op, *sizes, *shapes, *counted, dtype, call.uncounted, call.shares or "")


def lock_text(entries: Mapping[str, Entry]) -> str:
    """The lock's text; budgets in the order of their names, so that two branches that add one rarely meet."""
    return HEAD + "".join(f"\n{_entry_text(name, entries[name])}" for name in sorted(entries))


def _entry_text(name: str, entry: Entry) -> str:
    key = key_text(name)
    lines = [
        f"[budget.{key}]",
        f"counter = {entry.counter}",
        f"torch = {quoted(entry.torch)}",
        f"input = [{', '.join(map(quoted, entry.input))}]",
        *(f"{total} = {getattr(entry, total)}" for total in TOTALS),
        "",
        f"[budget.{key}.layers]",
        *(f"{quoted(layer.name)} = {{ {_layer_text(layer)} }}" for layer in entry.layers.values()),
    ]
    return "\n".join(lines) + "\n"


def _layer_text(layer: LayerCost) -> str:
    """Its fields, without those that say nothing."""
    said = ((one.name, getattr(layer, one.name)) for one in fields(layer) if one.name != "name")
    kept = ((name, value) for name, value in said if value or name in {"params", "macs"})
    return ", ".join(f"{name} = {quoted(value) if isinstance(value, str) else value}" for name, value in kept)


def key_text(name: str) -> str:
    """A name as a TOML key: bare where it can be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)


def quoted(text: str) -> str:
    """A TOML basic string: JSON's, with the one character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_lock(data: bytes, source: str) -> dict[str, Entry]:
    """The entries of a lock's text, by budget.

    Raises:
        ConvcostError: no TOML, another format, a missing or wrong value, totals that are not those of the layers; with
            the line, and what to do.
    """
    file = parse_toml(data, source)
    if (version := file.values.get("lock_version")) != FORMAT:
        where, given = file.at(("lock_version",), of_key=True), as_text(version)
        msg = f"{where}: lock_version (={given}) must be {FORMAT}; delete the lock and run convcost check --update."
        raise ConvcostError(msg)
    tables, entries = file.values.get("budget", {}), {}
    if not isinstance(tables, dict):
        msg = f"{file.at(('budget',))}: budget must be tables, one a budget; {_MEND}"
        raise ConvcostError(msg)
    for name, table in tables.items():
        try:
            entries[name] = _entry(table)
        except (KeyError, TypeError, ValueError) as error:
            what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            where = file.at(("budget", name), of_key=True)
            msg = f"{where}: the lock of {name} is damaged: {what}; {_MEND}"
            raise ConvcostError(msg) from error
    return entries


_MEND: Final = "delete this entry and run convcost check --update."


def _entry(table: Mapping[str, Any]) -> Entry:
    layers = {name: _read_layer(name, values) for name, values in table["layers"].items()}
    entry = Entry(
        counter=_of(int, table["counter"]),
        torch=_of(str, table["torch"]),
        input=tuple(_of(str, one) for one in table["input"]),
        layers=layers,
        **{total: _of(int, table[total]) for total in TOTALS},
    )
    for total in ("params", "macs"):
        summed = sum(getattr(layer, total) for layer in layers.values())
        if summed != getattr(entry, total):
            msg = f"{total} (={getattr(entry, total)}) is not the sum of its layers ({summed}), as after a merge"
            raise ValueError(msg)
    return entry


def _read_layer(name: str, values: Mapping[str, Any]) -> LayerCost:
    defaults = {one.name: 0 if one.type == "int" else "" for one in fields(LayerCost)}
    given = {**defaults, **values, "name": name}
    if unknown := set(given) - set(defaults):
        msg = f"{name}: {min(unknown)} is no field of a layer"
        raise ValueError(msg)
    for one in ("op", "params", "macs"):
        if one not in values:
            msg = f"{name}.{one}"
            raise KeyError(msg)
    whole = {one.name for one in fields(LayerCost) if one.type == "int"}
    return LayerCost(**{key: _of(int if key in whole else str, value) for key, value in given.items()})


def _of(kind: type[Any], value: object) -> Any:  # noqa: ANN401 - of that kind
    if not isinstance(value, kind) or isinstance(value, bool):
        msg = f"{value!r} is no {'whole number' if kind is int else 'text'}"
        raise TypeError(msg)
    return value

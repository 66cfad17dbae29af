"""Budgets: the metrics that can be limited, their limits, and the rules that a configuration's limits must follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from convcost.text.errors import ConvcostError
from convcost.text.quantities import BYTES, FLOPS, MACS, PARAMS, SECONDS, quantity
from convcost.text.units import human_bytes, human_count, human_time, thousands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from decimal import Decimal
    from pathlib import Path

    from convcost.text.quantities import Kind
    from convcost.text.sizes import Input
    from convcost.text.toml import Key


LIMITS: Final = ("max", "min", "grow")
"""Keys of a metric that can make a check fail."""


def broken_rules(values: object) -> Iterator[tuple[Key, str]]:
    """The tables whose values contradict each other: the path to each, and the broken rule with the next step.

    The rules are checked even if other values are wrong, so that all mistakes are reported at once.

    Args:
        values: Configuration that is not validated yet.
    """
    for name, table in _tables(values.get("budget") if isinstance(values, dict) else None):
        path = ("budget", name)
        if not any(metric in table for metric in METRICS):
            yield path, f"budget.{name} must limit something; give one of {', '.join(METRICS)}."
        for metric, limits in table.items():
            if metric in METRICS:
                given = limits if isinstance(limits, dict) else {"max": limits}
                for rule in _broken_limits(given, METRICS[metric].kind):
                    yield (*path, metric), f"budget.{name}.{metric} {rule}"


def _tables(value: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of a table that are tables themselves."""
    if isinstance(value, dict):
        yield from ((key, inner) for key, inner in value.items() if isinstance(inner, dict))


def _broken_limits(limits: Mapping[str, Any], kind: Kind) -> Iterator[str]:
    if not any(key in limits for key in LIMITS):
        yield 'must limit something; give max = "..." or grow = "1 %".'
    if "floor" in limits and "grow" not in limits:
        yield 'must have grow beside floor, for both must be passed to fail; give grow = "1 %".'
    for key in ("max", "min"):
        if rule := _fraction_rule(limits.get(key), kind):
            yield f"{key} (={limits[key]}) {rule}"
    most, least = _read(limits.get("max"), kind), _read(limits.get("min"), kind)
    if most is not None and least is not None and least > most:
        yield "must have min of at most max; exchange them."


def _read(value: object, kind: Kind) -> Decimal | None:
    """The quantity of a value; None for a value that is not one, which is reported elsewhere."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    try:
        return quantity(value, kind)
    except ConvcostError:
        return None


MAX_MILLIONS: Final = 10_000
"""Number from which one with a fraction was not meant in millions."""


def _fraction_rule(value: object, kind: Kind) -> str | None:
    """The rule that a limit such as "12.6" breaks, a fraction of what is counted in whole numbers; None for any other.

    With a prefix, as in "45.7 MiB", the limit is the whole number below.
    """
    read = _read(value, kind)
    if kind is SECONDS or read is None or read == read.to_integral_value():
        return None
    text = "".join(str(value).split())
    unit = text.lstrip("0123456789._")
    if unit.lower() not in kind.words:
        return None
    if read >= MAX_MILLIONS:
        return f'must be {kind.noun} without a fraction; write "{int(read)}{unit and f" {unit}"}".'
    return f'must be {kind.noun} without a fraction; write "{text.removesuffix(unit)} M{unit}" if it is millions.'


Level: TypeAlias = Literal["error", "warn"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a model that can be limited.

    Attributes:
        name: Key in the configuration, and attribute of a model's totals.
        kind: Kind of quantity of its values.
        show: Function that formats a value.
        counts: Whether an uncounted operation makes the figure a lower bound.
    """

    name: str
    kind: Kind
    show: Callable[[int], str]
    counts: bool = False

    def text(self, value: float) -> str:
        """A value for people: `580 M`, `47.0 MB`, `60.0 ms`."""
        return human_time(value) if self.kind is SECONDS else self.show(round(value))

    def exact(self, value: float) -> str:
        """A value to the last unit: `580,000,001`."""
        if self.kind is SECONDS:
            return f"{value * 1e3:,.6g} ms"
        return f"{thousands(round(value))}{' B' if self.kind is BYTES else ''}"


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("params", PARAMS, human_count),
        Metric("macs", MACS, human_count, counts=True),
        Metric("flops", FLOPS, human_count, counts=True),
        Metric("weight_bytes", BYTES, human_bytes),
        Metric("peak_activation_bytes", BYTES, human_bytes),
        Metric("latency", SECONDS, human_count),
    )
}
"""The metrics by name."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of one metric.

    Attributes:
        metric: Name in `METRICS`.
        max: Largest allowed value, in base units.
        min: Smallest allowed value, in base units.
        grow: Allowed growth over the baseline, as a share.
        floor: Growth that is always allowed, in base units.
        level: Whether a broken limit fails the check or only warns.
        source: FILE:LINE of the metric, for messages; empty without a file.
        sources: FILE:LINE of each of its keys.
        device: Device to time a latency on.
        threads: Threads to time a latency with.
        machine: Machine that the `max` of a latency was set for; None for any.
    """

    metric: str
    max: Decimal | None = None
    min: Decimal | None = None
    grow: float | None = None
    floor: Decimal | None = None
    level: Level = "error"
    source: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | Literal["all"] = 1
    machine: str | None = None

    def bound(self, name: Literal["max", "min", "floor"]) -> float | None:
        """A limit in base units: seconds, or a whole number for a count."""
        value: Decimal | None = getattr(self, name)
        if value is None or METRICS[self.metric].kind is SECONDS:
            return None if value is None else float(value)
        return math.ceil(value) if name == "min" else math.floor(value)

    def allowance(self, baseline: float) -> float:
        """Allowed growth over a baseline, in base units: the larger of share and floor."""
        share = 0 if self.grow is None else math.floor(Fraction(str(self.grow)) * Fraction(baseline))
        return max(share, self.bound("floor") or 0)


@dataclass(frozen=True, slots=True)
class Budget:
    """One model and its limits.

    Attributes:
        name: Name of the budget, and its key in the lock.
        target: Model, as for `convcost model`, relative to `folder`.
        folder: Folder of the configuration.
        args: Arguments for the target's callable.
        inputs: Inputs of the model; empty for the model's own.
        limits: Limits, at most one for each metric.
        message: Text that is shown beside a failure.
        source: FILE:LINE:COLUMN of the target; empty without a file.
        device: Where to count: "meta", which allocates nothing; "cpu", which runs the model once; or "auto", which is
            meta, and the CPU for a model that needs the values of its tensors.
    """

    name: str
    target: str
    folder: Path
    args: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    limits: tuple[Limit, ...] = ()
    message: str | None = None
    source: str = ""
    device: str = "auto"


def limits_from(maxima: Mapping[str, str | int | None]) -> tuple[Limit, ...]:
    """Limits with a `max` alone, from texts such as `{"params": "4.3 M"}`; None stands for no limit.

    Raises:
        ConvcostError: A quantity is of another kind, or there is no limit at all.
    """
    limits = []
    for name, text in maxima.items():
        if text is None:
            continue
        try:
            limits.append(Limit(name, max=quantity(text, METRICS[name].kind)))
        except ConvcostError as error:
            raise ConvcostError(f"max_{name} {error}") from error
        if rule := _fraction_rule(text, METRICS[name].kind):
            raise ConvcostError(f"max_{name} (={text}) {rule}")
    if not limits:
        raise ConvcostError(f"a check must have a limit; give one of {', '.join(f'max_{name}' for name in maxima)}.")
    return tuple(limits)

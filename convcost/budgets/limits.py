"""What the values of a configuration must be to each other, read from its tables as they are.

Each is checked whatever else is wrong, so that all mistakes are told at once.
"""

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
"""The keys of a metric that can fail a check."""


def broken_rules(values: object) -> Iterator[tuple[Key, str]]:
    """The tables that break a rule: the way to each, and what is wrong with the next step.

    Args:
        values: the configuration, of which nothing is known to be right yet.
    """
    for name, table in _tables(values.get("budget") if isinstance(values, dict) else None):
        way = ("budget", name)
        if not any(metric in table for metric in METRICS):
            yield way, f"budget.{name} must limit something; give one of {', '.join(METRICS)}."
        for metric, limits in _tables(table):
            if metric in METRICS:
                for said in _broken_limits(limits, METRICS[metric].kind):
                    yield (*way, metric), f"budget.{name}.{metric} {said}"


def _tables(value: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of a table that are tables themselves."""
    if isinstance(value, dict):
        yield from ((key, inner) for key, inner in value.items() if isinstance(inner, dict))


def _broken_limits(limits: Mapping[str, Any], kind: Kind) -> Iterator[str]:
    if not any(key in limits for key in LIMITS):
        yield 'must limit something; give max = "..." or grow = "1 %".'
    if "floor" in limits and "grow" not in limits:
        yield 'must have grow beside floor, for both must be passed to fail; give grow = "1 %".'
    most, least = _read(limits.get("max"), kind), _read(limits.get("min"), kind)
    if most is not None and least is not None and least > most:
        yield "must have min of at most max; exchange them."


def _read(value: object, kind: Kind) -> Decimal | None:
    """A quantity; None for what is none, which is a mistake of its own."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    try:
        return quantity(value, kind)
    except ConvcostError:
        return None


Level: TypeAlias = Literal["error", "warn"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What can be limited.

    Attributes:
        name: in the configuration, and the attribute of a model's totals.
        kind: of its quantities.
        show: as people read it.
        counts: whether an uncounted operation makes it a lower bound.
    """

    name: str
    kind: Kind
    show: Callable[[int], str]
    counts: bool = False

    def text(self, value: float) -> str:
        """As people read it: `580 M`, `47.0 MB`, `60.0 ms`."""
        return human_time(value) if self.kind is SECONDS else self.show(round(value))

    def exact(self, value: float) -> str:
        """To the last unit: `580,000,001`."""
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
"""What a budget can limit, by name."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of one metric.

    Attributes:
        metric: a name in `METRICS`.
        max: that it may reach, in base units.
        min: that it must reach.
        grow: share that it may grow over the baseline.
        floor: growth in base units that is always allowed.
        level: whether breaking it fails the check, or warns.
        source: FILE:LINE of the metric, for the reader; empty where there is no file.
        sources: FILE:LINE of each of its keys.
        device: of latency, where to time.
        threads: of latency.
        machine: of latency, the one that `max` was set for; None where nobody said.
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
        """A limit as it is judged: seconds, or the whole number that says the same of whole numbers, of any size."""
        value: Decimal | None = getattr(self, name)
        if value is None or METRICS[self.metric].kind is SECONDS:
            return None if value is None else float(value)
        return math.ceil(value) if name == "min" else math.floor(value)

    def allowance(self, baseline: float) -> float:
        """By how much a whole number may grow over a baseline: the larger of share and floor."""
        share = 0 if self.grow is None else math.floor(Fraction(str(self.grow)) * Fraction(baseline))
        return max(share, self.bound("floor") or 0)


@dataclass(frozen=True, slots=True)
class Budget:
    """One model and its limits.

    Attributes:
        name: of the budget; the key in the lock.
        target: as `convcost model` takes it, relative to `folder`.
        args: for the callable.
        inputs: of the model; empty for its own.
        limits: at most one a metric.
        message: that stands beside a failure.
        source: FILE:LINE:COLUMN of the target; empty where there is no file.
        folder: that the target is relative to.
    """

    name: str
    target: str
    folder: Path
    args: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    limits: tuple[Limit, ...] = ()
    message: str | None = None
    source: str = ""


def limits_from(maxima: Mapping[str, str | int | None]) -> tuple[Limit, ...]:
    """Limits that are maxima alone, as `{"params": "4.3 M"}`; a None is no limit.

    Raises:
        ConvcostError: a quantity of another kind, or no limit at all.
    """
    limits = []
    for name, text in maxima.items():
        if text is None:
            continue
        try:
            limits.append(Limit(name, max=quantity(text, METRICS[name].kind)))
        except ConvcostError as error:
            raise ConvcostError(f"max_{name} {error}") from error
    if not limits:
        raise ConvcostError(f"a check must have a limit; give one of {', '.join(f'max_{name}' for name in maxima)}.")
    return tuple(limits)

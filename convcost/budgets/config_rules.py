"""What the values of a configuration must be to each other, read from its tables as they are.

Each is checked whatever else is wrong, so that all mistakes are told at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from convcost.budgets.limits import METRICS
from convcost.text.errors import ConvcostError
from convcost.text.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from convcost.text.quantities import Kind
    from convcost.text.toml_places import Key

__all__ = ["broken_rules"]

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

"""What a configuration means: every default written out, every quantity in base units."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from convcost.budgets.limits import METRICS
from convcost.text.quantities import EXACT, SECONDS

if TYPE_CHECKING:
    from convcost.budgets.configuration import Configuration
    from convcost.budgets.limits import Budget, Limit

__all__ = ["effective"]

LONGEST: Final = 4299
"""Digits of a whole number that Python writes in decimal; TOML may have longer ones in hexadecimal."""


def effective(configuration: Configuration) -> dict[str, Any]:
    """The budgets of a configuration, as `budget` of another would have them, and the line of each limit."""
    return {
        "file": configuration.source,
        "budget": {budget.name: _budget(budget) for budget in configuration.budgets},
        "sources": {
            f"{budget.name}.{limit.metric}": limit.source for budget in configuration.budgets for limit in budget.limits
        },
    }


def _budget(budget: Budget) -> dict[str, Any]:
    return {
        "target": budget.target,
        "args": _in_json(dict(budget.args)),
        "input": [str(one) for one in budget.inputs],
        **{limit.metric: _limit(limit) for limit in budget.limits},
        **_given({"message": budget.message}),
    }


def _limit(limit: Limit) -> dict[str, Any]:
    numbers = _given({name: getattr(limit, name) for name in ("max", "min", "floor")})
    timed = _given({name: getattr(limit, name) for name in ("device", "threads", "machine")})
    return {
        **{name: _quantity(value, limit.metric) for name, value in numbers.items()},
        **({} if limit.grow is None else {"grow": f"{_plain(Decimal(str(limit.grow)) * 100)} %"}),
        "level": limit.level,
        **(timed if limit.metric == "latency" else {}),
    }


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Those that were given: TOML has no null."""
    return {name: value for name, value in values.items() if value is not None}


def _in_json(value: object) -> object:
    """A value of TOML; what JSON has no form for (dates, times, inf and nan) as the text that TOML has."""
    if isinstance(value, dict):
        return {key: _in_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_json(inner) for inner in value]
    if isinstance(value, int) and value >= 10**LONGEST:
        return hex(value)
    is_json = isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))
    return value if is_json else str(value)


def _quantity(value: Decimal, metric: str) -> int | str:
    """A whole number as one; a time, and a share of something counted, as a text with its unit."""
    kind = METRICS[metric].kind
    if kind is SECONDS:
        return f"{_plain(EXACT.multiply(value, 1000))} ms"
    return int(value) if value == int(value) else f"{_plain(value)} {kind.words[-1]}"


def _plain(value: Decimal) -> str:
    """All digits, without an exponent and without zeros at the end."""
    return f"{value.normalize(EXACT):f}"

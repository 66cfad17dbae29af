"""The configuration of `convcost check`: its schema, its budgets, and every mistake with line and column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from convcost.budgets.limits import METRICS, Budget, Limit, broken_rules
from convcost.models.report import CountDevice
from convcost.text.quantities import EXACT, SECONDS, parse_percent, quantity
from convcost.text.sizes import TARGET_RULE, is_target, parse_input
from convcost.text.toml import Mistake, TomlError
from convcost.text.toml_tables import is_number, read_table, require
from convcost.timing.conditions import DEVICE_RULE, is_device

if TYPE_CHECKING:
    from pathlib import Path

    from convcost.text.toml import Key, TomlFile


class ConfigurationError(TomlError):
    """All mistakes of a configuration."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The budgets of a file.

    Attributes:
        source: Name of the file.
        folder: Folder of the file, which targets are relative to and where the lock lies.
        budgets: Budgets in the order of the file.
    """

    source: str
    folder: Path
    budgets: tuple[Budget, ...]


class _Table(BaseModel):
    """A table without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Limits(_Table):
    """The keys that all metrics have in common."""

    level: Literal["error", "warn"] = Field(
        "error", description="whether a broken limit fails the check (error) or only warns (warn)"
    )


def _short_form(value: object) -> object:
    """`"580 M"` is short for `{ max = "580 M" }`."""
    return value if isinstance(value, dict) else {"max": value}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_MAX_THREADS: Final = 1_000_000
_share: Final = require('must be a text with a percentage; write it as "1 %".', _is_text, parse_percent)
_input: Final = require('must be a text; write it as "1x3x224x224".', _is_text, parse_input)
_inputs: Final = require(
    'must be a text or a list of texts; write input = ["1x3x224x224"].',
    lambda value: isinstance(value, (str, list)),
    lambda value: [value] if isinstance(value, str) else value,
)
_threads: Final = require(
    f'must be a number of at least 1 and at most {_MAX_THREADS}, or "all"; write threads = 1.',
    lambda value: value == "all" or is_number(value, 1, _MAX_THREADS),
)
_device: Final = require(DEVICE_RULE, lambda value: not isinstance(value, str) or is_device(value))
_target: Final = require(TARGET_RULE, lambda value: not isinstance(value, str) or not value or is_target(value))


_Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$", "examples": ["1 %"]}),
]
_Input = Annotated[
    Any, BeforeValidator(_input), WithJsonSchema({"type": "string", "examples": ["1x3x224x224", "ids=1x16:int64"]})
]
_Threads = Annotated[
    Any,
    BeforeValidator(_threads),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": _MAX_THREADS}, {"const": "all"}]}),
]


def _limits_model(metric: str) -> Any:  # noqa: ANN401 - the returned type is created at run time
    """The limits of one metric, whose quantities are of its kind."""
    kind = METRICS[metric].kind
    forms = [{"type": "string", "examples": [kind.example]}]
    if kind is not SECONDS:
        forms.append({"type": "integer", "minimum": 0})  # type: ignore[dict-item]  # the values of a JSON Schema have several types
    read = require(
        f'must be a text with a unit; write it as "{kind.example}".',
        lambda value: isinstance(value, str) or is_number(value, -math.inf),
        partial(quantity, kind=kind),
    )
    number = Annotated[Any, BeforeValidator(read), WithJsonSchema({"anyOf": forms})]
    fields: dict[str, Any] = {
        "max": (number, Field(None, description=f"largest allowed value, {kind.noun}")),
        "grow": (_Share, Field(None, description="largest allowed growth over the baseline, as a percentage")),
        "floor": (
            number,
            Field(None, description="growth that is always allowed; a failure exceeds both grow and floor"),
        ),
    }
    if metric == "latency":
        fields |= {
            "device": (
                Annotated[str, BeforeValidator(_device)],
                Field("cpu", description="device of the timing: cpu, cuda, cuda:1, mps or auto"),
            ),
            "threads": (_Threads, Field(1, description="threads of torch on the CPU, a number or all")),
            "machine": (str, Field(None, description="machine that max was set for; on other machines max is skipped")),
        }
    else:
        fields["min"] = (number, Field(None, description=f"smallest allowed value, {kind.noun}"))
    limits: Any = create_model(f"{metric}_limits", __base__=_Limits, **fields)
    short = Annotated[limits, BeforeValidator(_short_form)]
    return Annotated[short, WithJsonSchema({"anyOf": [*forms, limits.model_json_schema()]})]


@cache
def _model() -> Any:  # noqa: ANN401 - a pydantic class that is created at run time
    """The pydantic model of the whole configuration, created on first use."""
    fields: dict[str, Any] = {
        "target": (
            Annotated[str, BeforeValidator(_target)],
            Field(min_length=1, description="the model, as for convcost model, relative to this file"),
        ),
        "args": (dict[str, Any], Field(default_factory=dict, description="arguments of the callable")),
        "input": (
            Annotated[
                list[_Input],
                BeforeValidator(_inputs),
                WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
            ],
            Field(default_factory=list, description="the inputs of the model, such as 1x3x224x224"),
        ),
        "device": (
            CountDevice,
            Field(
                "auto", description="where to count: meta, cpu, or auto: meta, and cpu for a model that needs values"
            ),
        ),
        **{metric: (_limits_model(metric), Field(None, description=METRICS[metric].kind.noun)) for metric in METRICS},
        "message": (str, Field(None, description="text that is shown beside a failure")),
    }
    budget: Any = create_model("budget", __base__=_Table, **fields)
    return create_model(
        "convcost", __base__=_Table, budget=(dict[str, budget], Field(min_length=1, description="the budgets by name"))
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of `convcost.toml`, for completion in editors."""
    made = _model().model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "convcost.toml"}


def read_budgets(file: TomlFile, folder: Path, root: Key = ()) -> Configuration:
    """The budgets of a configuration.

    Args:
        file: Parsed configuration.
        folder: Folder that targets are relative to.
        root: Path to the table; ("tool", "convcost") in a pyproject.toml.

    Raises:
        ConfigurationError: The file has mistakes; the error has all of them.
    """
    mistakes = [Mistake(file.place((*root, *path), of_key=True), rule) for path, rule in broken_rules(file.value(root))]
    header = ".".join(map(str, (*root, "budget", "NAME")))
    next_steps = {
        "budget": f"write [{header}] with a target and a limit",
        "target": 'write target = "models.py:model"',
    }
    try:
        read = read_table(file, _model(), root, next_steps)
    except TomlError as error:
        mistakes += error.mistakes
    if mistakes:
        raise ConfigurationError(file.source, tuple(dict.fromkeys(sorted(mistakes, key=lambda one: one.place))))
    budgets = tuple(_budget(name, value, file, (*root, "budget", name), folder) for name, value in read.budget.items())
    return Configuration(file.source, folder, budgets)


def _budget(name: str, value: Any, file: TomlFile, path: Key, folder: Path) -> Budget:  # noqa: ANN401 - an instance of `_model`
    limits = tuple(
        _limit(metric, getattr(value, metric), file, (*path, metric))
        for metric in METRICS
        if getattr(value, metric) is not None
    )
    source = file.at((*path, "target"))
    return Budget(
        name, value.target, folder, value.args, tuple(value.input), limits, value.message, source, value.device
    )


def _limit(metric: str, value: Any, file: TomlFile, path: Key) -> Limit:  # noqa: ANN401 - an instance of `_limits_model`
    given = {name: getattr(value, name) for name in type(value).model_fields if getattr(value, name) is not None}
    sources = {name: _line(file, (*path, name)) for name in given if (*path, name) in file.keys}
    return Limit(metric, **given, source=_line(file, path), sources=sources)


def _line(file: TomlFile, path: Key) -> str:
    return f"{file.source}:{file.place(path, of_key=True).line}"


MAX_DIGITS: Final = 4299
"""Largest number of digits that Python converts to decimal; TOML allows longer numbers in hexadecimal."""


def effective(configuration: Configuration) -> dict[str, Any]:
    """The budgets of a configuration with every default, in the form of a configuration, and the line of each limit."""
    return {
        "file": configuration.source,
        "budget": {budget.name: _shown_budget(budget) for budget in configuration.budgets},
        "sources": {
            f"{budget.name}.{limit.metric}": limit.source for budget in configuration.budgets for limit in budget.limits
        },
    }


def _shown_budget(budget: Budget) -> dict[str, Any]:
    return {
        "target": budget.target,
        "args": _in_json(dict(budget.args)),
        "input": [str(one) for one in budget.inputs],
        "device": budget.device,
        **{limit.metric: _shown_limit(limit) for limit in budget.limits},
        **_given({"message": budget.message}),
    }


def _shown_limit(limit: Limit) -> dict[str, Any]:
    numbers = _given({name: getattr(limit, name) for name in ("max", "min", "floor")})
    timed = _given({name: getattr(limit, name) for name in ("device", "threads", "machine")})
    return {
        **{name: _quantity(value, limit.metric) for name, value in numbers.items()},
        **({} if limit.grow is None else {"grow": f"{_plain(Decimal(str(limit.grow)) * 100)} %"}),
        "level": limit.level,
        **(timed if limit.metric == "latency" else {}),
    }


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The values that are not None, since TOML has no null."""
    return {name: value for name, value in values.items() if value is not None}


def _in_json(value: object) -> object:
    """A value of TOML for JSON; dates, times, inf and nan, which JSON cannot express, become TOML's text."""
    if isinstance(value, dict):
        return {key: _in_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_json(inner) for inner in value]
    if isinstance(value, int) and value >= 10**MAX_DIGITS:
        return hex(value)
    is_json = isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))
    return value if is_json else str(value)


def _quantity(value: Decimal, metric: str) -> int | str:
    """A whole number as a number; a time or a fraction as a text with its unit."""
    kind = METRICS[metric].kind
    if kind is SECONDS:
        return f"{_plain(EXACT.multiply(value, 1000))} ms"
    return int(value) if value == int(value) else f"{_plain(value)} {kind.words[-1]}"


def _plain(value: Decimal) -> str:
    """All digits, without an exponent and without trailing zeros."""
    return f"{value.normalize(EXACT):f}"

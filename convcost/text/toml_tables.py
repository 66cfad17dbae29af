"""Tables of a TOML file as validated dataclasses; each mistake has its line and column.

pydantic validates the values by the types of the fields; a rule that a type cannot express is a function in `Read`.
"""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, get_type_hints

from convcost.text.errors import ConvcostError, as_text, did_you_mean
from convcost.text.toml import Mistake, TomlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import TypeAdapter
    from pydantic_core import CoreSchema

    from convcost.text.toml import Key, TomlFile

Model = TypeVar("Model")


@dataclass(frozen=True, slots=True)
class Read:
    """The reader of a field's value, as in `Annotated[int, Read(number(1))]`.

    Attributes:
        function: Function that converts the value; it raises a ConvcostError `(=value) rule; next step.`
        default: Value of a missing key; ... for a key that is required unless the field has a default.
    """

    function: Callable[[Any], object]
    default: object = ...

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> CoreSchema:
        """The schema that pydantic validates the field with."""
        from pydantic_core import core_schema

        schema = core_schema.no_info_plain_validator_function(self.function)
        return schema if self.default is ... else core_schema.with_default_schema(schema, default=self.default)


def require(
    rule: str, test: Callable[[Any], object], make: Callable[[Any], Any] = lambda value: value
) -> Callable[[Any], Any]:
    """A function for `Read` that tests a value, then converts it.

    Args:
        rule: Rule for the value, and the next step.
        test: Function that is true for a valid value.
        make: Function that converts a valid value.
    """

    def read(value: object) -> object:
        if not test(value):
            raise ConvcostError(f"(={as_text(value)}) {rule}")
        return make(value)

    return read


def is_number(value: object, least: float, most: float | None = None, kind: type[int | float] = int) -> bool:
    """Whether a value is a number from `least` to `most`; it must be whole unless `kind` is float."""
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        return False
    return least <= value and (most is None or value <= most)


def number(least: float, most: float | None = None, kind: type[int | float] = int) -> Callable[[Any], Any]:
    """A function for `Read` that accepts numbers from `least` to `most`; whole ones unless `kind` is float."""
    what = "a whole number" if kind is int else "a number"
    bounds = f"of at least {least:g}" if most is None else f"from {least:g} to {most:g}"
    return require(
        f"must be {what} {bounds}; write {least:g}.", lambda value: is_number(value, least, most, kind), kind
    )


def read_table(
    file: TomlFile, model: type[Model], root: Key = (), next_steps: Mapping[str, str] | None = None
) -> Model:
    """A table of a file as an instance of a dataclass or of a pydantic model.

    Args:
        file: File with the table.
        model: Dataclass or pydantic model of the table; unknown keys are refused.
        root: Path to the table; empty for the whole file.
        next_steps: Next steps for missing or empty keys, by key.

    Raises:
        TomlError: The table has mistakes; the error has all of them.
    """
    from pydantic import ValidationError

    key: object = model  # a class of a type variable is not hashable to mypy
    try:
        made: Model = _adapter(key).validate_python([file.value(root)])[0]
    except ValidationError as error:
        errors = error.errors(include_url=False)
    else:
        return made
    mistakes = [_mistake(dict(one), file, model, root, next_steps or {}) for one in errors]
    raise TomlError(file.source, tuple(sorted(mistakes, key=lambda one: one.place)))


@cache
def _adapter(model: object) -> TypeAdapter[list[Any]]:
    """The validator of a list of the model; pydantic applies a configuration to dataclasses only within a list."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(list[model], config=ConfigDict(extra="forbid"))  # type: ignore[valid-type]  # the class is a value here


_TABLE: Final = "must be a table; write {key} = {{ ... }}"
_RULES: Final = {
    "string_type": 'must be a text; write {key} = "..."',
    "string_too_short": 'must not be empty; write {key} = "..."',
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "dataclass_type": _TABLE,
    "list_type": "must be a list; write {key} = [...]",
    "tuple_type": "must be a list; write {key} = [...]",
    "too_short": "must not be empty; {step}",
    "missing": "must be there; {step}",
    "literal_error": "must be {expected}; write one of them",
}
"""The rules in messages, by pydantic's type of error."""


def _mistake(
    error: dict[str, Any], file: TomlFile, model: type[Any], root: Key, next_steps: Mapping[str, str]
) -> Mistake:
    """The mistake for an error of pydantic, with its position."""
    path, kind = error["loc"][1:], error["type"]
    missing, unknown = kind == "missing", kind in {"extra_forbidden", "unexpected_keyword_argument"}
    while path and not missing and (*root, *path) not in file.keys:
        path = path[:-1]  # a short form, in which one value stands for a table or a list
    place = file.place((*root, *path), of_key=missing or unknown)
    name = ".".join(map(str, path or root[-1:])) or "the file"
    if unknown:
        hint = did_you_mean(str(path[-1]), _known_keys(model, path[:-1]))
        return Mistake(place, f"{name} is no key of this table; {hint}")
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        return Mistake(place, f"{name} {text}" if text.startswith("(") else f"{name}: {text}")
    key = (path or root or ("the file",))[-1]
    rule = _RULES.get(kind, error["msg"][:1].lower() + error["msg"][1:] + "; correct it there")
    if isinstance(key, int):  # an entry of a list has no name to write
        rule = rule.replace("{key} = ", "")
    context = {"key": key, "step": next_steps.get(str(key), f"write {key} = ..."), **error.get("ctx", {})}
    value = None if missing else error["input"]
    return Mistake(place, f"{name} (={as_text(value)}) {rule.format_map(context)}.", missing)


def _known_keys(model: Any, path: Key) -> tuple[str, ...]:  # noqa: ANN401 - any type expression, such as list[Class]
    """The keys that the table at this path may have."""
    for word in path:
        fields = _fields(model)
        model = fields[str(word)] if fields else next(arg for arg in get_args(model)[::-1] if arg is not ...)
        model = get_args(model)[0] if type(None) in get_args(model) else model
    return tuple(_fields(model))


def _fields(model: object) -> dict[str, Any]:
    """The fields of a table with their types; none for any other type."""
    if is_dataclass(model):
        return get_type_hints(model)
    return {name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}

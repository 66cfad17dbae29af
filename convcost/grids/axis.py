"""The axes of a grid: one size or parameter of a layer, and the values it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from convcost.convolution.blocks import PARAMETERS
from convcost.convolution.cost import ITEMSIZE
from convcost.convolution.spec import SHORT_SIZES, Spec
from convcost.text.errors import ConvcostError, as_text, did_you_mean
from convcost.text.sizes import format_sizes, pair, parse_padding, parse_share, parse_sizes, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.text.toml import Key

Size: TypeAlias = "int | str | bool | Fraction | tuple[int, int]"
"""One value of an axis."""

REQUIRED: Final = ("in_channels", "out_channels", "kernel_size")
"""The axes without a default."""
PAIRS: Final = ("kernel_size", "stride", "dilation")
"""The axes whose values are (vertical, horizontal)."""
SIZES: Final = (*SHORT_SIZES, "stride", "dilation", "padding", "bias", "dtype")
"""The axes that every block has."""
DEFAULTS: Final = {
    **{one.name: one.default for one in fields(Spec) if one.default is not MISSING and one.name != "width"},
    "dtype": "float32",
}
"""The values of sizes without an axis; that of width is the height."""
MAX_VALUE: Final = 10**9
"""Largest size on an axis."""
MAX_LISTED: Final = 100_000
"""Largest number of values that are not a range of plain numbers."""
_RANGE_KEYS: Final = ("from", "to", "step", "times")
_RANGE_STEP: Final = "write { from = 8, to = 64, step = 8 } or { from = 8, to = 64, times = 2 }"


class AxisError(ConvcostError):
    """A mistake in the values of an axis.

    Args:
        path: Path from the axis to the wrong value: an index of the list or a key of the range; empty for the axis.
        text: The value, the rule and the next step.
        of_key: Whether the key itself is wrong.
    """

    def __init__(self, path: Key, text: str, *, of_key: bool = False) -> None:
        self.path = path
        self.of_key = of_key
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Axis:
    """One size or parameter of a layer, and its values.

    Attributes:
        name: Full name of the option of `convcost compare`, such as in_channels.
        values: Distinct values in order; a range of numbers with a step stays a `range`. Those of kernel_size, stride
            and dilation are (vertical, horizontal), those of padding "same", "valid" or such a pair.
    """

    name: str
    values: (
        Sequence[int] | Sequence[tuple[int, int]] | Sequence[Fraction] | Sequence[str] | Sequence[bool] | Sequence[Size]
    )

    def to_json(self) -> object:
        """The values as in a sweep's file, in one form for equal values."""
        if isinstance(self.values, range):
            return {"from": self.values.start, "to": self.values[-1], "step": self.values.step}
        return [_in_json(value) for value in self.values]


def _in_json(value: Size) -> object:
    if isinstance(value, tuple):
        return value[0] if value[0] == value[1] else format_sizes(value)
    return str(value) if isinstance(value, Fraction) else value


def known_axes() -> tuple[str, ...]:
    """The names of all axes: the sizes of a layer, then the parameters of single blocks."""
    return (*SIZES, *PARAMETERS)


def parse_axis(name: str, given: object) -> Axis:
    """The axis of this name, from a list, a range, or one value.

    Args:
        name: Full name.
        given: Values as in a sweep's file: a list, a table with from, to and step or times, or one value.

    Raises:
        AxisError: No values, a value that the axis cannot have, one that repeats, or a range that misses its end.
    """
    if isinstance(given, Mapping):
        numbers = _range(given)
        if name in PARAMETERS and PARAMETERS[name].kind == "share":
            raise AxisError((), '(=a range) must be a list of shares; write ["1/4", "1/2"].')
    elif isinstance(given, range) and given.step > 0:
        numbers = given
    else:
        numbers = None
    read = _reader(name)
    if isinstance(numbers, range) and name not in {*PAIRS, "padding"}:
        _require_values(len(numbers))
        for number in (numbers[0], numbers[-1]):
            read(number)
        return Axis(name, numbers)
    listed = _listed(given) if numbers is None else numbers
    _require_values(len(listed), MAX_LISTED)
    if numbers is not None:
        return Axis(name, tuple(map(read, numbers)))
    values: dict[Size, int] = {}
    for index, one in enumerate(listed):
        path = (index,) if listed is given else ()
        try:
            value = read(one)
        except AxisError as error:
            raise AxisError(path, str(error)) from None
        if value in values:
            raise AxisError(path, f"(={as_text(one)}) must be there once; leave the second one out.")
        values[value] = index
    return Axis(name, tuple(values))


def _listed(given: object) -> Sequence[Any]:
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        return given
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        raise AxisError((), f"(={as_text(given)}) must be a list, a range or one value; write a list such as [8, 16].")
    return (given,)


def _require_values(number: int, most: int | None = None) -> None:
    if number == 0:
        raise AxisError((), "(=[]) must not be empty; write a list such as [1, 2], or leave the axis out.")
    if most is not None and number > most:
        raise AxisError((), f"(={number} values) must have at most {most} values; write fewer of them.")


def _range(given: Mapping[Any, Any]) -> Sequence[int]:
    """The numbers of a table with from, to and step or times; both ends included."""
    for key in given:
        if key not in _RANGE_KEYS:
            hint = did_you_mean(str(key), _RANGE_KEYS)
            raise AxisError((str(key),), f"is no key of a range; {hint}", of_key=True)
    if "from" not in given or "to" not in given or ("step" in given) == ("times" in given):
        raise AxisError((), f"(={as_text(dict(given))}) must have from, to, and either step or times; {_RANGE_STEP}.")
    numbers = {key: plain(value) for key, value in given.items()}
    for key, least in {"from": 0, "to": 0, "step": 1, "times": 2}.items():
        if key in numbers:
            _require_number((key,), numbers[key], least)
    first, last = numbers["from"], numbers["to"]
    if first > last:
        raise AxisError(("to",), f"(={last}) must be at least from (={first}); exchange the two.")
    if "step" in numbers:
        made: Sequence[int] = range(first, last + 1, numbers["step"])
        how = f"in steps of {numbers['step']}"
    else:
        made, how = _powers(first, last, numbers["times"]), f"by factors of {numbers['times']}"
    if made[-1] != last:
        raise AxisError(("to",), f"(={last}) must be reached from {first} {how}; write to = {made[-1]}.")
    return made


def _powers(first: int, last: int, factor: int) -> tuple[int, ...]:
    if first == 0:
        raise AxisError(("from",), "(=0) must be at least 1 with times; write from = 1.")
    made = [first]
    while made[-1] * factor <= last:
        made.append(made[-1] * factor)
    return tuple(made)


def _require_number(path: Key, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_VALUE:
        is_large = isinstance(value, int) and value > MAX_VALUE
        nearest = MAX_VALUE if is_large else max(least, 8)
        raise AxisError(
            path, f"(={as_text(value)}) must be a whole number from {least} to {MAX_VALUE:,}; write {nearest}."
        )


def _reader(name: str) -> Callable[[Any], Size]:
    """The function that reads one value of an axis."""
    if name in PAIRS:
        return lambda value: _read_pair(name, value, 1)
    if name == "padding":
        return _read_padding
    if name == "bias":
        return lambda value: _read_one_of(value, (False, True), "write [false, true]")
    if name == "dtype":
        return lambda value: _read_one_of(value, tuple(ITEMSIZE), "write one of them")
    if name in PARAMETERS and PARAMETERS[name].kind == "share":
        return lambda value: _read_share(name, value)
    least = PARAMETERS[name].least if name in PARAMETERS else 1
    return lambda value: _read_number(value, least)


def _read_number(value: object, least: int) -> int:
    number = plain(value)
    _require_number((), number, least)
    return int(number)


def _read_padding(value: object) -> Size:
    if isinstance(value, str):
        try:
            value = parse_padding("padding", value)
        except ConvcostError as error:
            raise AxisError((), str(error).removeprefix("padding ")) from None
    return value if isinstance(value, str) else _read_pair("padding", value, 0)


def _read_pair(name: str, value: object, least: int) -> tuple[int, int]:
    try:
        listed: Any = value
        sizes = parse_sizes(name, value) if isinstance(value, str) else pair(listed)
    except ConvcostError as error:
        raise AxisError((), str(error).removeprefix(f"{name} ").removeprefix("sizes ")) from None
    for size in sizes:
        _require_number((), size, least)
    return sizes


def _read_one_of(value: object, known: Sequence[Size], step: str) -> Size:
    for one in known:
        if value == one and type(value) is type(one):
            return one
    raise AxisError((), f"(={as_text(value)}) must be {' or '.join(map(as_text, known))}; {step}.")


def _read_share(name: str, value: object) -> Fraction:
    try:
        share = value if isinstance(value, Fraction) else parse_share(name, as_text(value))
        PARAMETERS[name].require(share)
    except ConvcostError as error:
        raise AxisError((), str(error).removeprefix(f"{name} ")) from None
    return share

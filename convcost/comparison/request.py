"""The request of a comparison, and its predictions, which need no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.comparison.rows import Placed, Row, place_block
from convcost.convolution.blocks import BLOCKS, DEFAULT_BLOCKS, PARAMETERS, find_block
from convcost.convolution.cost import ITEMSIZE
from convcost.convolution.spec import Spec, short_names
from convcost.text.errors import ConvcostError, ShapeError, as_text, did_you_mean
from convcost.text.sizes import format_sizes, pair, plain
from convcost.timing.conditions import TimingOptions, require_one_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.convolution.spec import Value


def catalogue(names: Sequence[str] | None) -> tuple[str, ...]:
    """The block names, each once, with `all` replaced by the whole catalogue; the default blocks for None."""
    wanted = [BLOCKS if name == "all" else (name,) for name in names or DEFAULT_BLOCKS]
    return tuple(dict.fromkeys(name for group in wanted for name in group))


def make_spec(  # noqa: PLR0913 - the layer options of commands and public functions
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    *,
    height: int = 224,
    width: int | None = None,
    batch: int = 1,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | Literal["same", "valid"] = "same",
    bias: bool = False,
) -> Spec:
    """The layer shape of these sizes; a single number stands for both axes."""
    return Spec(
        plain(in_channels),
        plain(out_channels),
        pair(kernel_size),
        plain(height),
        plain(height if width is None else width),
        plain(batch),
        pair(stride),
        pair(dilation),
        padding if isinstance(padding, str) else pair(padding),
        bool(bias),
    )


def each_condition(
    timing: TimingOptions, dtypes: Sequence[str], memory_formats: Sequence[str], threads: Sequence[int | Literal["all"]]
) -> tuple[TimingOptions, ...]:
    """The options of every combination of devices, dtypes, memory formats and threads.

    Args:
        timing: Devices and the options that all conditions share.
        dtypes: Data types of the elements.
        memory_formats: Memory formats of input and weights.
        threads: Numbers of torch's threads.
    """
    return tuple(
        replace(timing, devices=(device,), dtype=dtype, memory_format=memory_format, threads=number)
        for device in timing.devices
        for dtype in dict.fromkeys(dtypes)
        for memory_format in dict.fromkeys(memory_formats)
        for number in dict.fromkeys(threads)
    )


@dataclass(frozen=True, slots=True)
class Request:
    """The blocks to compare, their layer shape, and the options of counting and timing.

    Attributes:
        spec: Layer shape.
        given: Values for parameters that only some blocks have.
        blocks: Names of the blocks, in the order of the rows.
        baseline: Name of the block that ratios and speed-ups are relative to.
        timings: Options of the timing for each condition; their dtype also decides the predicted memory traffic.
        count: Whether to count the real modules.
        time: Whether to time the real modules.
        reuse: Whether a matching run of the history may replace the timing.
        roofline: Whether to draw a roofline, for which the machine must be calibrated.
        sort: Field of a row whose values order the rows; None for the order of the conditions and blocks.

    Raises:
        ConvcostError: An unknown block or dtype, a parameter below its minimum, or options that need timings while
            `time` is off.
    """

    spec: Spec
    given: Mapping[str, Value]
    blocks: tuple[str, ...] = DEFAULT_BLOCKS
    baseline: str = "standard"
    timings: tuple[TimingOptions, ...] = (TimingOptions(),)
    count: bool = True
    time: bool = True
    reuse: bool = False
    roofline: bool = False
    sort: str | None = None

    def __post_init__(self) -> None:
        """Refuse names and values that are wrong for every block."""
        known = [column.name for column in COMPARE_COLUMNS]
        if self.sort is not None and self.sort not in known:
            raise ConvcostError(f"sort (={self.sort}) must be a field of a row; {did_you_mean(self.sort, known)}")
        for name in (*self.blocks, self.baseline):
            find_block(name)
        for name, value in self.given.items():
            PARAMETERS[name].require(value)
        for timing in self.timings:
            require_one_of("dtype", timing.dtype, tuple(ITEMSIZE))
        if self.timing.why and not self.time:
            raise ConvcostError("why (=true) must have eager timings to account for; turn time on.")
        if self.roofline and not self.time:
            raise ConvcostError("roofline (=true) must have timings to draw; turn time on.")

    @property
    def timing(self) -> TimingOptions:
        """The options that all conditions share."""
        return self.timings[0]

    @property
    def varied(self) -> dict[str, tuple[Any, ...]]:
        """The different values of each option that may be repeated."""
        names = ("devices", "dtype", "memory_format", "threads")
        return {name: tuple(dict.fromkeys(getattr(timing, name) for timing in self.timings)) for name in names}

    @property
    def command(self) -> str:
        """The command line of this request."""
        always = ("in_channels", "out_channels", "kernel_size", "height", "width")
        varied = self.varied | {"devices": tuple(name for names in self.varied["devices"] for name in names)}
        changed = _changed(self) | _changed(self.timing)
        changed |= {name: tuple(map(str, values)) for name, values in varied.items() if len(values) > 1}
        options = {
            **{name: getattr(self.spec, name) for name in always},
            **_changed(self.spec),
            **{name: self.given[name] for name in PARAMETERS if name in self.given},
            **{option: changed[name] for name, option in _OPTIONS.items() if name in changed},
        }
        return " ".join(["convcost compare", *(word for one in options.items() for word in _words(*one))])

    @property
    def settings(self) -> dict[str, Any]:
        """The requested conditions, for the JSON object."""
        timing = self.timing
        several = {name: values[0] if len(values) == 1 else list(values) for name, values in self.varied.items()}
        return {
            "devices": [name for names in self.varied["devices"] for name in names],
            "dtype": several["dtype"],
            "threads": several["threads"],
            "memory_format": several["memory_format"],
            "compiled": timing.compiled,
            "allocator": timing.allocator,
            "time_budget_s": timing.time_budget,
            "counted": self.count,
            "timed": self.time,
        }


_OPTIONS: Final = {
    "blocks": "block", "count": "count", "time": "time", "store": "store", "reuse": "reuse", "compiled": "compile",
    "why": "why", "roofline": "roofline", "sort": "sort", "devices": "device", "baseline": "baseline", "dtype": "dtype",
    "memory_format": "memory_format", "threads": "threads", "allocator": "allocator", "time_budget": "time_budget",
}  # fmt: skip
"""Fields that are options of the command, with the option's name, in the order of the command line."""


def _words(name: str, value: object) -> list[str]:
    """An option of the command line with its value."""
    option = (short_names().get(name) or name).replace("_", "-")
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{option}"]
    if not isinstance(value, tuple):
        return [f"--{option} {as_text(value) if isinstance(value, int) else value}"]
    texts = value if isinstance(value[0], str) else (format_sizes(value),)
    return [f"--{option} {text}" for text in texts]


def _changed(options: Spec | Request | TimingOptions) -> dict[str, Any]:
    """The fields that are not at their defaults."""
    values = {one.name: (getattr(options, one.name), one.default) for one in fields(options)}
    return {name: value for name, (value, default) in values.items() if value != default}


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predictions for a request.

    Attributes:
        rows: One row for each block that the shape allows, and each dtype.
        notes: Blocks that are left out, with the reason, and options without effect.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def predict(request: Request) -> Prediction:
    """The cost of every block of a request.

    Raises:
        ShapeError: The shape allows none of the blocks.
    """
    notes = list(_options_without_effect(request))
    rows: list[Row] = []
    for dtype in request.varied["dtype"]:
        baseline: Placed | None = None
        try:
            baseline = place_block(request.baseline, request.spec, request.given, dtype)
        except ShapeError as error:
            notes.append(f"no ratios: the baseline {request.baseline} does not fit this shape: {error}")
        refused = []
        for name in request.blocks:
            try:
                rows.append(Row(place_block(name, request.spec, request.given, dtype), dtype, baseline))
            except ShapeError as error:
                refused.append((name, error))
        if not rows:
            reasons = "; ".join(str(error) if len(refused) == 1 else f"{name}: {error}" for name, error in refused)
            raise ShapeError(reasons)
        notes += [f"{name} is left out: {error}" for name, error in refused]
    return Prediction(tuple(rows), tuple(dict.fromkeys(notes)))


def _options_without_effect(request: Request) -> Sequence[str]:
    shown = {parameter for name in (*request.blocks, request.baseline) for parameter in BLOCKS[name].defaults}
    notes = []
    for name in request.given:
        if name not in shown:
            parameter = PARAMETERS[name]
            owners = ", ".join(block.name for block in parameter.owners)
            notes.append(f"{name} has no effect here: it sets {parameter.help} of {owners}.")
    if request.reuse and not request.time:
        notes.append("reuse has no effect here: nothing is to be timed.")
    return notes

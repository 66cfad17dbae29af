"""Options that several commands share: annotated types, and the group of options of a layer."""

from __future__ import annotations

import inspect
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeAlias, TypeVar

import typer

from convcost.comparison.request import make_spec
from convcost.convolution.blocks import PARAMETERS
from convcost.convolution.spec import short_names
from convcost.text.sizes import parse_padding, parse_share, parse_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from convcost.convolution.spec import Parameter, Spec, Value

R = TypeVar("R")
SHAPE: Final = "The layer's shape"
BLOCK: Final = "Parameters of single blocks"
CLOCK: Final = "Clock"
OUTPUT: Final = "Output"
REQUIRED: Final = inspect.Parameter.empty


class OutputFormat(StrEnum):
    """Formats of stdout."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    latex = "latex"


def flags(name: str) -> tuple[str, ...]:
    """The names of an option on the command line, the short one first."""
    long, short = f"--{name.replace('_', '-')}", short_names().get(name)
    return (long,) if short is None else (f"--{short}", long)


def option(panel: str, help_text: str, *names: str, metavar: str | None = None) -> typer.models.OptionInfo:
    """An option in a panel of the help."""
    made: typer.models.OptionInfo = typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=panel)
    return made


def columns_option(example: str) -> typer.models.OptionInfo:
    """The option that chooses fields, with an example of the command's own."""
    help_text = f"Fields to show, separated by commas, as {example}; JSON always has all."
    return option(OUTPUT, help_text, "--columns", metavar="NAMES")


Height: TypeAlias = Annotated[int, option(SHAPE, "Input height.", *flags("height"))]
Width: TypeAlias = Annotated[int | None, option(SHAPE, "Input width; the height by default.", *flags("width"))]
Inputs: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--input", help="Input, as 1x3x224x224, 1x16:int64 or name=1x16; one for each input.", metavar="SHAPE"
    ),
]
CallableArguments: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--arg", help="Argument of the callable, as key=value; may be repeated.", metavar="KEY=VALUE"),
]
Top: TypeAlias = Annotated[int | None, typer.Option(help="Maximum number of rows.")]
CountDevice: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Device of the count: meta allocates nothing; cpu runs models that depend on values; auto chooses."
    ),
]
Device: TypeAlias = Annotated[str, option(CLOCK, "Device to time on: cpu, cuda, cuda:1, mps or auto.")]
MemoryFormat: TypeAlias = Annotated[str, option(CLOCK, "Memory format: contiguous or channels_last.")]
Threads: TypeAlias = Annotated[str, option(CLOCK, "Threads of torch on the CPU, a number or all.")]
Allocator: TypeAlias = Annotated[
    str, option(CLOCK, "pinned: keep freed memory, to avoid page faults; default: as in your own program.")
]
TimeBudget: TypeAlias = Annotated[float, option(CLOCK, "Seconds for all timings together, warm-up included.")]
Store: TypeAlias = Annotated[
    bool, option(OUTPUT, "Store the timings in the history (see convcost history).", "--store/--no-store")
]
Baseline: TypeAlias = Annotated[str, option(OUTPUT, "Block that ratios and speed-ups are relative to.", "--baseline")]
Format: TypeAlias = Annotated[OutputFormat, option(OUTPUT, "Format of stdout.", "--format")]
Export: TypeAlias = Annotated[
    list[Path] | None,
    option(
        OUTPUT,
        "Also write a file: .csv .json .md .tex .parquet .xlsx, or with convcost[report] .html .svg .png; may be "
        "repeated.",
        "--export",
        metavar="FILE",
    ),
]
Emit: TypeAlias = Annotated[
    Path | None,
    typer.Option("--emit", help="Also write the blocks as a program: .py for torch, .txt for oneDNN.", metavar="FILE"),
]
EmitModel: TypeAlias = Annotated[
    Path | None,
    option(
        OUTPUT, "Also write a torch file: the blocks, and a function that alters the model.", "--emit", metavar="FILE"
    ),
]
Caption: TypeAlias = Annotated[
    str | None,
    option(
        OUTPUT,
        "Caption of the LaTeX table; auto: what the table shows, and under which conditions, for any format.",
        "--caption",
    ),
]
Label: TypeAlias = Annotated[str | None, option(OUTPUT, "Label of the LaTeX table, as tab:cost.", "--label")]


Given: TypeAlias = "Mapping[str, Value]"
"""Values for parameters that only some blocks have."""


class LayerOptions(NamedTuple):
    """The values of the options of a layer.

    Attributes:
        spec: Layer shape.
        given: Values for parameters that only some blocks have.
    """

    spec: Spec
    given: Mapping[str, Value]


def with_layer_options(command: Callable[..., R]) -> Callable[..., R]:
    """Replace a parameter of a command by options: `layer` by those of a layer's sizes and of blocks' parameters.

    A parameter `given` is replaced by the options of blocks' parameters alone.

    Args:
        command: Function of a command; one without these parameters is returned unchanged.
    """
    own = inspect.signature(command, eval_str=True).parameters
    group = next((name for name in ("layer", "given") if name in own), None)
    if group is None:
        return command
    sizes, parse = (_SIZES, _layer) if group == "layer" else ({}, _given)
    options = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in (sizes | {one.name: _own(one) for one in PARAMETERS.values()}).items()
    }

    @wraps(command)
    def call(**values: Any) -> R:  # noqa: ANN401 - the options of a command have many types
        return command(**{group: parse({name: values.pop(name) for name in options})}, **values)

    signature = inspect.Signature(
        [
            two.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, one in own.items()
            for two in (options.values() if name == group else (one,))
        ]
    )
    call.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    call.__dict__["__signature__"] = signature
    return call


def _size(kind: object, name: str, help_text: str, metavar: str | None = None) -> object:
    return Annotated[kind, option(SHAPE, help_text, *flags(name), metavar=metavar)]


_SIZES: Final[dict[str, tuple[object, object]]] = {
    "in_channels": (_size(int, "in_channels", "C: input channels."), REQUIRED),
    "out_channels": (_size(int, "out_channels", "O: output channels."), REQUIRED),
    "kernel_size": (_size(str, "kernel_size", "K: kernel size, one or KHxKW (height x width).", "K|KHxKW"), REQUIRED),
    "height": (Height, 224),
    "width": (Width, None),
    "batch": (_size(int, "batch", "N: batch size."), 1),
    "stride": (_size(str, "stride", "Stride, one or vertical x horizontal.", "S|SHxSW"), "1"),
    "dilation": (_size(str, "dilation", "Dilation, one or vertical x horizontal.", "D|DHxDW"), "1"),
    "padding": (
        _size(
            str,
            "padding",
            "Padding: same (output = ceil(input / stride), as TensorFlow's SAME), valid, or sizes.",
            "same|valid|N|NxM",
        ),
        "same",
    ),
    "bias": (Annotated[bool, option(SHAPE, "Whether every stage has a bias.")], False),
}
"""The options of the sizes of a layer, with their defaults."""


def _own(parameter: Parameter) -> tuple[object, None]:
    """The option of a parameter that only some blocks have."""
    is_share = parameter.kind == "share"
    metavar = parameter.symbol.upper() if is_share else None
    text = f"{parameter.symbol}: {parameter.help}; by default {parameter.defaults}."
    own = option(BLOCK, text, *flags(parameter.name), metavar=metavar)
    return Annotated[(str if is_share else int) | None, own], None


def _layer(values: dict[str, Any]) -> LayerOptions:
    """The values of the layer options, parsed."""
    sizes = {name: values.pop(name) for name in _SIZES}
    for name in ("kernel_size", "stride", "dilation"):
        sizes[name] = parse_sizes(name, sizes[name])
    sizes["padding"] = parse_padding("padding", sizes["padding"])
    return LayerOptions(make_spec(**sizes), _given(values))


def _given(values: dict[str, Any]) -> dict[str, Value]:
    """The given parameters of blocks, parsed."""
    return {
        name: parse_share(name, value) if PARAMETERS[name].kind == "share" else value
        for name, value in values.items()
        if value is not None
    }

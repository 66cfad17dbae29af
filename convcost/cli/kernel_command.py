"""`convcost kernel`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from convcost.cli import options as o
from convcost.cli.catalogue import list_kernels
from convcost.cli.output import INTERRUPTED, deliver, refuse_exports, say, say_remarks, write_out
from convcost.cli.progress import ProgressLine
from convcost.kernels.columns import KERNEL_COLUMNS, LAYER_COLUMNS
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_threads
from convcost.timing.conditions import TimingOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from convcost.kernels.report import KernelReport, WeightsReport

R = TypeVar("R")
NAMED = "Parameters of named kernels"
NETWORK = "A network's weights"


def _list_kernels(wanted: bool) -> None:
    if wanted:
        write_out(f"{list_kernels()}\n")
        raise typer.Exit


def kernel_command(  # noqa: PLR0913, PLR0917 - each parameter is an option of the command
    kernels: Annotated[
        list[str] | None,
        typer.Argument(
            help="Numbers in quotes, rows separated by ; (a leading minus is fine), a .csv or .npy file, or a name.",
            metavar="KERNEL...",
            show_default=False,
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of gaussian, box, ...", rich_help_panel=NAMED)] = None,
    sigma: Annotated[float | None, typer.Option(help="Pixels, of gaussian, log, gabor.", rich_help_panel=NAMED)] = None,
    theta: Annotated[float | None, typer.Option(help="Degrees, of gabor.", rich_help_panel=NAMED)] = None,
    wavelength: Annotated[float | None, typer.Option(help="Pixels, of gabor.", rich_help_panel=NAMED)] = None,
    gamma: Annotated[float | None, typer.Option(help="Height over width, of gabor.", rich_help_panel=NAMED)] = None,
    _list: Annotated[
        bool,
        typer.Option(
            "--list-kernels", callback=_list_kernels, is_eager=True, help="List the named kernels with their sources."
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="A target as of convcost model, or a file of weights: a state_dict of torch.save, or .safetensors.",
            metavar="TARGET",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", help="key=value for the callable; may be repeated.", rich_help_panel=NETWORK),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Singular values up to this share of the largest count as 0; by default 16 max(height, width) times "
            "the spacing of the numbers next to 1, in half precision half the root of the smaller side times it. "
            "Integers are always exact; fractions and decimals of up to 12 digits are by default.",
            show_default=False,
        ),
    ] = None,
    channels: Annotated[int, typer.Option(*o.flags("in_channels"), help="Channels that the layers have.")] = 3,
    height: o.Height = 224,
    width: o.Width = None,
    time: Annotated[bool, typer.Option(help="Time the real torch layers.", rich_help_panel=o.CLOCK)] = True,
    device: o.Device = "auto",
    memory_format: o.MemoryFormat = "contiguous",
    threads: o.Threads = "1",
    allocator: o.Allocator = "pinned",
    time_budget: o.TimeBudget = 8.0,
    store: o.Store = True,
    form: o.Format = o.OutputFormat.table,
    columns: o.Columns = None,
    export: o.Export = None,
) -> int:
    """Say whether a kernel is spatially separable, with its factors, and what they would save.

    Example: convcost kernel "1 0 -1; 2 0 -2; 1 0 -1"
    """
    refuse_exports(export)
    kernel_fields = choose_columns(KERNEL_COLUMNS, columns if model is None else None)
    layer_fields = choose_columns(LAYER_COLUMNS, None if model is None else columns)
    from convcost.workflows.kernel import separate_kernels, separate_model, time_kernels

    named = {"size": size, "sigma": sigma, "theta": theta, "wavelength": wavelength, "gamma": gamma}
    result: KernelReport | WeightsReport
    with ProgressLine() as progress:
        if model is not None:
            _refuse_beside_model(kernels, named)
            code, network = _last(separate_model(model, arg or (), tolerance, progress), None)
            result = replace(network, columns=layer_fields)
        else:
            _require_kernels(kernels, arg)
            options = TimingOptions(
                (device,), parse_threads(threads), allocator, time_budget, memory_format=memory_format, store=store
            )
            shape = (channels, height, height if width is None else width)
            code, matrices = 0, separate_kernels(kernels or (), named, tolerance, shape)
            if time:
                code, matrices = _last(time_kernels(matrices, options, progress), matrices)
            result = replace(matrices, columns=kernel_fields)
    deliver(result, form, export)
    say_remarks(result)
    if code == INTERRUPTED:
        say(["interrupted: what was not done yet is left empty."], "note")
    return code


def _last(results: Iterable[R], known: R | None) -> tuple[int, R]:
    """The last of the results; when interrupted, the last that was there, if any."""
    latest, code = known, 0
    try:
        for latest in results:  # noqa: B007 - it is returned
            pass
    except KeyboardInterrupt:
        code = INTERRUPTED
    if latest is None:
        raise KeyboardInterrupt
    return code, latest


def _require_kernels(kernels: list[str] | None, arg: list[str] | None) -> None:
    if not kernels:
        msg = "KERNEL (=nothing) must be given, or --model TARGET; write convcost kernel sobel, for example."
        raise ConvcostError(msg)
    if arg:
        raise ConvcostError(f"arg (={arg[0]}) must go with --model, whose callable takes it; leave it out.")


def _refuse_beside_model(kernels: list[str] | None, named: Mapping[str, float | None]) -> None:
    given = [*(kernels or ()), *(f"--{name}" for name, value in named.items() if value is not None)]
    if given:
        msg = f"{given[0]} must not stand beside --model, which takes the kernels of a network; leave one of them out."
        raise ConvcostError(msg)

"""The command `convcost kernel`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from convcost.cli import options as o
from convcost.cli.catalogue import list_kernels
from convcost.cli.command import note_unused, note_without_latex
from convcost.cli.output import (
    INTERRUPTED,
    WHOLE_JSON,
    deliver,
    last,
    only_json,
    refuse_exports,
    say,
    say_remarks,
    write_out,
)
from convcost.kernels.columns import KERNEL_COLUMNS, LAYER_COLUMNS
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_threads
from convcost.timing.conditions import TimingOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.kernels.report import KernelReport, WeightsReport

NAMED = "Parameters of named kernels"
NETWORK = "A network's weights"


def _list_kernels(wanted: bool) -> None:
    if wanted:
        write_out(f"{list_kernels()}\n")
        raise typer.Exit


def kernel_command(
    context: typer.Context,
    kernels: Annotated[
        list[str] | None,
        typer.Argument(
            help="Name of a kernel, a .csv or .npy file, or numbers in quotes with ; between rows.",
            metavar="KERNEL...",
            show_default=False,
        ),
    ] = None,
    size: Annotated[int | None, o.option(NAMED, "Size of gaussian, box and others, in pixels.")] = None,
    sigma: Annotated[float | None, o.option(NAMED, "Sigma of gaussian, log and gabor, in pixels.")] = None,
    theta: Annotated[float | None, o.option(NAMED, "Direction of gabor, in degrees.")] = None,
    wavelength: Annotated[float | None, o.option(NAMED, "Wavelength of gabor, in pixels.")] = None,
    gamma: Annotated[float | None, o.option(NAMED, "Height of gabor divided by its width.")] = None,
    _list: Annotated[
        bool,
        typer.Option(
            "--list-kernels", callback=_list_kernels, is_eager=True, help="List the named kernels with their sources."
        ),
    ] = False,
    model: Annotated[
        str | None,
        o.option(
            NETWORK,
            "Target as for convcost model, or file of weights: .safetensors, or a state_dict of torch.save.",
            metavar="TARGET",
        ),
    ] = None,
    arg: Annotated[
        list[str] | None, o.option(NETWORK, "Argument of the callable, as key=value; may be repeated.", "--arg")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Singular values up to this share of the largest count as 0. Default: 16 eps * max(height, width); in "
            "half precision eps * sqrt(min(height, width)) / 2, where eps is the spacing of the numbers next to 1. "
            "The rank of integers is always exact; by default so is that of fractions and of short decimals.",
            show_default=False,
        ),
    ] = None,
    channels: Annotated[int, typer.Option(*o.flags("in_channels"), help="Channels of the layers.")] = 3,
    height: o.Height = 224,
    width: o.Width = None,
    time: Annotated[bool, o.option(o.CLOCK, "Time the real torch layers.")] = True,
    device: o.Device = "auto",
    memory_format: o.MemoryFormat = "contiguous",
    threads: o.Threads = "1",
    allocator: o.Allocator = "pinned",
    time_budget: o.TimeBudget = 8.0,
    store: o.Store = True,
    form: o.Format = o.OutputFormat.table,
    columns: Annotated[str | None, o.columns_option("name,macs_ratio")] = None,
    export: o.Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> int:
    """Decide whether a kernel is spatially separable, and show its factors and their savings.

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
            code, network = last(separate_model(model, arg or (), tolerance, progress))
            result = replace(network, columns=layer_fields)
        else:
            _require_kernels(kernels, arg)
            options = TimingOptions(
                (device,), parse_threads(threads), allocator, time_budget, memory_format=memory_format, store=store
            )
            shape = (channels, height, height if width is None else width)
            code, matrices = 0, separate_kernels(kernels or (), named, tolerance, shape)
            if time:
                code, matrices = last(time_kernels(matrices, options, progress), matrices)
            result = replace(matrices, columns=kernel_fields)
    with interrupts_held():
        deliver(result, form, export, latex=partial(result.to_latex, caption, label))
        say_remarks(result)
        if model is not None:
            unused = ("channels", "store", "height", "width", *(("time",) if time else ()))
            note_unused(context, "the layers of a network are not timed", unused, panel=o.CLOCK)
        elif not time:
            note_unused(context, "nothing is to be timed", ("store",), panel=o.CLOCK)
        note_without_latex(context, form, export, result)
        if only_json(form, export):
            note_unused(context, WHOLE_JSON, ("columns",))
    if code == INTERRUPTED:
        say(["interrupted: what was not done yet is left empty."], "note")
    return code


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

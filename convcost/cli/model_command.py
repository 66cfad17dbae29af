"""The command `convcost model`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from convcost.cli import options as o
from convcost.cli.command import note_unused
from convcost.cli.output import (
    DISAGREES,
    INTERRUPTED,
    WHOLE_JSON,
    deliver,
    last,
    only_json,
    print_blocks,
    refuse_exports,
    say,
    say_remarks,
    why_layers_text,
    write_out,
)
from convcost.models.columns import MODEL_COLUMNS
from convcost.models.report import require_arrangement
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine, is_terminal, show_progress, terminal_width
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_arg, parse_input, parse_threads
from convcost.timing.conditions import TimingOptions
from convcost.workflows.compare import require_devices
from convcost.workflows.model import count_target, time_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.models.report import ModelReport


def model_command(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            help="package.module:callable, file.py:callable, FILE.toml, network:NAME, torchvision:NAME, timm:NAME or "
            "FILE.pt2. The code of a Python target is run.",
            metavar="TARGET",
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="Input, as 1x3x224x224, 1x16:int64 or name=1x16; one for each input.", metavar="SHAPE"
        ),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", help="Argument of the callable, as key=value; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    depth: Annotated[int | None, typer.Option(help="Depth below which the rows of modules are added up.")] = None,
    sort: Annotated[
        str | None, typer.Option(help="Order of the rows, largest first: macs, params, traffic or time.")
    ] = None,
    top: Annotated[int | None, typer.Option(help="Maximum number of rows.")] = None,
    cross_check: Annotated[
        bool, typer.Option(help="Cross-check the total with torch's FlopCounterMode and fvcore.")
    ] = True,
    device: Annotated[
        str,
        typer.Option(
            help="Device of the count: meta allocates nothing; cpu runs models that depend on values; auto chooses."
        ),
    ] = "meta",
    time: Annotated[bool, o.option(o.CLOCK, "Time the forward pass, and each distinct layer alone.", "--time")] = False,
    time_device: o.Device = "auto",
    threads: o.Threads = "1",
    allocator: o.Allocator = "pinned",
    time_budget: o.TimeBudget = 8.0,
    why: Annotated[
        bool,
        o.option(o.CLOCK, "Print where the time of each convolution goes, and what would make it faster.", "--why"),
    ] = False,
    store: o.Store = True,
    form: o.Format = o.OutputFormat.table,
    columns: o.Columns = None,
    export: o.Export = None,
) -> int:
    """Count a whole torch model, layer by layer, and list the operations that were not counted.

    Example: convcost model network:mobilenet_v1
    """
    refuse_exports(export)
    fields = choose_columns(MODEL_COLUMNS, columns)
    require_arrangement(depth, sort, top, timed=time)
    options = None
    if why and not time:
        raise ConvcostError("--why must have times to account for; add --time.")
    if time:
        threads_wanted = parse_threads(threads)
        options = TimingOptions((time_device,), threads_wanted, allocator, time_budget, store=store, why=why)
        require_devices(options.devices)
    given, args = tuple(map(parse_input, inputs or ())), dict(map(parse_arg, arg or ()))

    is_early = cross_check and not time and form is o.OutputFormat.table and is_terminal(sys.stdout)
    early_lines: list[str] = []

    def measure() -> Iterator[ModelReport]:
        for counted in count_target(target, given, args, cross_check=cross_check, device=device):
            by = None if time else sort  # there are no times yet
            early = replace(counted.arranged(depth=depth, sort=by, top=top), columns=fields, cross_check={})
            early_lines[:] = early_lines or _shown_early(early, wanted=is_early)
            yield counted
        if options is not None:
            yield from time_target(counted, given, args, options, progress)

    with ProgressLine() as progress:
        code, result = last(measure())
    with interrupts_held():
        untimed = code == INTERRUPTED and result.forward is None
        arranged = result.arranged(depth=depth, sort=None if untimed and sort == "time" else sort, top=top)
        shown = replace(arranged, columns=fields)
        deliver(shown, form, export, table_shown=bool(early_lines), lines_shown=len(early_lines))
        if why and form is o.OutputFormat.table:
            print_blocks(why_layers_text(shown.rows))
        say_remarks(result)
        _note_unused(context, time=time, is_json=only_json(form, export))
    if code == INTERRUPTED:
        say(["interrupted: what was not measured yet is left empty."], "note")
        return INTERRUPTED
    return 0 if result.agrees else DISAGREES


def _note_unused(context: typer.Context, *, time: bool, is_json: bool) -> None:
    """Note the options that had no effect."""
    if not time:
        note_unused(context, "nothing is timed without --time", panel=o.CLOCK)
    if is_json:
        note_unused(context, WHOLE_JSON, ("depth", "sort", "top", "columns"))


def _shown_early(early: ModelReport, *, wanted: bool) -> tuple[str, ...]:
    """Show a count before the other counters run, if that is wanted; the lines under its table."""
    if not wanted:
        return ()
    show_progress("")
    write_out(early.text(terminal_width()))
    return early.verdicts

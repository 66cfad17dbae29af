"""The command `convcost diff`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from convcost.changes.columns import DIFF_COLUMNS
from convcost.cli import options as o
from convcost.cli.clock import timing_options
from convcost.cli.command import note_unused, note_without_latex
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
)
from convcost.models.report import require_arrangement
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_arg, parse_input
from convcost.workflows.diff import DiffOptions, diff_targets, parse_side


def diff_command(
    context: typer.Context,
    a: Annotated[
        str,
        typer.Argument(
            help="First model, as for convcost model; TARGET@REV is the target at a git revision.", metavar="A"
        ),
    ],
    b: Annotated[
        str | None,
        typer.Argument(
            help="Second model; differences are what it has more than the first. By default A without its revision.",
            metavar="[B]",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="Input of both models, such as 1x3x224x224; one for each input.", metavar="SHAPE"),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", help="Argument of both callables, as key=value; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    arg_a: Annotated[
        list[str] | None, typer.Option("--arg-a", help="Argument of the first callable alone.", metavar="KEY=VALUE")
    ] = None,
    arg_b: Annotated[
        list[str] | None, typer.Option("--arg-b", help="Argument of the second callable alone.", metavar="KEY=VALUE")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show the layers that are the same too.")] = False,
    sort: Annotated[
        str | None,
        typer.Option(help="Order of the rows, the largest difference first: macs, params, traffic or time."),
    ] = None,
    top: o.Top = None,
    cross_check: Annotated[
        bool, typer.Option(help="Cross-check both totals with torch's FlopCounterMode and fvcore.")
    ] = False,
    device: o.CountDevice = "auto",
    time: Annotated[
        bool, o.option(o.CLOCK, "Time both forward passes in turn, and each layer that differs alone.", "--time")
    ] = False,
    time_device: o.Device = "auto",
    threads: o.Threads = "1",
    allocator: o.Allocator = "pinned",
    time_budget: o.TimeBudget = 8.0,
    why: Annotated[
        bool,
        o.option(o.CLOCK, "Print where the time of each convolution that differs goes.", "--why"),
    ] = False,
    form: o.Format = o.OutputFormat.table,
    columns: Annotated[str | None, o.columns_option("change,macs_delta")] = None,
    export: o.Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> int:
    """Show two models side by side: which layers differ, in what, and what that costs.

    Example: convcost diff models.py:net@main --input 1x3x224x224
    """
    refuse_exports(export)
    fields = choose_columns(DIFF_COLUMNS, columns)
    require_arrangement(None, sort, top, timed=time)
    timing = timing_options(time_device, threads, allocator, time_budget, time=time, why=why)
    options = DiffOptions(tuple(map(parse_input, inputs or ())), cross_check, device, timing)
    common = dict(map(parse_arg, arg or ()))
    first = parse_side(a, common | dict(map(parse_arg, arg_a or ())))
    if b is None and first.revision is None and not (arg_a or arg_b):
        raise ConvcostError(f"B must be given, or a revision of A (={a}); write convcost diff A B, or {a}@HEAD.")
    second = parse_side(first.target if b is None else b, common | dict(map(parse_arg, arg_b or ())))
    with ProgressLine():
        code, result = last(diff_targets(first, second, options))
    with interrupts_held():
        order = sort if result.is_timed or sort != "time" else None
        shown = replace(result.arranged(every=every, sort=order, top=top), columns=fields)
        deliver(shown, form, export, latex=partial(shown.to_latex, caption, label))
        if why and form is o.OutputFormat.table:
            print_blocks(shown.below)
        say_remarks(shown)
        note_without_latex(context, form, export, result)
        if not time:
            note_unused(context, "nothing is timed without --time", panel=o.CLOCK)
        if only_json(form, export):
            note_unused(context, WHOLE_JSON, ("every", "sort", "top", "columns"))
    if code == INTERRUPTED:
        say(["interrupted: what was not obtained yet is left empty."], "note")
    return code or (0 if result.agrees else DISAGREES)

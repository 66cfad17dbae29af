"""The command `convcost diff`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from convcost.changes.columns import DIFF_COLUMNS
from convcost.cli import options as o
from convcost.cli.command import note_unused, note_without_latex
from convcost.cli.output import (
    DISAGREES,
    INTERRUPTED,
    WHOLE_JSON,
    deliver,
    last,
    only_json,
    refuse_exports,
    say,
    say_remarks,
)
from convcost.models.report import require_arrangement
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine
from convcost.text.columns import choose_columns
from convcost.text.sizes import parse_arg, parse_input
from convcost.workflows.diff import diff_targets, parse_side


def diff_command(
    context: typer.Context,
    a: Annotated[
        str,
        typer.Argument(
            help="First model, as for convcost model; TARGET@REV is the target at a git revision.", metavar="A"
        ),
    ],
    b: Annotated[
        str, typer.Argument(help="Second model; differences are what it has more than the first.", metavar="B")
    ],
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
    everything: Annotated[bool, typer.Option("--all", help="Show the layers that are the same too.")] = False,
    sort: Annotated[
        str | None,
        typer.Option(help="Order of the rows, the largest difference first: macs, params, traffic or time."),
    ] = None,
    top: Annotated[int | None, typer.Option(help="Maximum number of rows.")] = None,
    cross_check: Annotated[
        bool, typer.Option(help="Cross-check both totals with torch's FlopCounterMode and fvcore.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            help="Device of the count: meta allocates nothing; cpu runs models that depend on values; auto chooses."
        ),
    ] = "meta",
    form: o.Format = o.OutputFormat.table,
    columns: o.Columns = None,
    export: o.Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> int:
    """Show two models side by side: which layers differ, in what, and what that costs.

    Example: convcost diff models.py:net@main models.py:net --input 1x3x224x224
    """
    refuse_exports(export)
    fields = choose_columns(DIFF_COLUMNS, columns)
    require_arrangement(None, sort, top, timed=False)
    given, common = tuple(map(parse_input, inputs or ())), dict(map(parse_arg, arg or ()))
    sides = [parse_side(target, common | dict(map(parse_arg, own or ()))) for target, own in ((a, arg_a), (b, arg_b))]
    with ProgressLine():
        code, result = last(diff_targets(sides[0], sides[1], given, cross_check=cross_check, device=device))
    with interrupts_held():
        shown = replace(result.arranged(everything=everything, sort=sort, top=top), columns=fields)
        deliver(shown, form, export, latex=partial(shown.to_latex, caption, label))
        say_remarks(shown)
        note_without_latex(context, form, export)
        if only_json(form, export):
            note_unused(context, WHOLE_JSON, ("everything", "sort", "top", "columns"))
    if code == INTERRUPTED:
        say(["interrupted: what was not counted yet is left empty."], "note")
    return code or (0 if result.agrees else DISAGREES)

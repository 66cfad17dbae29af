"""The command `convcost sweep`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from convcost.cli import options as o
from convcost.cli.command import note_without_latex
from convcost.cli.output import deliver, refuse_exports, say, say_remarks
from convcost.system.signals import interrupts_held

if TYPE_CHECKING:
    from convcost.text.result import Result

KEPT: Final = "What is kept"
File: TypeAlias = Annotated[
    Path, typer.Argument(help="TOML file with the axes of the grid, its blocks and conditions.", metavar="FILE")
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the Parquet files; started again with the same file, the sweep goes on where it was.",
        metavar="DIR",
    ),
]


def sweep_command(
    context: typer.Context,
    file: File,
    out: Out = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many rows, how large and how long; write nothing.")
    ] = False,
    pareto: Annotated[
        str | None,
        o.option(KEPT, "Keep the rows that no other row beats in these columns, as macs,params.", metavar="COLUMNS"),
    ] = None,
    top: Annotated[int | None, o.option(KEPT, "Keep this number of rows, the best ones of --sort.")] = None,
    sort: Annotated[
        str | None,
        o.option(KEPT, "Column of --top; smaller costs and larger ratios are better.", metavar="COLUMN"),
    ] = None,
    group_by: Annotated[
        str | None,
        o.option(
            KEPT,
            "Keep those of each group, as block,k; alone: rows, least, mean and greatest of each group.",
            metavar="COLUMNS",
        ),
    ] = None,
    form: o.Format = o.OutputFormat.table,
    export: o.Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> int:
    """Predict a grid of layer shapes: every combination of sizes, parameters and blocks, to Parquet files.

    Example: convcost sweep grid.toml --out costs
    """
    refuse_exports(export)
    from convcost.workflows.sweep import SweepOptions, configuration_of, plan, require_few, sweep

    options = SweepOptions(out, _names(pareto), top, sort, _names(group_by))
    configuration = configuration_of(file)
    result: Result[Any]
    if dry_run:
        result = plan(configuration, options)
    else:
        texts = [] if form is o.OutputFormat.table else [f"format (={form})"]
        for what in (*texts, *(f"export (={path})" for path in export or ())):
            require_few(configuration, options, what)
        try:
            result = sweep(configuration, options)
        except KeyboardInterrupt:
            if out is not None:
                say([f"interrupted: what is written to {out} stays, and the same command goes on from there."], "note")
            raise
    with interrupts_held():
        deliver(result, form, export, latex=partial(result.to_latex, caption, label))
        say_remarks(result)
        note_without_latex(context, form, export, result)
    return 0


def _names(text: str | None) -> tuple[str, ...]:
    """The names in a text, separated by commas."""
    return tuple(filter(None, map(str.strip, (text or "").split(","))))

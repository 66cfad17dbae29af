"""The commands `convcost compare` and `convcost explain`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from convcost.cli import options as o
from convcost.cli.catalogue import list_blocks
from convcost.cli.command import note_unused, note_without_latex
from convcost.cli.output import (
    DISAGREES,
    INTERRUPTED,
    WHOLE_JSON,
    complain,
    deliver,
    only_json,
    print_blocks,
    refuse_exports,
    say,
    say_remarks,
    write_out,
)
from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.comparison.request import Request, catalogue, each_condition
from convcost.system.signals import interrupts_held
from convcost.system.terminal import is_terminal, terminal_width
from convcost.text.columns import choose_columns
from convcost.text.sizes import parse_threads
from convcost.timing.conditions import TimingOptions
from convcost.workflows.compare import fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.cli.progress import LiveTable
    from convcost.comparison.result import Comparison
    from convcost.comparison.rows import Row
    from convcost.text.columns import Column
    from convcost.workflows.compare import Watch


class ExplainFormat(StrEnum):
    """Formats of `convcost explain`."""

    table = "table"
    json = "json"
    markdown = "markdown"
    latex = "latex"


class Dialect(StrEnum):
    """Dialects of the programs that `convcost explain` writes."""

    torch = "torch"
    keras = "keras"
    onednn = "onednn"


def _list_blocks(wanted: bool) -> None:
    if wanted:
        write_out(f"{list_blocks()}\n")
        raise typer.Exit


class _Latest:
    """Keeps the latest partial result, so that an interrupt loses nothing, and passes it on to a view.

    Args:
        show: View of partial results; None without one.
    """

    def __init__(self, show: Watch | None) -> None:
        self.result: Comparison | None = None
        self._show = show

    def __call__(self, comparison: Comparison, waiting: Sequence[str], line: str) -> None:
        self.result = comparison
        if self._show is not None:
            self._show(comparison, waiting, line)


def compare_command(
    context: typer.Context,
    layer: o.LayerOptions,
    block: Annotated[
        list[str] | None,
        typer.Option("--block", help="Block of the catalogue, or all; may be repeated.", metavar="NAME"),
    ] = None,
    _list: Annotated[
        bool,
        typer.Option(
            "--list-blocks",
            callback=_list_blocks,
            is_eager=True,
            help="List the blocks of the catalogue with formulas and papers.",
        ),
    ] = False,
    baseline: o.Baseline = "standard",
    count: Annotated[
        bool, typer.Option(help="Cross-check the formulas with fvcore and torch's FlopCounterMode.")
    ] = True,
    time: Annotated[bool, o.option(o.CLOCK, "Time the real torch layers.")] = True,
    device: Annotated[
        list[str] | None, o.option(o.CLOCK, "Device to time on: cpu, cuda, cuda:1, mps or auto; may be repeated.")
    ] = None,
    dtype: Annotated[
        list[str] | None,
        o.option(
            o.CLOCK, "Data type: float32 (default), float64, bfloat16 or float16; may be repeated.", metavar="DTYPE"
        ),
    ] = None,
    memory_format: Annotated[
        list[str] | None,
        o.option(o.CLOCK, "Memory format: contiguous (default) or channels_last; may be repeated.", metavar="FORMAT"),
    ] = None,
    compile: Annotated[  # noqa: A002 - the parameter has the name of its option
        bool,
        typer.Option(
            "--compile",
            help="Time modules compiled by torch.compile; compiling is not part of the time budget.",
            rich_help_panel=o.CLOCK,
        ),
    ] = False,
    threads: Annotated[
        list[str] | None,
        o.option(
            o.CLOCK, "Threads of torch on the CPU, a number (default: 1) or all; may be repeated.", metavar="N|all"
        ),
    ] = None,
    allocator: o.Allocator = "pinned",
    time_budget: o.TimeBudget = 8.0,
    store: o.Store = True,
    reuse: Annotated[
        bool,
        o.option(
            o.CLOCK,
            "Show a stored run with equal layers, conditions, machine and versions instead of measuring.",
            "--reuse",
        ),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print each block's formula under the table, in symbols and with numbers.")
    ] = False,
    why: Annotated[
        bool,
        typer.Option(
            "--why", help="Print under the table where the time of each row goes, and what would make it faster."
        ),
    ] = False,
    roofline: Annotated[
        bool,
        typer.Option(
            "--roofline", help="Draw a roofline of the timed rows under the table; requires convcost calibrate."
        ),
    ] = False,
    form: o.Format = o.OutputFormat.table,
    columns: Annotated[str | None, o.columns_option("block,macs,speedup")] = None,
    sort: Annotated[
        str | None,
        o.option(o.OUTPUT, "Field of a row in whose ascending order the rows are, as time_s.", metavar="COLUMN"),
    ] = None,
    export: o.Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> int:
    """Compare the blocks of the catalogue on one layer shape: predicted, counted and timed.

    Example: convcost compare --c 3 --o 64 --k 3
    """
    refuse_exports(export)
    fields = choose_columns(COMPARE_COLUMNS, columns)
    shared = TimingOptions(
        tuple(device or ("auto",)), allocator=allocator, time_budget=time_budget, compiled=compile, store=store, why=why
    )
    numbers = [parse_threads(text) for text in threads or ["1"]]
    timings = each_condition(shared, dtype or ["float32"], memory_format or ["contiguous"], numbers)
    request = Request(*layer, catalogue(block), baseline, timings, count, time, reuse, roofline, sort)
    live = _live_view(form, fields, measures=count or time)
    latest = _Latest(live)
    with live or nullcontext():
        try:
            result = fill(request, latest)
            code = 0 if result.agrees else DISAGREES
        except KeyboardInterrupt:
            if latest.result is None:
                raise
            result, code = latest.result, INTERRUPTED
    shown = live is not None and live.on_stdout
    with interrupts_held():
        chosen = replace(result, columns=fields, has_explanations=explain)
        deliver(chosen, form, export, table_shown=shown, latex=partial(chosen.to_latex, caption, label))
        _print_below(result, form, explain=explain, why=why, roofline=roofline)
        say_remarks(result)
        if not time:
            note_unused(context, "nothing is to be timed", ("store",), panel=o.CLOCK)
        if form is not o.OutputFormat.table:
            note_unused(context, "it is drawn under the table only", ("roofline",))
        note_without_latex(context, form, export, result)
        if only_json(form, export):
            note_unused(context, WHOLE_JSON, ("columns",))
    if code == INTERRUPTED:
        say(["interrupted: what was not measured yet is left empty."], "note")
    return code


def _print_below(result: Comparison, form: o.OutputFormat, *, explain: bool, why: bool, roofline: bool) -> None:
    """Print the requested texts under the table; machine-readable formats have accounts and roofs in their fields."""
    is_table = form is o.OutputFormat.table
    if explain:
        width = terminal_width() if is_table and is_terminal(sys.stdout) else None
        for one in result.explanations:
            if form in {o.OutputFormat.csv, o.OutputFormat.json}:
                list(map(complain, ("", *one.text(width).splitlines())))
            else:
                text = {o.OutputFormat.latex: one.latex, o.OutputFormat.markdown: one.markdown}.get(form)
                write_out(f"\n{one.text(width) if text is None else text()}")
    if why and is_table:
        print_blocks(result.below)
    if roofline and is_table:
        for plot in result.rooflines(terminal_width() if is_terminal(sys.stdout) else 80):
            write_out(f"\n{plot}\n")


def _live_view(form: o.OutputFormat, fields: Sequence[Column[Row]], *, measures: bool) -> LiveTable | None:
    """A live table if stdout is a terminal, a line of progress if only stderr is one; None for neither.

    Without counting and timing there is no view either: the table is printed once.
    """
    on_stdout = form is o.OutputFormat.table and is_terminal(sys.stdout)
    if not measures or not (on_stdout or is_terminal(sys.stderr)):
        return None
    from convcost.cli.progress import LiveTable

    return LiveTable(fields, on_stdout=on_stdout)


def explain_command(
    context: typer.Context,
    block: Annotated[
        list[str], typer.Argument(help="Blocks of the catalogue, or all.", metavar="BLOCK...", show_default=False)
    ],
    layer: o.LayerOptions,
    baseline: o.Baseline = "standard",
    form: Annotated[ExplainFormat, typer.Option("--format", help="Format of stdout.")] = ExplainFormat.table,
    emit: o.Emit = None,
    emit_as: Annotated[
        Dialect | None, typer.Option(help="Dialect of the program; Keras has to be named.", show_default=False)
    ] = None,
) -> None:
    """Print the derivation of a block's cost: its formula in symbols, then with numbers, beside the baseline's.

    Example: convcost explain depthwise-separable --c 3 --o 64 --k 3
    """
    from convcost.comparison.explanation import explain_blocks
    from convcost.programs.dialect import WRITTEN, dialects_by_suffix
    from convcost.system.whole_files import require_own, require_writable, write_text

    dialects = dialects_by_suffix(emit_as)
    if emit is None:
        note_unused(context, "no program is to be written", ("emit_as",))
    else:
        require_writable(emit, dialects, "emit")
        require_own(emit, WRITTEN, "emit")
    names = catalogue(block)
    several = explain_blocks(Request(*layer, names, baseline))
    result = several if len(names) > 1 else replace(several.blocks[0], notes=several.notes)
    if emit is not None:
        write_text(emit, result.program(dialects[emit.suffix.lower()]), "emit")
        say([f"{emit}: written"], "note")
    if form is ExplainFormat.table:
        write_out(result.text(terminal_width() if is_terminal(sys.stdout) else None))
    elif form is ExplainFormat.json:
        from convcost.text.export import json_text

        write_out(json_text(result.to_dict()))
    else:
        write_out(result.latex() if form is ExplainFormat.latex else result.markdown())
    say_remarks(result)

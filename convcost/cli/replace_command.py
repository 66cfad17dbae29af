"""The command `convcost replace`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from convcost.changes.pareto import parse_limits
from convcost.changes.rank_choice import rank_choice
from convcost.changes.replace_columns import REPLACE_COLUMNS
from convcost.changes.replace_report import require_arrangement
from convcost.changes.replacement import MIN_KERNEL, Rules
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
from convcost.programs.dialect import WRITTEN
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine
from convcost.system.whole_files import require_own, require_writable, write_text
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError, as_text
from convcost.text.quantities import parse_percent
from convcost.text.sizes import parse_arg, parse_input
from convcost.workflows.diff import parse_side
from convcost.workflows.replace import replace_in_target
from convcost.workflows.replacement_timing import ReplacementTiming

RULES = "Which layers, and by what"
KEEP = "Weights that are kept"


def replace_command(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            help="package.module:callable, file.py:callable, FILE.toml, network:NAME, torchvision:NAME, timm:NAME or "
            "FILE.pt2; TARGET@REV for one at a git revision. The code of a Python target is run.",
            metavar="TARGET",
        ),
    ],
    to: Annotated[
        list[str] | None,
        o.option(
            RULES, "Block in the layers' place; may be repeated, in order of preference.", "--to", metavar="BLOCK"
        ),
    ] = None,
    origin: Annotated[
        str,
        o.option(RULES, "Kind of convolution that is replaced: standard, grouped, depthwise, pointwise.", "--from"),
    ] = "standard",
    only: Annotated[
        str | None,
        o.option(RULES, "Regular expression; only layers whose path it matches.", "--only", metavar="REGEX"),
    ] = None,
    skip: Annotated[
        str | None, o.option(RULES, "Regular expression; no layers whose path it matches.", "--skip", metavar="REGEX")
    ] = None,
    min_kernel: Annotated[int, o.option(RULES, "Smallest kernel, on its longer side, that is replaced.")] = MIN_KERNEL,
    min_saving: Annotated[
        str | None,
        o.option(RULES, "Smallest share of a layer's MACs that a block must save, as 20%.", metavar="PERCENT"),
    ] = None,
    between: Annotated[
        bool,
        o.option(RULES, "Put the normalisation and activation that follow a layer between the block's stages too."),
    ] = True,
    keep_weights: Annotated[
        bool,
        o.option(
            KEEP,
            "Factorise the weights instead of making new ones; --rank is then that of each layer.",
            "--keep-weights",
        ),
    ] = False,
    energy: Annotated[
        str | None,
        o.option(
            KEEP, "Smallest share of the squared singular values that a layer keeps; by default 0.99.", metavar="SHARE"
        ),
    ] = None,
    max_error: Annotated[
        str | None, o.option(KEEP, "Largest relative error of a layer's weights, as 5%.", metavar="PERCENT")
    ] = None,
    *,
    given: o.Given,
    inputs: o.Inputs = None,
    arg: o.CallableArguments = None,
    every: Annotated[bool, typer.Option("--all", help="Show the layers that stay as they are too.")] = False,
    sort: Annotated[
        str | None, typer.Option(help="Order of the rows, largest saving first: macs, params or time.")
    ] = None,
    top: o.Top = None,
    cross_check: Annotated[
        bool, typer.Option(help="Cross-check the altered model's total with torch's FlopCounterMode and fvcore.")
    ] = True,
    device: o.CountDevice = "auto",
    time: Annotated[
        bool, o.option(o.CLOCK, "Time the model beside its altered copy, and each layer beside its block.", "--time")
    ] = False,
    time_device: o.Device = "auto",
    threads: o.Threads = "1",
    allocator: o.Allocator = "pinned",
    time_budget: o.TimeBudget = 8.0,
    why: Annotated[
        bool,
        o.option(o.CLOCK, "Print where the time of each layer and of each stage of its block goes.", "--why"),
    ] = False,
    pareto: Annotated[
        bool, o.option(o.CLOCK, "Look for the fastest set of replacements, from the time of each alone.", "--pareto")
    ] = False,
    max_params: Annotated[
        str | None, o.option(o.CLOCK, "Limit on the parameters of the fastest set, such as 4.3M.")
    ] = None,
    max_macs: Annotated[str | None, o.option(o.CLOCK, "Limit on its multiply-accumulates, such as 580M.")] = None,
    form: o.Format = o.OutputFormat.table,
    columns: Annotated[str | None, o.columns_option("name,macs_ratio")] = None,
    export: o.Export = None,
    emit: o.EmitModel = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> int:
    """Replace the convolutions of a model by a block of the catalogue, and count what that saves.

    Example: convcost replace network:mobilenet_v1_full --to depthwise-separable
    """
    refuse_exports(export)
    if emit is not None:
        require_writable(emit, (".py",), "emit")
        require_own(emit, WRITTEN, "emit")
        if emit.resolve() == Path(parse_side(target, {}).file).resolve():
            raise ConvcostError(f"emit (={emit}) must not be the file of target (={target}); give it another name.")
    fields = choose_columns(REPLACE_COLUMNS, columns)
    require_arrangement(sort, top, timed=time)
    limits = parse_limits(max_params, max_macs, pareto=pareto)
    options = timing_options(time_device, threads, allocator, time_budget, time=time, why=why)
    if pareto and not time:
        raise ConvcostError("--pareto must have times to weigh; add --time.")
    keep, parameters = rank_choice(
        given, keep_weights=keep_weights, energy=_share("energy", energy), max_error=_share("max_error", max_error)
    )
    rules = Rules(tuple(to or ()), origin, only, skip, min_kernel, _saving(min_saving), between, parameters, keep)
    with ProgressLine() as progress:
        steps = replace_in_target(
            target, tuple(map(parse_input, inputs or ())), dict(map(parse_arg, arg or ())), rules,
            cross_check=cross_check, device=device,
            timing=None if options is None else ReplacementTiming(options, limits, progress),
        )  # fmt: skip
        code, result = last(steps)
    with interrupts_held():
        order = sort if result.is_timed or sort != "time" else None
        shown = replace(result.arranged(every=every, sort=order, top=top), columns=fields)
        writes = [] if emit is None else [partial(write_text, emit, result.program(), "emit")]
        deliver(shown, form, export, latex=partial(shown.to_latex, caption, label), writes=writes)
        if why and form is o.OutputFormat.table:
            print_blocks(shown.below)
        say_remarks(result)
        note_without_latex(context, form, export, result)
        if not time:
            note_unused(context, "nothing is timed without --time", panel=o.CLOCK)
        if emit is not None:
            kept = "" if keep is None else "; convcost.replace returns the model with the kept ones"
            say(
                [f"{emit}: written; its function alter puts the blocks into your model, with new weights{kept}."],
                "note",
            )
        if only_json(form, export):
            note_unused(context, WHOLE_JSON, ("every", "sort", "top", "columns"))
    if code == INTERRUPTED:
        say(["interrupted: what was not measured yet is left empty."], "note")
    return code or (0 if result.agrees else DISAGREES)


def _saving(text: str | None) -> float | None:
    """A percentage as a share."""
    try:
        return None if text is None else parse_percent(text)
    except ConvcostError as error:
        raise ConvcostError(f"min_saving {error}") from error


def _share(name: str, text: str | None) -> float | None:
    """A share, as 0.99 or 99%."""
    if text is None:
        return None
    try:
        return parse_percent(text) if text.endswith("%") else float(text)
    except ValueError as error:
        raise ConvcostError(f"{name} (={as_text(text)}) must be a share; write it as 0.05 or 5%.") from error

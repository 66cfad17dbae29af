"""The command `convcost model`."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from convcost.cli import options as o
from convcost.cli.clock import timing_options
from convcost.cli.command import note_unused, note_without_latex
from convcost.cli.output import (
    DISAGREES,
    INTERRUPTED,
    WHOLE_JSON,
    WRONG,
    deliver,
    last,
    only_json,
    print_blocks,
    refuse_exports,
    say,
    say_remarks,
    write_out,
)
from convcost.models.claim import parse_claim
from convcost.models.columns import MODEL_COLUMNS
from convcost.models.model_table import MODELS_COLUMNS, ModelTable
from convcost.models.report import ModelReport, require_arrangement
from convcost.system.signals import interrupts_held
from convcost.system.terminal import ProgressLine, is_terminal, show_progress, terminal_width
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_arg, parse_input
from convcost.workflows.claims import answer_for_target
from convcost.workflows.model import count_target, time_target
from convcost.workflows.model_table import count_targets, time_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.text.sizes import Input
    from convcost.timing.conditions import TimingOptions


def model_command(
    context: typer.Context,
    targets: Annotated[
        list[str],
        typer.Argument(
            help="package.module:callable, file.py:callable, FILE.toml, network:NAME, torchvision:NAME, timm:NAME or "
            "FILE.pt2. The code of a Python target is run. Several targets are compared, one row each.",
            metavar="TARGET...",
        ),
    ],
    inputs: o.Inputs = None,
    arg: o.CallableArguments = None,
    depth: Annotated[int | None, typer.Option(help="Depth below which the rows of modules are added up.")] = None,
    sort: Annotated[
        str | None, typer.Option(help="Order of the rows, largest first: macs, params, traffic or time.")
    ] = None,
    top: o.Top = None,
    cross_check: Annotated[
        bool, typer.Option(help="Cross-check the total with torch's FlopCounterMode and fvcore.")
    ] = True,
    device: o.CountDevice = "meta",
    claim: Annotated[
        list[str] | None,
        typer.Option(
            "--claim",
            help="Published number of operations, as 4.5G: say which convention of counting gives it; may be repeated.",
            metavar="COUNT",
        ),
    ] = None,
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
    columns: Annotated[str | None, o.columns_option("params,macs")] = None,
    export: o.Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> int:
    """Count a whole torch model, layer by layer, and list the operations that were not counted.

    Example: convcost model network:mobilenet_v1
    """
    refuse_exports(export)
    is_one = len(targets) == 1
    arranged = _Arrangement(depth, sort, top, columns, is_one=is_one)
    require_arrangement(depth, sort, top, timed=time)
    if why and time and not is_one:
        raise ConvcostError("--why must have the layers of one model to account for; give one TARGET.")
    options = timing_options(time_device, threads, allocator, time_budget, time=time, why=why, store=store)
    claims = [text for text in claim or () if parse_claim(text)]
    given, args = tuple(map(parse_input, inputs or ())), dict(map(parse_arg, arg or ()))
    request = _Request(given, args, cross_check, device, claims, options)
    is_early = is_one and cross_check and not time and form is o.OutputFormat.table and is_terminal(sys.stdout)
    early_lines: list[str] = []

    def show_early(counted: ModelReport) -> None:
        show_progress("")
        early = arranged(replace(counted, cross_check={}))
        early_lines.extend(early.verdicts)
        write_out(early.text(terminal_width()))

    with ProgressLine() as progress:
        measured: Iterator[ModelReport | ModelTable] = (
            _one(targets[0], request, progress, show_early if is_early else None)
            if is_one
            else _several(targets, request, progress)
        )
        code, result = last(measured)
    with interrupts_held():
        shown = arranged(result)
        latex = partial(shown.to_latex, caption, label)
        deliver(shown, form, export, table_shown=bool(early_lines), lines_shown=len(early_lines), latex=latex)
        if why and form is o.OutputFormat.table:
            print_blocks(shown.below)
        say_remarks(result)
        _note_unused(context, time=time, is_one=is_one, only_json=only_json(form, export))
        note_without_latex(context, form, export, result)
    if code == INTERRUPTED:
        say(["interrupted: what was not measured yet is left empty."], "note")
    elif isinstance(result, ModelTable) and result.failures:
        code = WRONG
    return code or (0 if result.agrees else DISAGREES)


class _Arrangement:
    """The rows and columns that are shown of a result.

    Args:
        depth: Depth below which the rows of modules are added up.
        sort: Order of the rows.
        top: Maximum number of rows.
        columns: Names of the columns; None for all.
        is_one: Whether there is one target.

    Raises:
        ConvcostError: There is no such column.
    """

    def __init__(
        self, depth: int | None, sort: str | None, top: int | None, columns: str | None, *, is_one: bool
    ) -> None:
        self._layers = choose_columns(MODEL_COLUMNS, columns if is_one else None)
        self._models = choose_columns(MODELS_COLUMNS, None if is_one else columns)
        self._depth, self._sort, self._top = depth, sort, top

    def __call__(self, result: ModelReport | ModelTable) -> ModelReport | ModelTable:
        """The arranged result; one that was not timed, since it was interrupted, keeps its order."""
        sort = None if self._sort == "time" and not result.is_timed else self._sort
        if isinstance(result, ModelTable):
            return replace(result.arranged(sort=sort, top=self._top), columns=self._models)
        return replace(result.arranged(depth=self._depth, sort=sort, top=self._top), columns=self._layers)


class _Request(NamedTuple):
    """What is to be counted and timed."""

    inputs: tuple[Input, ...]
    args: dict[str, object]
    cross_check: bool
    device: str
    claims: list[str]
    options: TimingOptions | None


def _one(
    target: str,
    request: _Request,
    progress: Callable[[str], None],
    show_early: Callable[[ModelReport], None] | None,
) -> Iterator[ModelReport]:
    """The report of one target after each step."""
    inputs, args, cross_check, device, claims, options = request
    for counted in count_target(target, inputs, args, cross_check=cross_check, device=device):
        if show_early is not None:  # before the other counters run
            show_early(counted)
            show_early = None
        yield counted
    if claims:
        counted = answer_for_target(counted, args, claims)
        yield counted
    if options is not None:
        yield from time_target(counted, inputs, args, options, progress)


def _several(targets: list[str], request: _Request, progress: Callable[[str], None]) -> Iterator[ModelTable]:
    """The table of several targets after each of them, and with their times."""
    inputs, args, cross_check, device, claims, options = request
    for table in count_targets(targets, inputs, args, cross_check=cross_check, device=device, claims=claims):
        yield table
    if options is not None:
        yield time_targets(table, inputs, args, options, progress)


def _note_unused(context: typer.Context, *, time: bool, is_one: bool, only_json: bool) -> None:
    """Note the options that have no effect without times, in JSON, or on a table of models."""
    if not time:
        note_unused(context, "nothing is timed without --time", ("store",), panel=o.CLOCK)
    if only_json:
        note_unused(context, WHOLE_JSON, ("depth", "sort", "top", "columns"))
    elif not is_one:
        note_unused(context, "the rows are whole models", ("depth",))

"""The commands `convcost check` and `convcost config`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convcost.budgets.columns import CHECK_COLUMNS
from convcost.budgets.limits import Budget, limits_from
from convcost.cli import options as o
from convcost.cli.command import note_unused, note_without_latex
from convcost.cli.output import (
    INTERRUPTED,
    OVER_BUDGET,
    UNDECIDED,
    WHOLE_JSON,
    WRONG,
    deliver,
    deliver_text,
    only_json,
    refuse_exports,
    say,
    say_remarks,
    write_out,
)
from convcost.system.signals import interrupts_held
from convcost.system.terminal import is_terminal
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_arg, parse_input
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.budgets.result import CheckResult


CONFIG = "Configuration and baseline"
QUICK = "Without a file"


class CheckFormat(StrEnum):
    """Formats of stdout."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    latex = "latex"
    github = "github"


def _maximum(what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=f"Limit on the {what}.", rich_help_panel=QUICK)
    return option


def check_command(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(help="Model to check without a configuration, as for convcost model.", metavar="[TARGET]"),
    ] = None,
    config: Annotated[
        Path | None, o.option(CONFIG, "Configuration; by default the nearest convcost.toml or [tool.convcost].")
    ] = None,
    only: Annotated[
        list[str] | None, o.option(CONFIG, "Check only this budget; may be repeated.", metavar="NAME")
    ] = None,
    base: Annotated[
        str | None,
        o.option(CONFIG, "Git revision to compare with; growth that convcost.lock holds passes.", metavar="REV"),
    ] = None,
    update: Annotated[
        bool, o.option(CONFIG, "Accept the current figures: write them to convcost.lock.", "--update")
    ] = False,
    init: Annotated[
        bool,
        o.option(
            CONFIG, "Write a configuration for TARGET: limits 10 % above the current figures, and on growth.", "--init"
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Fail on undecided limits and on improvements that are not in the lock; count with other inputs too.",
        ),
    ] = False,
    inputs: Annotated[
        list[str] | None,
        o.option(QUICK, "Input of TARGET, such as 1x3x224x224; one for each input.", "--input", metavar="SHAPE"),
    ] = None,
    arg: Annotated[
        list[str] | None,
        o.option(QUICK, "Argument of TARGET's callable, as key=value; may be repeated.", "--arg", metavar="KEY=VALUE"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Device of the count, in place of the budgets' own: meta, cpu or auto."),
    ] = None,
    max_params: Annotated[str | None, _maximum("number of parameters, such as 4.3M")] = None,
    max_macs: Annotated[str | None, _maximum("multiply-accumulates, such as 580M")] = None,
    max_flops: Annotated[str | None, _maximum("FLOPs (2 per MAC), such as 1.2G")] = None,
    max_weight_bytes: Annotated[str | None, _maximum("size of the parameters, such as 17MB")] = None,
    max_peak_activation_bytes: Annotated[str | None, _maximum("peak size of the activations, such as 10MB")] = None,
    max_latency: Annotated[str | None, _maximum("time of the forward pass on this machine, such as 60ms")] = None,
    time_budget: Annotated[
        float, typer.Option(help="Seconds for the timing of each budget that limits latency.")
    ] = 8.0,
    store: o.Store = True,
    form: Annotated[CheckFormat, typer.Option("--format", help="Format of stdout.")] = CheckFormat.table,
    columns: Annotated[str | None, o.columns_option("budget,metric,actual")] = None,
    export: o.Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
    junit: Annotated[Path | None, typer.Option(help="Also write the verdicts as JUnit XML.", metavar="FILE")] = None,
) -> int:
    """Check models against their budgets of parameters, MACs, memory and latency, and explain why they grew.

    Example: convcost check network:mobilenet_v1 --max-params 4.3M --max-macs 580M
    """
    from convcost.budgets.config_files import load_configuration
    from convcost.budgets.configuration import Configuration
    from convcost.workflows.check import CheckOptions, LockNotWrittenError, check_configuration, choose_budgets

    refuse_exports(export)
    if junit is not None:
        from convcost.system.whole_files import require_writable

        require_writable(junit, what="junit")
    fields = choose_columns(CHECK_COLUMNS, columns)
    maxima = {
        "params": max_params,
        "macs": max_macs,
        "flops": max_flops,
        "weight_bytes": max_weight_bytes,
        "peak_activation_bytes": max_peak_activation_bytes,
        "latency": max_latency,
    }
    _refuse_mixtures(
        target=target is not None,
        filed=bool(config or only) and not init,
        update=update,
        init=init,
        based=base is not None,
        judging=bool(only or strict or columns or export or junit or form is not CheckFormat.table),
        limited=any(text is not None for text in maxima.values()) or bool(target is None and (inputs or arg)),
    )
    progress = _note if is_terminal(sys.stderr) else (lambda _: None)
    options = CheckOptions(base, strict, update, time_budget, progress, store, device)
    with _reported_refusals(form):
        if target is not None:
            given, args = tuple(map(parse_input, inputs or ())), dict(map(parse_arg, arg or ()))
            budget = Budget(_name(target), target, Path.cwd(), args, given)
            if init:
                note_unused(context, "nothing is to be timed", ("time_budget", "store"))
                return _init(replace(budget, device=device or budget.device), config)
            configuration = Configuration("", Path.cwd(), (replace(budget, limits=limits_from(maxima)),))
        else:
            configuration = choose_budgets(load_configuration(config), only or ())
        try:
            (result, moved), unwritten = check_configuration(configuration, options), None
        except LockNotWrittenError as error:
            result, moved, unwritten = error.result, (), error
    with interrupts_held():
        try:
            shown = replace(result, columns=fields)
            _deliver(shown, form, export, junit, partial(shown.to_latex, caption, label))
        finally:
            if unwritten is not None:
                say([str(unwritten)], "error")
        if not any(limit.metric == "latency" for budget in configuration.budgets for limit in budget.limits):
            note_unused(context, "no budget limits latency", ("time_budget", "store"))
        note_without_latex(context, form, export, result)
        if form is CheckFormat.json and only_json(o.OutputFormat.json, export):
            note_unused(context, WHOLE_JSON, ("columns",))
        if update and unwritten is None:
            change = f"{', '.join(moved)} written" if moved else "no figure changed"
            _note(f"convcost.lock: {change}")
    return _code(result) if unwritten is None else WRONG


def _refuse_mixtures(
    *, target: bool, filed: bool, update: bool, init: bool, based: bool, judging: bool, limited: bool
) -> None:
    """Refuse options that exclude each other."""
    rules = (
        (init and not target, "--init must come with a TARGET to count; write convcost check --init TARGET."),
        (
            init and (limited or update or based),
            "--init takes its limits from the current figures; leave the others out.",
        ),
        (
            init and judging,
            (
                "--init writes a file and judges nothing; leave out --only, --strict, --format, --columns, --export "
                "and --junit."
            ),
        ),
        (update and based, "--update and --base exclude each other: the lock holds the figures of this revision."),
        (
            target and not init and (filed or update),
            "TARGET and --config, --only, --update exclude each other: a target alone has no file and no lock.",
        ),
        (
            target and not init and not limited,
            (
                "TARGET must come with a limit; give --max-params, --max-macs, --max-flops, --max-weight-bytes, "
                "--max-peak-activation-bytes or --max-latency."
            ),
        ),
        (not target and limited, "--input, --arg and --max-... must come with a TARGET; a configuration has its own."),
    )
    for broken, message in rules:
        if broken:
            raise ConvcostError(message)


def _name(target: str) -> str:
    """The name of the budget for a target: its callable, or its file."""
    last = target.rpartition(":")[2]
    return Path(last).stem if last.endswith((".toml", ".pt2")) else last.rpartition(".")[2]


def _init(budget: Budget, config: Path | None) -> int:
    from convcost.budgets.config_files import first_path, relative_target, write_first
    from convcost.workflows.budget_process import count_budget

    path = first_path(config)
    folder = path.resolve().parent
    budget = replace(budget, folder=folder, target=relative_target(budget.target, folder))
    report = count_budget(budget).report
    write_first(path, replace(budget, inputs=tuple(map(parse_input, report.inputs))), report.totals)
    say(
        [f"{path}: written with limits 10 % above the current figures; convcost check --update writes the lock."],
        "note",
    )
    calls = [f"{one.op}, {number_of('call', one.calls)}" for one in report.uncounted]
    say([f"not counted: {one}: MACs are a lower bound" for one in calls], "note")
    return 0


@contextmanager
def _reported_refusals(form: CheckFormat) -> Iterator[None]:
    """Report an error that prevents the check in the pull request too: as annotations, and in the job's summary."""
    try:
        yield
    except ConvcostError as error:
        from convcost.budgets.reports import refusal_commands, refusal_markdown, write_summary

        if problem := write_summary(refusal_markdown(error.lines)):
            say([problem], "warning")
        if form is CheckFormat.github:
            write_out("".join(f"{line}\n" for line in refusal_commands(error)), commands=True)
        raise


def _deliver(
    result: CheckResult, form: CheckFormat, export: list[Path] | None, junit: Path | None, latex: Callable[[], str]
) -> None:
    """Write a result: files and the job's summary first, then stdout, then the notes."""
    from convcost.budgets.reports import check_markdown, workflow_commands, write_junit, write_summary
    from convcost.system.whole_files import write_whole

    writes = [] if junit is None else [partial(write_whole, junit, lambda path: write_junit(path, result), "junit")]
    problem = write_summary(check_markdown(result))
    try:
        if form is CheckFormat.github:
            lines = "".join(f"{line}\n" for line in workflow_commands(result))
            deliver_text(lines, result, export, writes=writes, latex=latex, commands=True)
        elif form is CheckFormat.markdown:
            deliver_text(check_markdown(result), result, export, writes=writes, latex=latex)
        else:
            deliver(result, o.OutputFormat(form.value), export, writes=writes, latex=latex)
    finally:  # a file that could not be written costs no note
        say_remarks(result)
        if problem is not None:
            say([problem], "warning")


def _note(line: str) -> None:
    say([line], "note")


def _code(result: CheckResult) -> int:
    if result.interrupted:
        return INTERRUPTED
    if result.errors:
        return WRONG
    if result.verdict == "fail":
        return OVER_BUDGET
    return 0 if result.passed else UNDECIDED


class Action(StrEnum):
    """Outputs of `convcost config`."""

    schema = "schema"
    show = "show"


def config_command(
    context: typer.Context,
    action: Annotated[
        Action,
        typer.Argument(
            help="schema: the JSON Schema of convcost.toml; show: the configuration with all defaults.",
            metavar="schema|show",
        ),
    ],
    config: Annotated[
        Path | None, typer.Option(help="Configuration; by default the nearest convcost.toml or [tool.convcost].")
    ] = None,
) -> int:
    """Print the JSON Schema of the configuration, or the configuration with all its defaults, as JSON.

    Example: convcost config schema
    """
    from convcost.budgets.config_files import load_configuration
    from convcost.budgets.configuration import effective, schema
    from convcost.text.export import json_text

    write_out(json_text(schema() if action is Action.schema else effective(load_configuration(config))))
    if action is Action.schema:
        note_unused(context, "the schema is that of every configuration", ("config",))
    return 0

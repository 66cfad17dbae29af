"""The command `convcost sweep`."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from convcost.cli import options as o
from convcost.cli.command import note_unused, note_without_latex
from convcost.cli.output import INTERRUPTED, deliver, last, refuse_exports, say, say_remarks
from convcost.system.signals import interrupts_held
from convcost.system.whole_files import require_writable, write_text
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_threads
from convcost.timing.conditions import TimingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.text.result import Result

KEPT: Final = "What is kept"
GOES_ON: Final = "interrupted: what is written to {} stays, and the same command goes on from there."
LEFT_OUT: Final = "interrupted: the rows that were not timed yet are left out."
NOTHING_YET: Final = "interrupted before the first row was timed; the same command begins again."
LATENCY_SUFFIXES: Final = frozenset({".yaml", ".yml"})
"""The suffixes of a latency table."""
CLUSTER: Final = "Where it runs"
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
Export: TypeAlias = Annotated[
    list[Path] | None,
    o.option(
        o.OUTPUT,
        "Also write a file: .csv .json .md .tex .parquet .xlsx, with convcost[report] .html .svg .png, or with --time "
        ".yaml: the latency table that ProxylessNAS and once-for-all read; may be repeated.",
        "--export",
        metavar="FILE",
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
    time: Annotated[
        bool, o.option(o.CLOCK, "Time the real layers, each next to its baseline, instead of predicting all.", "--time")
    ] = False,
    device: o.Device = "auto",
    threads: o.Threads = "1",
    memory_format: o.MemoryFormat = "contiguous",
    allocator: o.Allocator = "pinned",
    time_budget: Annotated[
        float,
        o.option(
            o.CLOCK,
            "Seconds for the whole sweep, all runs of a folder together; a larger grid is timed in a sample that fills "
            "its space.",
        ),
    ] = 60.0,
    store: o.Store = True,
    workers: Annotated[
        int | None, o.option(CLUSTER, "Number of worker processes on this machine, with Dask; this process by default.")
    ] = None,
    scheduler: Annotated[
        str | None,
        o.option(
            CLUSTER,
            "Scheduler of a Dask cluster, as tcp://10.0.0.1:8786, whose workers share the folder.",
            metavar="ADDRESS",
        ),
    ] = None,
    form: o.Format = o.OutputFormat.table,
    export: Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> int:
    """Predict a grid of layer shapes: every combination of sizes, parameters and blocks, to Parquet files; or time it.

    Example: convcost sweep grid.toml --out costs
    """
    tables = [path for path in export or () if path.suffix.lower() in LATENCY_SUFFIXES]
    others = [path for path in export or () if path not in tables]
    is_summary = group_by is not None and pareto is None and top is None
    _refuse_latency_tables(tables, time=time and not dry_run, is_summary=is_summary)
    refuse_exports(others)
    from convcost.workflows.sweep import SweepOptions, column_names, configuration_of, folder_of, plan, sweep

    folder_of(context.params["out"])  # as it was typed
    goals = column_names("pareto", () if pareto is None else pareto)
    groups = column_names("group_by", () if group_by is None else group_by)
    wholes = [f"format (={form})"] if form is not o.OutputFormat.table else [f"export (={path})" for path in others]
    options = SweepOptions(
        *(out, goals, top, sort, groups), workers=workers, scheduler=scheduler, whole=next(iter(wholes), None)
    )
    configuration = configuration_of(file)
    clock = TimingOptions(
        (device,), parse_threads(threads), allocator, time_budget, memory_format=memory_format, store=store
    )
    result: Result[Any]
    code, latency, ending = 0, None, ""
    if dry_run:
        result = plan(configuration, options)
    elif time:
        from convcost.workflows.sweep_timing import time_sweep

        with _resumable(out):
            code, timed = last(time_sweep(configuration, options, clock))
        result, latency = timed, timed.latency_table() if tables else None
        ending = NOTHING_YET if not (timed.timed and timed.timed.statuses) else GOES_ON.format(out) if out else LEFT_OUT
    else:
        with _resumable(out):
            result = sweep(configuration, options)
    with interrupts_held():
        writes = [] if latency is None else [partial(write_text, path, latency.text, "export") for path in tables]
        deliver(result, form, others, writes=writes, latex=partial(result.to_latex, caption, label))
        say_remarks(result)
        say(() if latency is None else latency.notes, "note")
        note_without_latex(context, form, others, result)
        if dry_run or not time:
            reason = "a dry run times nothing" if dry_run else "nothing is timed without --time"
            note_unused(context, reason, ("store", *(("time",) if dry_run else ())), panel=o.CLOCK)
    if code == INTERRUPTED:
        say([ending], "note")
    return code


@contextmanager
def _resumable(out: Path | None) -> Iterator[None]:
    """Say after Ctrl-C that the sweep of a folder goes on where it was."""
    try:
        yield
    except KeyboardInterrupt:
        if out is not None and any(out.glob("*.parquet")):
            say([GOES_ON.format(out)], "note")
        raise


def _refuse_latency_tables(paths: list[Path], *, time: bool, is_summary: bool) -> None:
    """Refuse latency tables without the times of rows, and those that could not be written."""
    for path in paths:
        if not time:
            raise ConvcostError(f"export (={path}) must have times to write; add --time.")
        if is_summary:
            raise ConvcostError(f"export (={path}) must have rows, not groups; leave --group-by out, or add --top.")
        require_writable(path)

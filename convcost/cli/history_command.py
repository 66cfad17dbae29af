"""The command `convcost history`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from convcost import api
from convcost.archive.listing import HISTORY_COLUMNS
from convcost.cli import options as o
from convcost.cli.command import note_unused, note_without_latex
from convcost.cli.output import WHOLE_JSON, deliver, only_json, refuse_exports, say
from convcost.system.signals import interrupts_held
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError, as_text
from convcost.text.sizes import parse_sizes

FILTERS = "Filters"
SHOWN = 20
"""Rows of the table without --limit."""


def history_command(
    context: typer.Context,
    block: Annotated[
        list[str] | None, o.option(FILTERS, "Block of the catalogue; may be repeated.", metavar="NAME")
    ] = None,
    target: Annotated[list[str] | None, o.option(FILTERS, "Target of a model; may be repeated.")] = None,
    name: Annotated[
        list[str] | None,
        o.option(FILTERS, "Layer, kernel or block; forward for whole models; may be repeated.", metavar="NAME"),
    ] = None,
    command: Annotated[str | None, o.option(FILTERS, "Command: check, compare, kernel or model.")] = None,
    device: Annotated[
        list[str] | None, o.option(FILTERS, "Device: cpu, cuda (any), cuda:1 or mps; may be repeated.")
    ] = None,
    dtype: Annotated[str | None, o.option(FILTERS, "Data type, such as float32.")] = None,
    memory_format: Annotated[str | None, o.option(FILTERS, "Memory format: contiguous or channels_last.")] = None,
    threads: Annotated[int | None, o.option(FILTERS, "Threads of torch.")] = None,
    in_channels: Annotated[
        int | None, o.option(FILTERS, "C: requested input channels.", *o.flags("in_channels"))
    ] = None,
    out_channels: Annotated[
        int | None, o.option(FILTERS, "O: requested output channels.", *o.flags("out_channels"))
    ] = None,
    kernel_size: Annotated[
        str | None, o.option(FILTERS, "K or KHxKW: requested kernel size.", *o.flags("kernel_size"), metavar="K|KHxKW")
    ] = None,
    since: Annotated[
        str | None,
        o.option(
            FILTERS, "Oldest date, as 2026-07-01 or 2026-07-01T12:30, or age, as 90m, 12h, 7d or 2w.", metavar="WHEN"
        ),
    ] = None,
    until: Annotated[str | None, o.option(FILTERS, "Newest date or age, in the same form.", metavar="WHEN")] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            help=f"Maximum number of rows, or all; by default {SHOWN} in the table, all in other formats and files.",
            metavar="N|all",
        ),
    ] = None,
    form: o.Format = o.OutputFormat.table,
    columns: Annotated[str | None, o.columns_option("name,time_s")] = None,
    export: o.Export = None,
    caption: o.Caption = None,
    label: o.Label = None,
) -> None:
    """List the stored timings, newest first. The environment variable CONVCOST_DB names the database.

    Example: convcost history --block depthwise-separable --since 7d
    """
    refuse_exports(export)
    fields = choose_columns(HISTORY_COLUMNS, columns)
    is_table = form is o.OutputFormat.table
    short = limit is None and is_table and not export
    history = api.history(
        block=block or (),
        target=target or (),
        name=name or (),
        command=command,
        device=device or (),
        dtype=dtype,
        memory_format=memory_format,
        threads=threads,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=None if kernel_size is None else parse_sizes("kernel_size", kernel_size),
        since=since,
        until=until,
        limit=SHOWN if short else _limit(limit),
    )
    history = replace(history, columns=fields)
    note_without_latex(context, form, export, history)
    if only_json(form, export):
        note_unused(context, WHOLE_JSON, ("columns",))
    with interrupts_held():
        if export:
            deliver(history, form, export, table_shown=is_table, latex=partial(history.to_latex, caption, label))
        if is_table or not export:
            table = replace(history, rows=history.rows[:SHOWN]) if is_table and limit is None else history
            deliver(table, form, None, latex=partial(table.to_latex, caption, label))
            if len(table.rows) < table.total and limit is None:
                say([f"{table.total - len(table.rows)} older timings are not shown; add --limit all."], "note")


def _limit(text: str | None) -> int | None:
    """`20` or `all`.

    Raises:
        ConvcostError: The text has another form.
    """
    if text is None or text == "all":
        return None
    if not text.isascii() or not text.isdigit() or int(text[:9]) < 1 or len(text) > 9:  # noqa: PLR2004 - more digits than any history has rows
        raise ConvcostError(f"limit (={as_text(text)}) must be 1 or more, or all.")
    return int(text)

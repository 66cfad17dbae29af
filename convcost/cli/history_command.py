"""`convcost history`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from convcost import api
from convcost.archive.listing import HISTORY_COLUMNS
from convcost.cli import options as o
from convcost.cli.output import deliver, refuse_exports, say
from convcost.text.columns import choose_columns
from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_sizes

FILTERS = "Filters"
SHOWN = 20
"""Rows of the table for people, where --limit does not say."""


def history_command(  # noqa: PLR0913, PLR0917 - each parameter is an option of the command
    block: Annotated[
        list[str] | None,
        typer.Option(help="Of this block; may be repeated.", metavar="NAME", rich_help_panel=FILTERS),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Of this model, as it was named; may be repeated.", rich_help_panel=FILTERS),
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="check, compare, kernel or model.", rich_help_panel=FILTERS)
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="cpu, cuda (any), cuda:1 or mps; may be repeated.", rich_help_panel=FILTERS),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 and so on.", rich_help_panel=FILTERS)] = None,
    memory_format: Annotated[
        str | None, typer.Option(help="contiguous or channels_last.", rich_help_panel=FILTERS)
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of torch.", rich_help_panel=FILTERS)] = None,
    in_channels: Annotated[
        int | None, typer.Option(*o.flags("in_channels"), help="C, as asked for.", rich_help_panel=FILTERS)
    ] = None,
    out_channels: Annotated[
        int | None, typer.Option(*o.flags("out_channels"), help="O, as asked for.", rich_help_panel=FILTERS)
    ] = None,
    kernel_size: Annotated[
        str | None,
        typer.Option(
            *o.flags("kernel_size"), help="K or KHxKW, as asked for.", metavar="K|KHxKW", rich_help_panel=FILTERS
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="2026-07-01, 2026-07-01T12:30, or an age: 90m, 12h, 7d, 2w.", metavar="WHEN", rich_help_panel=FILTERS
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(help="The same.", metavar="WHEN", rich_help_panel=FILTERS)] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            help=f"The most rows, or all; {SHOWN} in the table, all in other formats and files.", metavar="N|all"
        ),
    ] = None,
    form: o.Format = o.OutputFormat.table,
    columns: o.Columns = None,
    export: o.Export = None,
) -> None:
    """List the timings that compare and model kept, newest first. CONVCOST_DB names the database.

    Example: convcost history --block depthwise-separable --since 7d
    """
    refuse_exports(export)
    fields = choose_columns(HISTORY_COLUMNS, columns)
    for_people = form is o.OutputFormat.table
    short = limit is None and for_people and not export
    found = api.history(
        block=block or (),
        target=target or (),
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
    found = replace(found, columns=fields)
    if export:
        deliver(found, form, export, table_shown=for_people)
    if for_people or not export:
        table = replace(found, rows=found.rows[:SHOWN]) if for_people and limit is None else found
        deliver(table, form, None)
        if len(table.rows) < table.total and limit is None:
            say([f"{table.total - len(table.rows)} older timings are not shown; add --limit all."], "note")


def _limit(text: str | None) -> int | None:
    """`20` or `all`.

    Raises:
        ConvcostError: anything else.
    """
    if text is None or text == "all":
        return None
    if not text.isascii() or not text.isdigit() or int(text[:9]) < 1 or len(text) > 9:  # noqa: PLR2004 - no history is longer
        raise ConvcostError(f"limit (={text}) must be 1 or more, or all.")
    return int(text)

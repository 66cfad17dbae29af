"""`convcost config`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads it from the annotation
from typing import Annotated

import typer

from convcost.cli.output import write_out

__all__ = ["config_command"]


class Action(StrEnum):
    """What to print."""

    schema = "schema"
    show = "show"


def config_command(
    action: Annotated[
        Action,
        typer.Argument(help="schema: the JSON Schema of convcost.toml; show: what the configuration means."),
    ],
    config: Annotated[
        Path | None, typer.Option(help="The budgets; else the nearest convcost.toml or [tool.convcost].")
    ] = None,
) -> int:
    """Print the JSON Schema of the configuration, or the configuration with every default written out, as JSON.

    Example: convcost config schema
    """
    from convcost.budgets.config_files import load_configuration  # noqa: PLC0415 - help does without pydantic
    from convcost.budgets.configuration import schema  # noqa: PLC0415 - the same
    from convcost.budgets.shown_configuration import effective  # noqa: PLC0415 - the same
    from convcost.text.export import json_text  # noqa: PLC0415 - the same

    write_out(json_text(schema() if action is Action.schema else effective(load_configuration(config))))
    return 0

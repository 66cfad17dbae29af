"""The class of the commands: what is refused or noted about the options that were given."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from convcost.cli.output import WRONG, say
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Collection


class Command(TyperCommand):
    """A command that shows its help if it needs words and gets none, and takes an option once if it has one value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - the context of click, or of typer's own copy of it
        """Parse the words of the command."""
        if not args and any(parameter.required for parameter in self.params):
            typer.echo(self.get_help(ctx))
            ctx.exit(WRONG)
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, times in Counter(order).items():
            if times > 1 and not parameter.multiple:
                _require_one_value(parameter, args)
        return super().parse_args(ctx, args)


def _require_one_value(parameter: Any, args: list[str]) -> None:  # noqa: ANN401 - an option of click, or of typer's own copy
    """Refuse an option with two values, and a flag that is switched on and off."""
    name = max(parameter.opts, key=len)
    if not parameter.is_flag:
        raise ConvcostError(f"{name} must be given once, and is given more often; leave out the others.")
    if {*parameter.opts} & {*args} and {*parameter.secondary_opts} & {*args}:
        raise ConvcostError(f"{name} and {parameter.secondary_opts[0]} exclude each other; leave one of them out.")


def note_unused(context: typer.Context, reason: str, names: Collection[str] = (), *, panel: str | None = None) -> None:
    """Print a note about the given options that have no effect.

    Args:
        context: Context of the command.
        reason: Reason why they have none.
        names: Names of the options' parameters.
        panel: Panel of the help, all of whose options have none but those that have an effect on more than times, or a
            note of their own.
    """
    for parameter in context.command.params:
        name = str(parameter.name)
        in_panel = (
            panel and getattr(parameter, "rich_help_panel", None) == panel and name not in {"time", "dtype", "reuse"}
        )
        source = context.get_parameter_source(name)
        if (in_panel or name in names) and source is not None and source.name == "COMMANDLINE":
            say([f"{max(parameter.opts, key=len)} has no effect here: {reason}."], "note")

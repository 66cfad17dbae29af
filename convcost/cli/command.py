"""The class of the commands: what is refused or noted about the options that were given."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand

from convcost.cli.options import SHAPE
from convcost.cli.output import WRONG, say
from convcost.text.errors import ConvcostError, as_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from convcost.text.result import Result


REPEATED: Final = frozenset({"block", "device", "dtype", "memory_format", "threads", "to"})
"""Options that may be repeated, and whose values have no commas."""
ELSEWHERE: Final = frozenset({"time", "dtype", "reuse"})
"""Options of the panel of the clock with an effect on more than times, or with a note of their own."""


class Command(TyperCommand):
    """A command that needs words and gets none shows its help; one value too many for an option is refused."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - the context of click, or of typer's own copy of it
        """Parse the words of the command."""
        if ctx.resilient_parsing:  # the shell completes them
            return super().parse_args(ctx, args)
        if not args and (self.name == "kernel" or any(parameter.required for parameter in self.params)):
            typer.echo(self.get_help(ctx))
            ctx.exit(WRONG)
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        given: Counter[Any] = Counter(one for one in order if one.param_type_name == "option" and not one.multiple)
        for option, times in given.items():
            if times > 1 and (not option.is_flag or _is_switched(option, args)):
                typed = (
                    _name(option)
                    if option.is_flag
                    else next(word for word in map(_before_equals, args) if word in _names(option))
                )
                raise ConvcostError(f"{typed} is given more than once, and takes one value; leave out the others.")
        shape = {
            min(option.opts, key=len).strip("-").replace("-", "_"): str(values[str(option.name)])
            for option in given
            if getattr(option, "rich_help_panel", None) == SHAPE
        }
        _require_one_shape(shape, f"{ctx.command_path} {' '.join(args)}")
        for option in dict.fromkeys(one for one in order if one.name in REPEATED and (one.multiple or one.nargs < 0)):
            _require_single_words(option, values[str(option.name)] or ())
        return super().parse_args(ctx, args)


def _require_one_shape(shape: Mapping[str, str], command: str) -> None:
    """Refuse lists of numbers where a command takes one shape, with the loops that take each of them."""
    lists = {name: text for name, text in shape.items() if re.fullmatch(r"\d+(\s*,\s*\d+)+", text)}
    if not lists:
        return
    loop = command
    for name, text in lists.items():
        loop = loop.replace(text, f"${name}", 1)
    for name, text in reversed(lists.items()):
        loop = f"for {name} in {' '.join(re.findall(r'[0-9]+', text))}; do {loop}; done"
    name, text = next(iter(lists.items()))
    raise ConvcostError(f"{name} (={text}) must be one size; run the command once for each: {loop}")


def _require_single_words(option: Any, words: Iterable[str]) -> None:  # noqa: ANN401 - an option of click, or of typer's own copy of it
    """Refuse a list with commas where an option is repeated, with the words to type."""
    for text in words:
        if "," in text:
            each = [word.strip() for word in text.split(",") if word.strip()]
            again = " ".join(f"{_name(option)} {word}" if option.multiple else word for word in each)
            raise ConvcostError(f"{option.name} (={as_text(text)}) must be one value; write {again}")


def _before_equals(word: str) -> str:
    return word.partition("=")[0]


def _names(parameter: Any) -> tuple[str, ...]:  # noqa: ANN401 - a parameter of click, or of typer's own copy of it
    return (*parameter.opts, *parameter.secondary_opts)


def _is_switched(flag: Any, args: list[str]) -> bool:  # noqa: ANN401 - an option of click, or of typer's own copy of it
    """Whether a flag is switched on and off."""
    return bool({*flag.opts} & {*args} and {*flag.secondary_opts} & {*args})


def _name(parameter: Any) -> str:  # noqa: ANN401 - an option of click, or of typer's own copy of it
    return str(max(parameter.opts, key=len))


def note_without_latex(
    context: typer.Context, form: str, exports: Collection[Path] | None, result: Result[Any]
) -> None:
    """Where no LaTeX is written, print the caption that is to be made, and a note about the options without effect."""
    if form == "latex" or any(path.suffix.lower() == ".tex" for path in exports or ()):
        return
    is_made = context.params["caption"] == "auto"
    if is_made and (line := f"caption: {result.caption}") not in result.verdicts:
        say([line], "note")
    note_unused(context, "only LaTeX has them; add --format latex", ("label", *(() if is_made else ("caption",))))


def note_unused(context: typer.Context, reason: str, names: Collection[str] = (), *, panel: str | None = None) -> None:
    """Print a note about the given options that have no effect.

    Args:
        context: Context of the command.
        reason: Reason why they have none.
        names: Names of the options' parameters.
        panel: Panel of the help, whose options have none but those of `ELSEWHERE`.
    """
    for parameter in context.command.params:
        name = str(parameter.name)
        in_panel = getattr(parameter, "rich_help_panel", None) == (panel or ()) and name not in ELSEWHERE
        source = context.get_parameter_source(name)
        if (in_panel or name in names) and source is not None and source.name == "COMMANDLINE":
            is_off = context.params[name] is False and parameter.secondary_opts
            written = parameter.secondary_opts[0] if is_off else _name(parameter)
            say([f"{written} has no effect here: {reason}."], "note")

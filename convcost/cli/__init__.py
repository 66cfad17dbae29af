"""The command line: it parses options, calls a workflow, prints the result and returns an exit code."""

from __future__ import annotations

import os
import re
import sys
import warnings
from contextlib import contextmanager, nullcontext
from importlib import import_module
from io import StringIO, TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer
from typer.main import get_command

from convcost._version import __version__
from convcost.cli.command import Command
from convcost.cli.options import with_layer_options
from convcost.cli.output import INTERRUPTED, WRONG, close_stdout, complain, show_warning, write_out
from convcost.system.process_end import process_kept
from convcost.system.signals import Interrupts
from convcost.system.terminal import is_terminal
from convcost.text.errors import ConvcostError, as_text, did_you_mean, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from logging import LogRecord

__all__ = ["COMMANDS", "app", "full_app", "main"]

COMPLETION_VARIABLE = "_CONVCOST_COMPLETE"
COMPLETION_OPTIONS = ("--install-completion", "--show-completion")
PARSER_ERROR: type[Exception] = typer.BadParameter.__mro__[2]  # ClickException; newer typers carry their own click
MAX_WORD = 120
"""Characters of a word in a parser's message, which quotes what the user typed."""

app = typer.Typer(
    name="convcost",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
COMMANDS = {
    "compare": "compare_command",
    "explain": "compare_command",
    "kernel": "kernel_command",
    "history": "history_command",
    "model": "model_command",
    "diff": "diff_command",
    "replace": "replace_command",
    "sweep": "sweep_command",
    "check": "check_command",
    "config": "check_command",
    "calibrate": "calibrate_command",
}
"""The module of this package that defines each command."""

KERNEL_FLAGS = frozenset({"--", "--time", "--no-time", "--store", "--no-store", "--list-kernels", "--help", "-h"})
"""Options of `convcost kernel` without a value; a word after them may be a matrix."""


def _register(words: Sequence[str]) -> None:
    """Add the named command, or all commands for the help or an unknown word; each import costs milliseconds."""
    named = next((word for word in words if not word.startswith("-")), "")
    app.registered_commands.clear()
    completes = COMPLETION_VARIABLE in os.environ
    for name, module in COMMANDS.items():
        if name == named or named not in COMMANDS:
            function = with_layer_options(getattr(import_module(f"convcost.cli.{module}"), f"{name}_command"))
            if completes:
                from convcost.cli.completion import with_values

                function = with_values(function)
            app.command(name, cls=Command)(function)


def full_app() -> typer.Typer:
    """The application with all commands."""
    _register(())
    return app


def _with_minus_signs(words: list[str]) -> list[str]:
    """Put U+2212 for the minus that begins a matrix of `convcost kernel`, which would look like an option."""
    if words[:1] != ["kernel"]:
        return words
    shown = []
    for word, before in zip(words, ["", *words], strict=False):
        is_value = before.startswith("--") and before not in KERNEL_FLAGS and "=" not in before
        numbers = re.match(r"-[^-].*[\s,;]|-\.?\d", word) and not is_value
        shown.append(f"\N{MINUS SIGN}{word[1:]}" if numbers else word)
    return shown


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convcost {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    _debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error, and what convcost logs; anywhere in a command."),
    ] = False,
) -> None:
    """What a convolution really costs: the formula, the count and the clock, side by side.

    Example: convcost compare --c 3 --o 64 --k 3
    """


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: Words after `convcost`; `--debug` anywhere among them shows the traceback of an error, and the log.

    Returns:
        The exit code: 0 done, 1 a count disagrees or a budget is exceeded, 2 wrong usage or a crash, 3 not decided,
        130 interrupted.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before the start, so output is discarded
            setattr(sys, name, StringIO())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a narrow encoding prints ? for ×
            stream.reconfigure(errors="replace")
    words = _with_minus_signs([word for word in arguments if word != "--debug"])
    debug = len(words) != len(arguments)
    app.rich_markup_mode = "rich" if is_terminal(sys.stdout) else None
    code, interrupts = 0, Interrupts()
    try:
        with interrupts.raised(), process_kept(), warnings.catch_warnings(), _logged() if debug else nullcontext():
            if not (debug or sys.warnoptions):
                warnings.showwarning = show_warning
            code = _run(words)
            write_out("")
    except BaseException as error:  # noqa: BLE001 - any exception becomes an exit code and at most a few lines
        code = INTERRUPTED if interrupts.count else _ended_by(error, code, debug=debug)
    return INTERRUPTED if interrupts.count else code


def _run(words: list[str]) -> int:
    """Run the command of these words, or complete those of the shell; the exit code."""
    _register(words)
    if COMPLETION_VARIABLE in os.environ or (words and words[0] in COMPLETION_OPTIONS):
        from convcost.cli.completion import run_completion

        return run_completion(app, words)
    code = int(get_command(app).main(words or ["--help"], prog_name="convcost", standalone_mode=False) or 0)
    return code if words else WRONG


@contextmanager
def _logged() -> Iterator[None]:
    """Print what convcost logs to stderr, each line once."""
    from logging import DEBUG, NOTSET, StreamHandler, getLogger

    logger, handler, known = getLogger("convcost"), StreamHandler(), set[str]()

    def is_new(record: LogRecord) -> bool:
        before = len(known)
        known.add(record.getMessage())
        return len(known) > before

    handler.addFilter(is_new)
    logger.addHandler(handler)
    logger.setLevel(DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(NOTSET)


def _ended_by(error: BaseException, code: int, *, debug: bool) -> int:
    """Report the exception that ended a command, and return the exit code."""
    if isinstance(error, BrokenPipeError) or _is_closed_pipe_exit(error):
        close_stdout()
        return code
    if isinstance(error, OSError):
        error = _file_error(error)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED
    if isinstance(error, ConvcostError):
        return _refuse(error, *error.lines, debug=debug)
    if isinstance(error, PARSER_ERROR):
        return _refuse(error, _parser_message(error), debug=debug)
    kind = ": ".join(filter(None, (type(error).__name__, text_of(error))))
    if isinstance(error, SystemExit):  # commands return their code, so it comes from the user's model
        message = f"the code that was run must not end the program: {kind}; correct it, or see where with --debug."
    else:
        message = f"convcost crashed: {kind}; run it again with --debug and report it."
    return _refuse(error, message, debug=debug)


def _file_error(error: OSError) -> BaseException:
    """The error for a file or a stdout that the system refuses, as far as it names one."""
    try:
        write_out("")  # the parser may have written a help to a stdout that is full
    except ConvcostError as full:
        return full
    path = error.filename or ("." if isinstance(error, FileNotFoundError) else None)  # the current folder is gone
    return (
        error
        if path is None
        else ConvcostError(f"path (={as_text(path)}) cannot be used ({error.strerror}); check it.")
    )


def _is_closed_pipe_exit(error: BaseException) -> bool:
    """Whether the parser turned a BrokenPipeError into a SystemExit."""
    return isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)


def _refuse(error: BaseException, *messages: str, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    for message in messages:
        complain(f"error: {' '.join(message.split())}")
    return WRONG


def _parser_message(error: Exception) -> str:
    """The message of a parser's error, with the next step."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    message = message.replace("Value error, ", "", 1)  # typer 0.29 passes pydantic's own words on
    message = re.sub(rf"[^\s']{{{MAX_WORD},}}", lambda word: as_text(word[0]), message)
    context = getattr(error, "ctx", None)
    step = f"see {context.command_path if context is not None else 'convcost'} --help."
    if context is not None and hasattr(error, "option_name") and hasattr(error, "possibilities"):
        options = [name for one in context.command.params for name in (*one.opts, *one.secondary_opts)]
        known = [name for name in options if name.startswith("-")]  # the parser's possibilities are often others
        return f"No such option: {error.option_name}; {did_you_mean(error.option_name, known, step)}"
    return f"{message} See{step.removeprefix('see')}" if message.endswith("?") else f"{message.rstrip('.')}; {step}"

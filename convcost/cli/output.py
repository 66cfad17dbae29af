"""The output of commands: exit codes, stdout, stderr and exported files."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

from convcost.cli.options import OutputFormat
from convcost.system.terminal import is_terminal, terminal_width
from convcost.text.errors import ConvcostError, one_line
from convcost.text.table import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from convcost.text.result import Result


MAX_LINE: Final = 3000
"""Characters of a line on stderr, which may quote a word of the user of any length."""
R = TypeVar("R")
DISAGREES: Final = 1
"""Exit code if an independent count differs."""
OVER_BUDGET: Final = 1
"""Exit code if a limit is exceeded."""
WRONG: Final = 2
"""Exit code for wrong usage, or a crash of convcost."""
UNDECIDED: Final = 3
"""Exit code of a strict check with an undecided limit."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C."""
WHOLE_JSON: Final = "JSON always has all rows and fields"
"""Reason why options that choose rows or fields have no effect."""
_ADVICE: Final = (
    (re.compile(r"\braise time_budget\b"), "raise --time-budget"),
    (re.compile(r"\braise seconds\b"), "raise --seconds"),
    (re.compile(r"\bturn (force|pareto) on\b"), r"add --\1"),
    (re.compile(r"\bwith device (cpu|meta|auto)\b"), r"with --device \1"),
    (re.compile(r"\bname it with only\b"), "name it with --only"),
)
"""Advice in the words of Python, and in those of the command line."""
_COMMAND_STARTS: Final = re.compile(r"(?:^|(?<=[\r\n]))[^\S\r\n]*(?=::)|##(?=\[)")
"""What makes a line a workflow command, as a GitHub runner reads it (ActionCommand.cs in actions/runner)."""


def only_json(form: OutputFormat, exports: Iterable[Path] | None) -> bool:
    """Whether all output is JSON, which always has all rows and fields."""
    return form is OutputFormat.json and all(path.suffix.lower() == ".json" for path in exports or ())


def last(results: Iterable[R], known: R | None = None) -> tuple[int, R]:
    """The exit code and the last result; after Ctrl-C the latest one, or the one that was known before.

    Raises:
        KeyboardInterrupt: Ctrl-C before there is any.
    """
    latest, code = known, 0
    try:
        for latest in results:  # noqa: B007 - the last value is returned below
            pass
    except KeyboardInterrupt:
        code = INTERRUPTED
    if latest is None:
        raise KeyboardInterrupt
    return code, latest


def refuse_exports(paths: Iterable[Path] | None) -> None:
    """Refuse files that could not be written, before any work is done."""
    if paths:
        from convcost.system.whole_files import require_writable
        from convcost.text.export import DRAWN, SUFFIXES
        from convcost.text.figure import require_libraries

        for path in paths:
            require_writable(path, SUFFIXES)
            if SUFFIXES[path.suffix.lower()] in DRAWN:
                require_libraries(f"export (={path})")


def say(lines: Iterable[str], kind: str) -> None:
    """Print lines to stderr, each after its kind: note, warning or error."""
    for line in lines:
        complain(f"{kind}: {line}")


def say_remarks(result: Result[Any]) -> None:
    """Print the notes, warnings and errors of a result to stderr."""
    for kind, line in result.remarks:
        complain(f"{kind}: {line}")


def _say_verdicts(result: Result[Any]) -> None:
    """Print the lines under the table to stderr, as notes unless they begin with a verdict."""
    for line in map(str.strip, result.verdicts):
        complain(line if line.startswith(("fail: ", "warn: ")) else f"note: {line}")


def complain(line: str) -> None:
    """Print a line to stderr, without the middle of a very long one; a stderr that cannot be written is ignored."""
    if len(line) > MAX_LINE:
        line = f"{line[: MAX_LINE // 2]} ... {line[-MAX_LINE // 2 :]}"
    with contextlib.suppress(OSError):
        shown = fitted(_without_commands(_with_options(one_line(line))), sys.stderr)
        print(shown, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints to stderr


def _with_options(line: str) -> str:
    """The line with its advice in the words of the command line, not in those of Python."""
    for pattern, words in _ADVICE:
        line = pattern.sub(words, line)
    return line


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - a parameter of warnings.showwarning
    line: str | None = None,  # noqa: ARG001 - a parameter of warnings.showwarning
) -> None:
    """Print a warning of the user's own code on one line, and none of a library."""
    from sysconfig import get_paths

    if not filename.startswith(tuple(get_paths().values())):
        complain(f"warning: {filename}:{lineno}: {category.__name__}: {message}")


def print_blocks(texts: Iterable[str]) -> None:
    """Print texts of several lines to stdout, each after an empty line."""
    for text in texts:
        lines = "".join(f"{fitted(line, sys.stdout)}\n" for line in text.splitlines())
        write_out(f"\n{lines}")


def fitted(line: str, stream: TextIO) -> str:
    """The line, broken between words if the stream is a terminal."""
    return wrapped(line, terminal_width() if is_terminal(stream) else None)


def deliver(
    result: Result[Any],
    form: OutputFormat,
    exports: Iterable[Path] | None,
    *,
    table_shown: bool = False,
    lines_shown: int = 0,
    writes: Iterable[Callable[[], object]] = (),
    latex: Callable[[], str] | None = None,
) -> None:
    """Write the exported files, then stdout; for machine-readable formats the verdicts go to stderr.

    Args:
        result: Result to write.
        form: Format of stdout.
        exports: Paths of the files to export, already checked.
        table_shown: Whether the terminal already shows the table, so that only the lines under it are printed.
        lines_shown: Number of the lines under the table that the terminal shows too.
        writes: Functions that write further files.
        latex: Function that makes the LaTeX; None for that of the result without a caption.
    """
    with _exported(result, exports, writes, latex):
        if form is not OutputFormat.table:
            write_out(_machine_text(result, form, latex))
            _say_verdicts(result)
        elif table_shown:
            write_out("".join(f"{fitted(one_line(line), sys.stdout)}\n" for line in result.verdicts[lines_shown:]))
        else:
            write_out(result.text(terminal_width() if is_terminal(sys.stdout) else None))


def _machine_text(result: Result[Any], form: OutputFormat, latex: Callable[[], str] | None) -> str:
    """The result in a format that is no table for a terminal."""
    from convcost.text.export import TEXT_FORMATS, json_text

    if form is OutputFormat.latex:
        return (latex or result.to_latex)()
    return json_text(result.to_dict()) if form is OutputFormat.json else TEXT_FORMATS[form.value](result.to_frame())


def deliver_text(
    text: str,
    result: Result[Any],
    exports: Iterable[Path] | None,
    *,
    writes: Iterable[Callable[[], object]] = (),
    latex: Callable[[], str] | None = None,
    commands: bool = False,
) -> None:
    """Write the files, then a text to stdout; the verdicts go to stderr. Arguments as of `deliver` and `write_out`."""
    with _exported(result, exports, writes, latex):
        write_out(text, commands=commands)
        _say_verdicts(result)


def write_out(text: str, *, commands: bool = False) -> None:
    """Write to stdout; a closed pipe is no error.

    Args:
        text: Text to write.
        commands: Whether lines may be workflow commands on a GitHub runner.

    Raises:
        ConvcostError: Stdout is a file that cannot be written.
    """
    try:
        sys.stdout.write(text if commands else _without_commands(text))
        sys.stdout.flush()
    except BrokenPipeError:
        close_stdout()
    except OSError as error:
        close_stdout()
        msg = f"stdout must be writable, and it is not: {error.strerror}; make room, or send it elsewhere."
        raise ConvcostError(msg) from error


def _without_commands(text: str) -> str:
    """The text; on a GitHub runner, an apostrophe keeps each line from being a workflow command."""
    on_runner = os.environ.get("GITHUB_ACTIONS") == "true"
    return _COMMAND_STARTS.sub(r"\g<0>'", text) if on_runner else text


def close_stdout() -> None:
    """Discard all further output to stdout, including the interpreter's last flush."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _exported(
    result: Result[Any],
    exports: Iterable[Path] | None,
    writes: Iterable[Callable[[], object]],
    latex: Callable[[], str] | None = None,
) -> Iterator[None]:
    """Write the files; an error is raised only after stdout and the other files are written."""
    refusals: list[ConvcostError] = []
    for write in (*writes, *_writes(result, exports, latex)):
        try:
            write()
        except ConvcostError as error:
            refusals.append(error)
    yield
    say(map(str, refusals[1:]), "error")
    if refusals:
        raise refusals[0]


def _writes(
    result: Result[Any], exports: Iterable[Path] | None, latex: Callable[[], str] | None
) -> Iterator[Callable[[], object]]:
    """A function for each exported file that writes it."""
    if exports:
        from convcost.system.whole_files import write_whole
        from convcost.text.export import DRAWN, SUFFIXES, write, write_text

        table, whole = result.to_frame(), result.to_dict()
        for path in exports:
            kind = SUFFIXES[path.suffix.lower()]
            content = partial(write, kind, table, whole)
            if kind == "latex":
                content = partial(write_text, (latex or result.to_latex)())
            yield partial(_draw, result, kind, path) if kind in DRAWN else partial(write_whole, path, content)


def _draw(result: Result[Any], kind: str, path: Path) -> None:
    """Write a page or an image."""
    from convcost.system.whole_files import write_whole
    from convcost.text.errors import encodable
    from convcost.text.figure import image

    content = encodable(result.to_html()).encode() if kind == "html" else image(result.figure(), kind)
    write_whole(path, lambda temporary: temporary.write_bytes(content))

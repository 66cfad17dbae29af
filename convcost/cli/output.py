"""Where results go: stdout in one format, files by suffix, notes to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from convcost.cli.options import OutputFormat
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from convcost.text.columns import Column

__all__ = [
    "Result",
    "close_stdout",
    "complain",
    "deliver",
    "deliver_text",
    "fitted",
    "is_terminal",
    "print_blocks",
    "refuse_exports",
    "say",
    "terminal_width",
    "write_out",
]


class Result(Protocol):
    """What can be delivered: every result of the Python interface."""

    @property
    def columns(self) -> Sequence[Column]:
        """Of the table."""

    @property
    def rows(self) -> Sequence[object]:
        """Of the table."""

    @property
    def head(self) -> str:
        """The line above the table."""

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Lines under the table."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""

    def to_frame(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame; naming the type would import pandas
        """The rows."""


def is_terminal(stream: TextIO) -> bool:
    """Whether a person sees colours and a live table there."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def refuse_exports(paths: Iterable[Path] | None) -> None:
    """Refuse files that could not be written, before any work is done."""
    if paths:
        from convcost.system.whole_files import require_writable  # noqa: PLC0415 - the same
        from convcost.text.export import SUFFIXES  # noqa: PLC0415 - only for those who export

        for path in paths:
            require_writable(path, SUFFIXES)


def say(lines: Iterable[str], kind: str) -> None:
    """Print lines to stderr, each beginning with what it is."""
    for line in lines:
        complain(f"{kind}: {line}")


def complain(line: str) -> None:
    """Print a line to stderr; where nobody can hear it, the exit code stays what it is."""
    with contextlib.suppress(OSError):
        print(fitted(line, sys.stderr), file=sys.stderr, flush=True)  # noqa: T201 - the command line prints


def print_blocks(texts: Iterable[str]) -> None:
    """Print texts of several lines to stdout, each after an empty line."""
    for text in texts:
        lines = "".join(f"{fitted(line, sys.stdout)}\n" for line in text.splitlines())
        write_out(f"\n{lines}")


def fitted(line: str, stream: TextIO) -> str:
    """The line, broken between words where a person would see it broken within one."""
    if not is_terminal(stream):
        return line
    import textwrap  # noqa: PLC0415 - only on a terminal

    # a path or a name is copied, never cut
    return textwrap.fill(line, terminal_width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def terminal_width() -> int:
    """Characters in a line of the terminal; COLUMNS in the environment wins."""
    import shutil  # noqa: PLC0415 - only on a terminal

    return shutil.get_terminal_size().columns


def deliver(
    result: Result,
    form: OutputFormat,
    exports: Iterable[Path] | None,
    *,
    table_shown: bool,
    payload: dict[str, Any] | None = None,
) -> None:
    """Write the files, then stdout. In a machine's format stdout holds the data alone, and verdicts go to stderr.

    Args:
        result: to deliver.
        form: for stdout.
        exports: files, already known to be writable.
        table_shown: the table stands on the terminal already; only the lines under it are missing.
        payload: the JSON object, where it is that of more rows than the table shows.
    """
    with _exported(result, exports, payload):
        _print(result, form, table_shown=table_shown, payload=payload)


def _print(result: Result, form: OutputFormat, *, table_shown: bool, payload: dict[str, Any] | None) -> None:
    if form is OutputFormat.table:
        if not table_shown:
            from convcost.text.plain import plain_table  # noqa: PLC0415 - a machine's format does without

            width = terminal_width() if is_terminal(sys.stdout) else None
            write_out(f"{fitted(result.head, sys.stdout)}\n{plain_table(result.columns, result.rows, width)}\n\n")
        write_out("".join(f"{fitted(line, sys.stdout)}\n" for line in result.verdicts))
        return
    from convcost.text.export import TEXT_FORMATS, json_text  # noqa: PLC0415 - a table does without

    if form is OutputFormat.json:
        write_out(json_text(payload or result.to_dict()))
    else:
        write_out(TEXT_FORMATS[form.value](result.to_frame()))
    say(result.verdicts, "note")


def deliver_text(text: str, result: Result, exports: Iterable[Path] | None) -> None:
    """Write the files, then a text that was made of the result; its verdicts go to stderr."""
    with _exported(result, exports, None):
        write_out(text)
        say(result.verdicts, "note")


def write_out(text: str) -> None:
    """Write to stdout; a reader that closed the pipe has seen enough, and what is left to say and to return stays.

    Raises:
        ConvcostError: stdout is a file that cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        close_stdout()
    except OSError as error:
        close_stdout()
        msg = f"stdout must be writable, and it is not: {error.strerror}; make room, or send it elsewhere."
        raise ConvcostError(msg) from error


def close_stdout() -> None:
    """Let whatever is still written to stdout go nowhere, the interpreter's last flush too."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _exported(result: Result, exports: Iterable[Path] | None, payload: dict[str, Any] | None) -> Iterator[None]:
    """Write every file that can be written; a refusal is raised after what stdout gets: nothing else is lost."""
    refusals: list[ConvcostError] = []
    if exports:
        from convcost.system.whole_files import write_whole  # noqa: PLC0415 - the same
        from convcost.text.export import SUFFIXES, write  # noqa: PLC0415 - only for those who export

        table, whole = result.to_frame(), payload or result.to_dict()
        for path in exports:
            try:
                write_whole(path, partial(write, SUFFIXES[path.suffix.lower()], table, whole))
            except ConvcostError as error:
                refusals.append(error)
    yield
    say(map(str, refusals[1:]), "error")
    if refusals:
        raise refusals[0]

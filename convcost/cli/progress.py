"""Progress for who watches: a table that fills in, one line on stderr, or a bar."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from convcost.cli.output import is_terminal, terminal_width
from convcost.text.table import rich_table, terminal, with_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from convcost.comparison.result import Comparison
    from convcost.comparison.rows import Row
    from convcost.text.columns import Column

    Tell: TypeAlias = Callable[[str, float], None]


class LiveTable:
    """Shows a comparison as it fills in.

    Args:
        columns: of the table.
        on_stdout: whether the table itself is shown; else one line of progress on stderr that vanishes at the end.
    """

    def __init__(self, columns: Sequence[Column[Row]], *, on_stdout: bool) -> None:
        from rich.live import Live

        self.on_stdout = on_stdout
        self._columns = columns
        self._console = terminal(stderr=not on_stdout)
        self._live = Live(console=self._console, auto_refresh=False, transient=not on_stdout)

    def __enter__(self) -> None:
        """Start to draw."""
        self._live.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw no more; what was drawn last stays."""
        self._live.stop()

    def __call__(self, comparison: Comparison, waiting: Sequence[str], line: str) -> None:
        """Draw the result so far."""
        from rich.text import Text

        if self.on_stdout:
            table = rich_table(
                self._columns, comparison.rows, self._console.width, title=comparison.head, waiting=waiting
            )
            self._live.update(with_progress(table, line), refresh=True)
        else:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)


ERASE: Final = "\r\x1b[2K"


class ProgressLine:
    """Shows what is being done. Without rich: a line needs none."""

    def __init__(self) -> None:
        self._watched = is_terminal(sys.stderr)

    def __enter__(self) -> Self:
        """Show nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self("")

    def __call__(self, line: str) -> None:
        """Show this line instead of the one before."""
        if self._watched:
            sys.stderr.write(f"{ERASE}{line[: terminal_width() - 1]}")
            sys.stderr.flush()


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[Tell]:
    """A function that takes what is being done and the share that is done; it draws nothing where nobody looks."""
    if not shown:
        yield lambda name, share: None  # noqa: ARG005 - nobody looks
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=1.0)
        yield lambda name, share: progress.update(task, description=name, completed=share)

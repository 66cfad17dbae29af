"""Progress on a terminal: a live table, a line on stderr, or a bar."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from convcost.text.table import rich_table, terminal, with_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from convcost.comparison.result import Comparison
    from convcost.comparison.rows import Row
    from convcost.text.columns import Column

    Report: TypeAlias = Callable[[str, float], None]


class LiveTable:
    """Shows a comparison as it fills in.

    Args:
        columns: Columns of the table.
        on_stdout: Whether to show the table on stdout; else one line of progress on stderr, removed at the end.
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
        """Stop drawing; the last table stays."""
        self._live.stop()

    def __call__(self, comparison: Comparison, waiting: Sequence[str], line: str) -> None:
        """Draw a partial result."""
        from rich.text import Text

        if self.on_stdout:
            table = rich_table(
                self._columns, comparison.rows, self._console.width, title=comparison.head, waiting=waiting
            )
            self._live.update(with_progress(table, line), refresh=True)
        else:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[Report]:
    """A progress bar on stderr, as a function of the current step and the finished share.

    Args:
        shown: Whether to draw the bar; else the function does nothing.
    """
    if not shown:
        yield lambda _, __: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=1.0)
        yield lambda name, share: progress.update(task, description=name, completed=share)

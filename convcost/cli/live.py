"""The live view: a table that fills in on stdout, or one line of progress on stderr when stdout is a file or a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from convcost.text.terminal_table import rich_table, terminal, with_progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from convcost.comparison.result import Comparison
    from convcost.text.columns import Column

__all__ = ["LiveTable"]


class LiveTable:
    """Shows a comparison as it fills in.

    Args:
        columns: of the table.
        on_stdout: whether the table itself is shown; else one line of progress on stderr that vanishes at the end.
    """

    def __init__(self, columns: Sequence[Column], *, on_stdout: bool) -> None:
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
        if self.on_stdout:
            table = rich_table(
                self._columns, comparison.rows, self._console.width, title=comparison.head, waiting=waiting
            )
            self._live.update(with_progress(table, line), refresh=True)
        else:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

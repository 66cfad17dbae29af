"""A bar on stderr for work that takes a while."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from convcost.text.terminal_table import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tell: TypeAlias = Callable[[str, float], None]

__all__ = ["progress_bar"]


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

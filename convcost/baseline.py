"""What a budget's model was: of the lock, or counted at another revision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.budgeted_model import count_budget, load_budget
from convcost.errors import ConvcostError
from convcost.lock import entry_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.budget import Budget
    from convcost.lock import Entry
    from convcost.nn.measure_forwards import Forward
    from convcost.revision import Checkout

__all__ = ["Baseline", "based", "locked"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a model was: its costs, where they come from, and why there are none."""

    entry: Entry | None = None
    source: str = ""
    why: str = ""
    forward: Forward | None = None


def locked(budget: Budget, lock: Mapping[str, Entry]) -> Baseline:
    """The model as the lock has it."""
    entry = lock.get(budget.name)
    if entry is None:
        return Baseline(why="convcost.lock has no entry of it; write one with convcost check --update")
    return Baseline(entry, "convcost.lock", "a lock holds no times; compare two revisions here with --base REV")


def based(budget: Budget, checkout: Checkout, *, timed: bool) -> Baseline:
    """The model at another revision; a model that is not there has no baseline."""
    from convcost.nn.user_code import import_path  # noqa: PLC0415 - import convcost does without torch
    from convcost.nn.user_modules import other_checkout  # noqa: PLC0415 - the same

    folder, here = checkout.counterpart(budget.folder), checkout.counterpart(Path.cwd())
    try:
        with other_checkout(checkout.project, checkout.folder), import_path(folder, here):
            entry = entry_of(count_budget(replace(budget, folder=folder)))
            forward = load_budget(replace(budget, folder=folder)) if timed else None
    except ConvcostError as error:
        said = str(error).replace(str(checkout.folder), "").rstrip(".")
        return Baseline(why=f"it could not be counted at {checkout.revision}: {said}")
    return Baseline(entry, checkout.revision, "", forward)

"""What a budget's model was: of the lock, or counted at another revision by that revision's own configuration."""

from __future__ import annotations

import os
from contextlib import chdir
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.budgets.config_files import PYPROJECT, has_table, load_configuration
from convcost.budgets.layer_cost import entry_of
from convcost.text.errors import ConvcostError, NeedsValuesError
from convcost.workflows.model import count_target, load_forward

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from convcost.budgets.configuration import Configuration
    from convcost.budgets.layer_cost import Entry
    from convcost.budgets.limits import Budget
    from convcost.models.report import ModelReport
    from convcost.nn.measure.models import Forward
    from convcost.system.git_revision import Checkout


__all__ = ["BaseRevision", "Baseline", "baseline_at", "baseline_from_lock", "count_budget", "load_budget", "read_base"]

QUESTION: Final = {"target": "target", "args": "args", "inputs": "input"}
"""What a budget asks for, beside its limits, and the key in the configuration."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a model was.

    Attributes:
        entry: its costs; None where there are none, and `why` says so.
        source: where they come from, such as `convcost.lock`.
        locked: they come from the lock, which `convcost check --update` renews.
        why: there are no costs to compare with.
        untimed: there is no time to compare with.
        lost: there should be costs, and they could not be obtained.
        forward: the model, ready to be timed.
        notes: that change no verdict.
    """

    entry: Entry | None = None
    source: str = ""
    locked: bool = False
    why: str = ""
    untimed: str = ""
    lost: bool = False
    forward: Forward | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BaseRevision:
    """Another revision.

    Attributes:
        checkout: its files.
        configured: whether there is a configuration today, so that the revision may have one too.
        budgets: of its own configuration, by name; empty where it has none.
        damage: why its configuration cannot be read; empty where it can, or where there is none.
    """

    checkout: Checkout
    configured: bool
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    damage: str = ""

    def own(self, text: object) -> str:
        """A text without the temporary folder in which the revision lies."""
        return str(text).replace(f"{self.checkout.folder}{os.sep}", "")


def baseline_from_lock(budget: Budget, lock: Mapping[str, Entry]) -> Baseline:
    """The model as the lock has it."""
    entry, untimed = lock.get(budget.name), "a lock holds no times; compare two revisions here with base"
    if entry is None:
        why = "convcost.lock has no entry of it; write one with convcost check --update"
        return Baseline(why=why, untimed=untimed)
    return Baseline(entry, "convcost.lock", locked=True, untimed=untimed)


def read_base(checkout: Checkout, configuration: Configuration) -> BaseRevision:
    """A revision with the budgets of the configuration file that it has in the same place."""
    if not configuration.source:
        return BaseRevision(checkout, configured=False)
    path = checkout.counterpart(configuration.folder) / Path(configuration.source).name
    base = BaseRevision(checkout, configured=True)
    if not path.is_file() or (path.name == PYPROJECT and not has_table(path)):
        return base
    try:
        return replace(base, budgets={budget.name: budget for budget in load_configuration(path).budgets})
    except ConvcostError as error:
        return replace(base, damage=base.own(error.lines[0]).rstrip("."))


def baseline_at(budget: Budget, base: BaseRevision, *, timed: bool) -> Baseline:
    """The model at another revision, as its own configuration names it.

    A budget that is new has no baseline where its model is not there; that of a budget which was there is lost then.
    """
    from convcost.nn.count.operator_formulas import saved_formulas
    from convcost.nn.load.user_code import (
        import_path,
        other_checkout,
    )

    checkout, own = base.checkout, base.budgets.get(budget.name)
    there = own or replace(budget, folder=checkout.counterpart(budget.folder))
    here = checkout.counterpart(Path.cwd())
    try:
        with other_checkout(checkout.project, checkout.folder), import_path(there.folder, here), saved_formulas():
            entry = entry_of(count_budget(there))
            forward = load_budget(there) if timed else None
    except ConvcostError as error:
        said = base.own(error).rstrip(".")
        lacking = "".join(f"; submodule {path} is not here at that commit, fetch it" for path in checkout.lacking)
        why = f"it could not be counted at {checkout.revision}: {said}{lacking}"
        return Baseline(why=why, untimed=why, lost=own is not None or bool(base.damage))
    return Baseline(entry, checkout.revision, forward=forward, notes=tuple(_questions(budget, base)))


def _questions(budget: Budget, base: BaseRevision) -> list[str]:
    """What was asked of the model at the revision, where that is not what is asked today."""
    own, revision = base.budgets.get(budget.name), base.checkout.revision
    if own is None and base.configured:
        lacks = f"the configuration of {revision} cannot be read ({base.damage})"
        lacks = lacks if base.damage else f"{revision} has no such budget"
        return [f"{lacks}: the model was counted there with today's {_and(QUESTION.values())}."]
    other = [key for name, key in QUESTION.items() if own is not None and getattr(own, name) != getattr(budget, name)]
    return [f"{revision} has its own {_and(other)}, used to count the model there."] if other else []


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def count_budget(budget: Budget) -> ModelReport:
    """Count the model of a budget.

    Raises:
        ConvcostError: as `convcost model`.
    """
    with _standing_in(budget.folder):
        try:
            return count_target(budget.target, budget.inputs, budget.args, cross_check=False, device="meta")
        except NeedsValuesError:
            report = count_target(budget.target, budget.inputs, budget.args, cross_check=False, device="cpu")
            note = "the model looks at values: it was run once on the CPU to be counted."
            return replace(report, notes=(*report.notes, note))


def load_budget(budget: Budget) -> Forward:
    """The model of a budget with weights and its inputs, ready to be timed.

    Raises:
        ConvcostError: as `count_budget`.
    """
    with _standing_in(budget.folder):
        return load_forward(budget.target, budget.inputs, budget.args)


def _standing_in(folder: Path) -> chdir[Path]:
    """The folder that a target is relative to as the current one."""
    if not folder.is_dir():
        msg = f"folder (={folder}) must be there; the revision may be older than it."
        raise ConvcostError(msg)
    return chdir(folder)

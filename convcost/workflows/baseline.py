"""Baselines: the earlier cost of a budget's model, from the lock or counted at another revision."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.budgets.config_files import PYPROJECT, has_table, load_configuration
from convcost.changes.layer_cost import entry_of
from convcost.text.errors import ConvcostError
from convcost.workflows.budget_process import count_budget, mixed_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from convcost.budgets.configuration import Configuration
    from convcost.budgets.limits import Budget
    from convcost.changes.layer_cost import Entry
    from convcost.nn.load.source_tree import Sources
    from convcost.system.git_revision import Checkout

MODEL_KEYS: Final = {"target": "target", "args": "args", "inputs": "input"}
"""The fields of a budget that say what to count, with their keys in the configuration."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The earlier cost of a model.

    Attributes:
        entry: Earlier costs; None without any.
        source: Source of the costs, such as "convcost.lock".
        locked: Whether the costs come from the lock, which `convcost check --update` rewrites.
        why: Reason why there are no costs to compare with; empty with costs.
        untimed: Reason why there is no time to compare with; empty with a time.
        lost: Whether costs exist but could not be obtained.
        earlier: Budget whose target is the earlier model, for its timing; None where that cannot be loaded.
        checkout: Files of the earlier model; None without any.
        accepted: Costs in today's lock, which accept growth over another revision; None without any.
        notes: Notes that change no verdict.
    """

    entry: Entry | None = None
    source: str = ""
    locked: bool = False
    why: str = ""
    untimed: str = ""
    lost: bool = False
    earlier: Budget | None = None
    checkout: Checkout | None = None
    accepted: Entry | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BaseRevision:
    """Another revision with its configuration, and today's lock.

    Attributes:
        checkout: Files of the revision.
        lock: Entries of today's lock, by budget.
        configured: Whether the current revision has a configuration, so that this one may have one too.
        budgets: Budgets of the revision's own configuration, by name.
        damage: Reason why that configuration cannot be read; empty if it can, or does not exist.
    """

    checkout: Checkout
    lock: Mapping[str, Entry]
    configured: bool
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    damage: str = ""


def baseline_from_lock(budget: Budget, lock: Mapping[str, Entry]) -> Baseline:
    """The baseline of the lock."""
    entry, untimed = lock.get(budget.name), "a lock holds no times; compare two revisions here with base"
    if entry is None:
        why = "convcost.lock has no entry of it; write one with convcost check --update"
        return Baseline(why=why, untimed=untimed)
    return Baseline(entry, "convcost.lock", locked=True, untimed=untimed)


def read_base(checkout: Checkout, configuration: Configuration, lock: Mapping[str, Entry]) -> BaseRevision:
    """A revision with the budgets of its own configuration, which is the file of the same path."""
    if not configuration.source:
        return BaseRevision(checkout, lock, configured=False)
    path = checkout.counterpart(configuration.folder) / Path(configuration.source).name
    base = BaseRevision(checkout, lock, configured=True)
    if not path.is_file() or (path.name == PYPROJECT and not has_table(path)):
        return base
    try:
        return replace(base, budgets={budget.name: budget for budget in load_configuration(path).budgets})
    except ConvcostError as error:
        return replace(base, damage=checkout.without_folder(error.lines[0]).rstrip("."))


def baseline_at(budget: Budget, base: BaseRevision, head: Sources) -> Baseline:
    """The baseline at another revision, counted as that revision's own configuration says.

    If the model cannot be counted there, or with modules that are not that revision's, the baseline is lost, unless the
    budget is new.

    Args:
        budget: Budget of today.
        base: The revision.
        head: Where the modules of today's model come from.
    """
    checkout, own = base.checkout, base.budgets.get(budget.name)
    earlier = own or replace(budget, folder=checkout.counterpart(budget.folder))
    try:
        counted = count_budget(earlier, checkout)
    except ConvcostError as error:
        reason = checkout.without_folder(error).rstrip(".")
        lacking = "".join(f"; submodule {path} is not here at that commit, fetch it" for path in checkout.lacking)
        why = f"it could not be counted at {checkout.revision}: {reason}{lacking}"
        return Baseline(why=why, untimed=why, lost=own is not None or bool(base.damage))
    why = mixed_up(head, counted.sources, checkout)
    if why:
        return Baseline(why=why, untimed=why, lost=True)
    entry, accepted, notes = entry_of(counted.report), base.lock.get(budget.name), _key_notes(budget, base)
    return Baseline(entry, checkout.revision, earlier=earlier, checkout=checkout, accepted=accepted, notes=notes)


def _key_notes(budget: Budget, base: BaseRevision) -> tuple[str, ...]:
    """A note if the model was counted at the revision with another target, arguments or inputs than today."""
    own, revision = base.budgets.get(budget.name), base.checkout.revision
    if own is None and base.configured:
        problem = f"{revision} has no such budget"
        if base.damage:
            problem = f"the configuration of {revision} cannot be read ({base.damage})"
        return (f"{problem}: the model was counted there with today's {_and(MODEL_KEYS.values())}.",)
    other = [key for name, key in MODEL_KEYS.items() if own is not None and getattr(own, name) != getattr(budget, name)]
    return (f"{revision} has its own {_and(other)}, used to count the model there.",) if other else ()


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last

"""The model of a budget, counted and loaded where its target is relative to."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import replace
from typing import TYPE_CHECKING

from convcost.text.errors import ConvcostError, NeedsValuesError
from convcost.workflows.model import count_target, load_forward

if TYPE_CHECKING:
    from pathlib import Path

    from convcost.budgets.limits import Budget
    from convcost.models.report import ModelReport
    from convcost.nn.measure.forwards import Forward

__all__ = ["count_budget", "load_budget"]


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

"""The totals of the budgets in the commits that changed the lock."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.system.git_revision import versions_of
from convcost.text.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_COMMITS: Final = 20
"""Maximum number of commits, the latest ones."""
_LAYERS: Final = re.compile(rb"^\[budget\.[^\n]*\.layers\]\r?\n.*?(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
"""The lines of the layers, most of a lock, which no total needs."""


@dataclass(frozen=True, slots=True)
class LockedTotals:
    """The totals of the lock that a commit left.

    Attributes:
        commit: Short hash of the commit.
        subject: First line of its message.
        totals: Totals by budget and metric.
    """

    commit: str
    subject: str
    totals: Mapping[str, Mapping[str, int]]


def lock_history(path: Path) -> tuple[LockedTotals, ...]:
    """The totals in the latest commits that changed a lock, the oldest first; a damaged lock has none.

    Args:
        path: Path of the lock.
    """
    if not path.exists():
        return ()
    return tuple(
        LockedTotals(one.commit, one_line(one.subject), _totals(one.content)) for one in versions_of(path, MAX_COMMITS)
    )


def _totals(content: bytes) -> dict[str, dict[str, int]]:
    try:
        budgets = tomllib.loads(_LAYERS.sub(b"", content).decode()).get("budget")
    except (ValueError, RecursionError):  # not TOML, as in the middle of a merge
        return {}
    tables: dict[str, Any] = budgets if isinstance(budgets, dict) else {}
    return {name: _numbers(table) for name, table in tables.items() if isinstance(table, dict)}


def _numbers(table: Mapping[str, object]) -> dict[str, int]:
    """The totals of an entry, FLOPs among them."""
    totals = {name: value for name, value in table.items() if isinstance(value, int) and not isinstance(value, bool)}
    return totals | ({"flops": FLOPS_PER_MAC * totals["macs"]} if "macs" in totals else {})

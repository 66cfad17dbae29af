"""The columns of `convcost diff`, in the order of CSV and JSON; those with the largest widths are left out first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from convcost.models.columns import MODEL_COLUMNS
from convcost.text.columns import Column
from convcost.text.units import human_bytes, human_count
from convcost.timing.columns import condition_columns, timing_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.changes.diff_row import Amount, DiffRow
    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Timing

MARKS: Final = {"same": " ", "changed": "~", "added": "+", "removed": "-"}
"""The sign before a layer's name, by kind of change."""
_OF_A_CALL: Final = {column.name: column for column in MODEL_COLUMNS}


def _sides(field: str, name: str, title: str = "", width: int = 0) -> tuple[Column[DiffRow], Column[DiffRow]]:
    """A column of `convcost model` for the first and for the second model.

    Args:
        field: Name of the column there.
        name: Name here, with {} for the model.
        title: Head in the terminal's table, with {} for the model; empty for a column that is not shown there.
        width: Minimum terminal width, in characters.
    """
    column = replace(_OF_A_CALL[field], width=width)
    first, second = (
        replace(
            column, name=name.format(side), title=title.format(side.upper()), meaning=f"{column.meaning}, in {which}"
        )
        for side, which in (("a", "the first model"), ("b", "the second model"))
    )
    return first.of(lambda row: row.before), second.of(lambda row: row.after)


def _delta(amount: Amount, name: str, title: str, show: Callable[[int], str], width: int = 0) -> Column[DiffRow]:
    """The difference of an amount."""
    meaning = f"{_OF_A_CALL[amount].meaning}: second model - first"
    return Column(name, lambda row: row.delta(amount), meaning, title, lambda one: signed(one, show), width=width)


def _timing(row: DiffRow) -> Timing | None:
    return row.timing


def _conditions(row: DiffRow) -> Conditions | None:
    return next((call.conditions for call in (row.after, row.before) if call and call.conditions), None)


def signed(count: int, show: Callable[[int], str]) -> str:
    """A difference as text, with its sign."""
    return f"{'+' if count > 0 else ''}{show(count)}"


DIFF_COLUMNS: Final[tuple[Column[DiffRow], ...]] = (
    Column(
        "change",
        lambda row: row.change,
        "same, changed, added or removed; a renamed layer is the same",
        "layer",
        cell=lambda row: f"{MARKS[row.change or 'same']} {row.name}",
    ),
    *_sides("name", "name_{}"),
    Column(
        "what",
        lambda row: row.what or None,
        "change of the layer in words; what an added or removed layer is; the former name",
        "what",
    ),
    *_sides("op", "op_{}"),
    *_sides("input_shape", "input_shape_{}"),
    *_sides("output_shape", "output_shape_{}"),
    *_sides("params", "params_{}", "params {}", 52),
    _delta("params", "params_delta", "Δ params", human_count),
    *_sides("macs", "macs_{}", "MACs {}", 51),
    _delta("macs", "macs_delta", "Δ MACs", human_count),
    *_sides("traffic_bytes", "traffic_{}_bytes", "traffic {}", 53),
    _delta("traffic_bytes", "traffic_delta", "Δ traffic", human_bytes, 50),
    *_sides("time_s", "time_{}_s", "time {}"),
    *timing_columns(_timing, speedup=0, speedup_low=None, speedup_high=None, verdict=None),
    *_sides("bound_s", "bound_{}_s"),
    *_sides("account", "account_{}"),
    *_sides("hint", "hint_{}"),
    *_sides("warning", "warning_{}"),
    *condition_columns(_conditions, device=None, dtype=None, threads=None, memory_format=None, allocator=None),
    *condition_columns(_conditions, torch_version=None, cpu=None),
)
"""The fields of a layer in two models."""

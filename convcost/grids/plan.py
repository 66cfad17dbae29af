"""The plan of a sweep: how many rows, how large, how long, from rows that are spread over each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.text.columns import Column, records
from convcost.text.result import Result
from convcost.text.units import human_bytes, human_count, human_duration, number_of, thousands

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What a sweep does for one block.

    Attributes:
        block: Name of the block.
        combinations: Number of combinations of its axes.
        parts: Number of its parts.
        done: Number of parts that an earlier run has done.
        rows: Estimated number of rows that the block and the conditions allow.
        size: Estimated bytes of its parts; None where no parts are kept.
        seconds: Estimated time of the work that is left, with one process.
    """

    block: str
    combinations: int
    parts: int
    done: int
    rows: int
    size: int | None
    seconds: float


PLAN_COLUMNS: Final[tuple[Column[BlockPlan], ...]] = (
    Column("block", lambda row: row.block, "name of the block in the catalogue", "block"),
    Column("combinations", lambda row: row.combinations, "combinations of its axes", "combinations", thousands),
    Column("parts", lambda row: row.parts, "parts of the sweep", "parts", thousands),
    Column("parts_done", lambda row: row.done, "parts that an earlier run has done"),
    Column(
        "rows_estimate",
        lambda row: row.rows,
        "rows that block and conditions allow, estimated",
        "about rows",
        human_count,
    ),
    Column("bytes_estimate", lambda row: row.size, "bytes of the parts, estimated", "about bytes", human_bytes),
    Column(
        "seconds_estimate",
        lambda row: row.seconds,
        "time of one process for the parts that are left, estimated",
        "about time",
        human_duration,
    ),
)
"""The fields of `convcost sweep --dry-run`."""


_TOTALS: Final = ("combinations", "parts", "done", "rows", "size", "seconds")
"""Fields of a block's plan that are added up."""


@dataclass(frozen=True, slots=True, repr=False)
class Plan(Result[BlockPlan]):
    """The plan of a sweep.

    Attributes:
        rows: One for each block.
        sampled: Number of combinations that were predicted for the estimates.
        notes: Remarks for the user.
    """

    SCHEMA: ClassVar = "convcost.sweep-plan/1"
    rows: tuple[BlockPlan, ...]
    sampled: int
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> Sequence[Column[BlockPlan]]:
        """The columns of the table."""
        return PLAN_COLUMNS

    @property
    def head(self) -> str:
        """The line above the table."""
        return f"plan of a sweep of {human_count(self.total('combinations'))} combinations; nothing is written"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The totals, and what they are worth."""
        combinations, parts, done, rows, size, seconds = map(self.total, _TOTALS)
        time = [] if done == parts else [human_duration(seconds) + (" for the rest" if done else "")]
        about = [f"{human_count(rows)} rows", *([] if size is None else [human_bytes(size)]), *time]
        from_where = f"estimated from {thousands(self.sampled)} combinations, spread over each block"
        there = f", of which {thousands(done)} {'is' if done == 1 else 'are'} done" if done else ""
        return (
            f"{thousands(combinations)} combinations in {number_of('part', parts)}{there}",
            f"about {', '.join(about)}: {from_where}",
        )

    def total(self, name: str) -> Any:  # noqa: ANN401 - a number of the field's type
        """The sum of a field; None where it has no values."""
        values = [getattr(row, name) for row in self.rows]
        return None if None in values else sum(values)

    def _fields(self) -> dict[str, Any]:
        totals = {name: self.total(name) for name in _TOTALS}
        names = [column.name for column in PLAN_COLUMNS[1:]]
        return {
            "totals": dict(zip(names, totals.values(), strict=True)),
            "sampled": self.sampled,
            "blocks": records(PLAN_COLUMNS, self.rows),
        }

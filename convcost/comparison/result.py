"""The result of `convcost compare`: rows, what they were made under, and what there is to say about them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from convcost.comparison.verdict import verdict
from convcost.text.columns import COMPARE_COLUMNS, records
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.comparison.rows import Row
    from convcost.text.columns import Column
    from convcost.timing.machine import Machine

__all__ = ["Comparison"]

SCHEMA: Final = "convcost.compare/1"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Blocks on one layer shape, side by side.

    Attributes:
        rows: one a block and device.
        command: the call that makes it again.
        settings: the conditions that were asked for.
        notes: what concerns no single row, such as a block that the shape does not allow.
        machines: by device, whose roofs the bounds are from; without those that are not calibrated.
        columns: of the table and the frame; the JSON object always has all.
    """

    rows: tuple[Row, ...]
    command: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    machines: Mapping[str, Machine] = field(default_factory=dict)
    columns: tuple[Column, ...] = COMPARE_COLUMNS

    @property
    def conditions(self) -> dict[str, Any]:
        """What was asked for, and what the first timed row was really made under."""
        seen = next((row.conditions for row in self.rows if row.conditions is not None), None)
        actual = {} if seen is None else {name: getattr(seen, name) for name in seen.__slots__}
        return {**self.settings, **actual}

    @property
    def agrees(self) -> bool:
        """Whether no independent witness differs: the counters from the formula, oneDNN from the layer that it ran."""
        counted = (row.counts is None or row.counts.agree is not False for row in self.rows)
        witnessed = (row.account is None or row.account.agreement.agrees is not False for row in self.rows)
        return all(counted) and all(witnessed)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One line a block that is not the baseline."""
        return tuple(filter(None, map(verdict, self.rows)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each row's warning, by the block's name."""
        return tuple(f"{row.placed.block.name}: {row.warning}" for row in self.rows if row.warning)

    @property
    def head(self) -> str:
        """One line that says what was compared, and under which conditions."""
        spec = self.rows[0].placed.spec
        layer = f"{spec.in_channels}→{spec.out_channels}, {format_sizes(spec.kernel_size)}"
        shape = format_sizes((spec.batch, spec.in_channels, spec.height, spec.width))
        timed = next((row.conditions for row in self.rows if row.conditions is not None), None)
        parts = [layer, f"input {shape}", self.rows[0].dtype]
        if timed is not None:
            parts.append(timed.summary)
        return ", ".join(parts) + "; 1 MAC = 2 FLOPs"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `convcost compare --format json`."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "conditions": self.conditions,
            "rows": records(COMPARE_COLUMNS, self.rows),
            "machines": {device: asdict(machine) for device, machine in self.machines.items()},
        }

    def to_frame(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame; naming the type would import pandas
        """The rows as a pandas DataFrame with the columns of the CSV."""
        from convcost.text.export import frame  # noqa: PLC0415 - pandas only for those who ask for it

        return frame(self.columns, self.rows)

    def _repr_html_(self) -> str:
        """The rows as a notebook shows them."""
        from convcost.text.export import notebook  # noqa: PLC0415 - pandas only for those who ask for it

        return notebook(self.columns, self.rows, self.verdicts)

    def __str__(self) -> str:
        """The plain table with its verdicts."""
        from convcost.text.plain import plain_table  # noqa: PLC0415 - only for those who print it

        return "\n".join((self.head, plain_table(self.columns, self.rows), *self.verdicts))

"""Many configurations of one model: one row each, with what it costs or the reason why it could not be counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.text.columns import Column, records
from convcost.text.result import Result
from convcost.text.units import human_bytes, human_count, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.models.report import ModelReport
    from convcost.text.figure import Figure


@dataclass(frozen=True, slots=True)
class Variant:
    """One configuration.

    Attributes:
        arguments: Arguments of the factory.
        report: Its count; None where it failed.
        error: Why it failed.
    """

    arguments: Mapping[str, Any]
    report: ModelReport | None
    error: str | None = None

    @property
    def traffic_bytes(self) -> int | None:
        """Compulsory traffic of all calls."""
        return None if self.report is None else sum(row.traffic_bytes for row in self.report.layers)

    @property
    def uncounted(self) -> tuple[str, ...] | None:
        """Operators without a formula; the MACs are then a lower bound."""
        return None if self.report is None else tuple(missed.op for missed in self.report.uncounted)


SWEEP_COLUMNS: Final[tuple[Column[Variant], ...]] = (
    Column("params", lambda row: row.report and row.report.totals.params, "parameters", "params", human_count),
    Column("macs", lambda row: row.report and row.report.totals.macs, "multiply-accumulates", "MACs", human_count),
    Column("traffic_bytes", lambda row: row.traffic_bytes, "tensors in and out of all calls", "traffic", human_bytes),
    Column(
        "peak_activation_bytes",
        lambda row: row.report and row.report.totals.peak_activation_bytes,
        "the largest sum of activations that are alive at one call",
        "peak",
        human_bytes,
    ),
    Column("uncounted", lambda row: row.uncounted or None, "operators without a formula", "not counted", flat=" ".join),
    Column("error", lambda row: row.error, "why the configuration could not be counted", "error"),
)
"""What follows the arguments."""


@dataclass(frozen=True, slots=True, repr=False)
class Sweep(Result[Variant]):
    """The counts of many configurations.

    Attributes:
        factory: Name of what makes the model.
        rows: One for each configuration that was reached, in order.
        requested: Number of configurations; more than the rows after an interrupt. None where it is not known.
    """

    SCHEMA: ClassVar = "convcost.sweep/1"
    factory: str
    rows: tuple[Variant, ...]
    requested: int | None

    @property
    def columns(self) -> tuple[Column[Variant], ...]:
        """The arguments, in the order in which they appear, then what each configuration costs.

        An argument of the name of a cost is `argument_` and its name.
        """
        names = {name: None for row in self.rows for name in row.arguments}
        return (*map(_argument, names), *SWEEP_COLUMNS)

    @property
    def head(self) -> str:
        """One line that says what was counted."""
        return f"{self.factory}, {number_of('configuration', len(self.rows))}; 1 MAC = 2 FLOPs"

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether an interrupt ended it."""
        if self.requested is None or len(self.rows) == self.requested:
            return ()
        return (f"interrupted after {len(self.rows)} of {self.requested} configurations.",)

    @property
    def reports(self) -> tuple[ModelReport | None, ...]:
        """The whole count of each configuration; None where it failed."""
        return tuple(row.report for row in self.rows)

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """The MACs and parameters of each configuration, with those that no other one beats in both."""
        from convcost.models.figures import sweep_figures

        points = {}
        for row in self.rows:
            if row.report is not None and row.report.totals.params is not None:
                name = ", ".join(f"{name}={value}" for name, value in row.arguments.items())
                points[name] = (row.report.totals.macs, row.report.totals.params)
        return sweep_figures(points)

    def _fields(self) -> dict[str, Any]:
        costs = records(SWEEP_COLUMNS, self.rows)
        rows = [{"arguments": dict(row.arguments), **cost} for row, cost in zip(self.rows, costs, strict=True)]
        return {"factory": self.factory, "configurations": rows}


def _argument(name: str) -> Column[Variant]:
    column = f"argument_{name}" if name in {cost.name for cost in SWEEP_COLUMNS} else name
    return Column(column, lambda row: row.arguments.get(name), "an argument of the factory", column)

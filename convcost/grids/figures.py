"""The figure of a sweep: its rows in two costs, with those that no other row beats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convcost.grids.measured import EVERY
from convcost.grids.reduction import Pareto
from convcost.text.figure import MAX_POINTS, Choice, Figure, Quantity, front
from convcost.text.units import human_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow.dataset

    from convcost.grids.columns import GridColumn


def grid_figures(
    rows: pyarrow.dataset.Dataset, count: int, described: Sequence[str], goals: Sequence[str] = ()
) -> tuple[Figure, ...]:
    """The rows in two costs, with those that no other row beats: all of these, up to a limit, and some of the others.

    Args:
        rows: Rows of the sweep.
        count: Number of rows.
        described: Columns that name a row.
        goals: Columns to draw, if there are two; else MACs and parameters, or the first two costs.
    """
    costs = [name for name in (*goals, "macs", "params", *rows.schema.names) if name in EVERY]
    costs = list(dict.fromkeys(name for name in costs if EVERY[name].better and name in rows.schema.names))[:2]
    if len(costs) < 2:  # noqa: PLR2004 - two axes
        return (Figure("No two costs of the rows are known; a sweep with the columns macs and params has them."),)
    described = [name for name in described if name in rows.schema.names]
    points = _points(rows, count, described, [EVERY[name] for name in costs])
    if not points:
        return (Figure("No row has both costs."),)
    x, y = (_quantity(EVERY[name]) for name in costs)
    question = f"Which rows does no other beat in both {x.title} and {y.title}? Those on the line."
    choices = [
        Choice(
            ", ".join(_named(name, row[name]) for name in described if row[name] is not None),
            row[costs[0]],
            row[costs[1]],
            row["block"] if "block" in described else "",
        )
        for row in points
    ]
    return (front(question, choices, (x, y), len(points) if count <= MAX_POINTS else count),)


def _points(
    rows: pyarrow.dataset.Dataset, count: int, described: Sequence[str], costs: Sequence[GridColumn]
) -> list[Mapping[str, Any]]:
    """Rows to draw: some of those that no other row beats, and each of a number of rows that is far from the next."""
    import numpy as np
    import pyarrow as pa

    names = [*described, *(cost.name for cost in costs)]
    best, others, first, step = Pareto(costs), [], 0, -(-count // MAX_POINTS) or 1
    for batch in rows.to_batches(columns=names, batch_readahead=0, fragment_readahead=0):  # memory for one part
        table = pa.Table.from_batches([batch])
        best.add(table, first)
        others.append(table.take(np.arange(-first % step, table.num_rows, step)))
        first += table.num_rows
    listed: Sequence[Mapping[str, Any]] = pa.concat_tables(others).to_pylist()
    if step > 1:
        on_front = best.result().to_pylist()
        on_front = on_front[:: max(1, -(-len(on_front) // MAX_POINTS))]
        both = [{name: row[name] for name in names} for row in (*on_front, *listed)]
        listed = list({tuple(row.values()): row for row in both}.values())
    return [row for row in listed if all(row[cost.name] is not None for cost in costs)]


def _named(name: str, value: object) -> str:
    return str(value) if name == "block" else f"{name}={value}"


def _quantity(column: GridColumn) -> Quantity:
    like = column.compared
    title = like.title if like is not None and column.better == "smaller" else column.name
    show = like.show if like is not None and like.show is not None else str
    unit = "B" if column.name == "traffic_bytes" else "s" if show is human_time else ""
    return Quantity(title, show, unit, column.better == "larger", is_whole=column.kind == "int")

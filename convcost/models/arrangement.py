"""The rows of a model for people: added up below a depth, sorted, cut. The report's totals stay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from convcost.convolution.shape import require_at_least
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from convcost.models.report import Call, ModelReport

__all__ = ["arrange"]

ORDERS: Final = {"macs": "macs", "params": "params", "traffic": "traffic_bytes", "time": "time_s"}


def arrange(report: ModelReport, *, depth: int | None, sort: str | None, top: int | None) -> ModelReport:
    """The report with fewer or differently ordered rows.

    Args:
        report: with its rows in the order of the forward pass.
        depth: rows of modules deeper than this are added up.
        sort: macs, params, traffic or time: largest first.
        top: only so many rows.

    Raises:
        ConvcostError: an unknown order, a depth or a number of rows below 1.
    """
    if sort is not None and sort not in ORDERS:
        msg = f"sort (={sort}) must be one of {', '.join(ORDERS)}."
        raise ConvcostError(msg)
    rows = report.layers
    if sort == "time" and all(row.time_s is None for row in rows):
        msg = "sort (=time) must have times to sort by; turn time on."
        raise ConvcostError(msg)
    if depth is not None:
        require_at_least(1, depth=depth)
        rows = _added_up(rows, depth)
    if sort is not None:
        rows = tuple(sorted(rows, key=lambda row: -(getattr(row, ORDERS[sort]) or 0)))
    if top is not None:
        require_at_least(1, top=top)
        rows = rows[:top]
    return replace(report, layers=rows)


def _sum_of_known(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other


def _added_up(rows: tuple[Call, ...], depth: int) -> tuple[Call, ...]:
    """One row for each module at this depth, where its first call stands."""
    merged: dict[str, Call] = {}
    for row in rows:
        name = ".".join(row.name.split("#")[0].split(".")[:depth])
        known = merged.get(name)
        if known is None:
            merged[name] = replace(row, name=name)
        else:
            merged[name] = replace(
                known,
                op="(several)",
                output_shape=row.output_shape,
                params=known.params + row.params,
                macs=known.macs + row.macs,
                traffic_bytes=known.traffic_bytes + row.traffic_bytes,
                macs_share=None if known.macs_share is None else known.macs_share + (row.macs_share or 0.0),
                conv=None,
                inputs=(),
                time_s=_sum_of_known(known.time_s, row.time_s),
                bound=None,
                account=None,
                hint=None,
            )
    return tuple(merged.values())

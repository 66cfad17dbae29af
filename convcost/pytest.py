"""A model's budget as an assertion: the message of a failure is the table of its layers.

Installed with convcost, the plugin `convcost.pytest_plugin` gives the same as a fixture and a marker.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convcost.api import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from convcost.models.report import ModelReport

__all__ = ["assert_cost"]

SHOWN = 30
"""Layers in the message, the largest first when there are more."""


def assert_cost(  # noqa: PLR0913 - a model, its inputs and its limits
    model: nn.Module,
    inputs: Sequence[Any] | Tensor,
    kwargs: Mapping[str, Any] | None = None,
    *,
    max_params: str | int | None = None,
    max_macs: str | int | None = None,
    max_flops: str | int | None = None,
    max_weight_bytes: str | int | None = None,
    max_peak_activation_bytes: str | int | None = None,
    strict: bool = True,
    device: str = "meta",
) -> ModelReport:
    """Assert that a model stays within its budget; nothing is allocated and nothing computed.

    Args:
        model: any module.
        inputs: its positional arguments, real or meta tensors.
        kwargs: its keyword arguments.
        max_params: a number of parameters, such as "4.3 M".
        max_macs: a number of MACs.
        max_flops: a number of FLOPs, 2 a MAC.
        max_weight_bytes: such as "17 MB".
        max_peak_activation_bytes: such as "10 MB".
        strict: operations without a formula fail the assertion: the MACs are then a lower bound.
        device: "cpu" for a model that looks at the values of its tensors.

    Returns:
        The count, for further assertions.

    Raises:
        AssertionError: over budget, with the reasons and the table of layers.
        ConvcostError: a quantity of another kind, no limit, or a module that refuses its input.

    >>> import torch
    >>> assert_cost(torch.nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 8, 8), max_params=224).totals.macs
    7776
    """
    maxima = {
        "params": max_params,
        "macs": max_macs,
        "flops": max_flops,
        "weight_bytes": max_weight_bytes,
        "peak_activation_bytes": max_peak_activation_bytes,
    }
    __tracebackhide__ = True
    report = count(model, inputs, kwargs, device=device)
    from convcost.workflows.check import check_report

    result = check_report(report, maxima, strict=strict)
    if not result.passed:
        raise AssertionError("\n".join((*result.verdicts, "", *_layers(report))))
    return report


def _layers(report: ModelReport) -> tuple[str, ...]:
    """The table of the layers, the largest alone when there are many, and the totals."""
    from convcost.text.table import plain_table

    rows = report.layers
    if len(rows) > SHOWN:
        rows = tuple(sorted(rows, key=lambda row: (row.macs, row.params), reverse=True)[:SHOWN])
    left = len(report.layers) - len(rows)
    shown = replace(report, layers=rows)
    more = (f"and {left} smaller layers",) if left else ()
    return (report.head, plain_table(shown.columns, shown.layers), *more, *report.verdicts)

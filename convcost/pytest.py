"""The assertion that a model stays within its budget; its failure shows the table of layers.

The pytest plugin in `convcost.pytest_plugin` provides it as a fixture and a marker.
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

MAX_LAYERS = 30
"""Maximum number of layers in the message, the largest ones."""


def assert_cost(  # noqa: PLR0913 - one argument for each metric
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
        model: Module to count.
        inputs: Positional arguments of the model, real or meta tensors.
        kwargs: Keyword arguments of the model.
        max_params: Maximum number of parameters, such as "4.3 M".
        max_macs: Maximum number of MACs, such as "580 M".
        max_flops: Maximum number of FLOPs (2 per MAC), such as "1.2 G".
        max_weight_bytes: Maximum size of the parameters, such as "17 MB".
        max_peak_activation_bytes: Maximum peak size of the activations, such as "10 MB".
        strict: Whether operations without a formula fail the assertion, since the MACs are then a lower bound.
        device: "cpu" for a model that depends on the values of its tensors; "auto" for the CPU where it must be.

    Returns:
        The count, for further assertions.

    Raises:
        AssertionError: A limit is exceeded; the message has the reasons and the table of layers.
        ConvcostError: A quantity of another kind, no limit, or a module that refuses its input.

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
    """The table of the layers, or of the largest ones, and the totals."""
    from convcost.text.table import plain_table

    rows = report.layers
    if len(rows) > MAX_LAYERS:
        rows = tuple(sorted(rows, key=lambda row: (row.macs, row.params), reverse=True)[:MAX_LAYERS])
    hidden = len(report.layers) - len(rows)
    more = (f"and {hidden} smaller layers",) if hidden else ()
    return (report.head, plain_table(replace(report, layers=rows).columns, rows), *more, *report.verdicts)

"""The assertion that a model stays within its budget; its failure shows the largest layers.

The pytest plugin in `convcost.pytest_plugin` provides it as a fixture and a marker.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from convcost.api import count
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from convcost.budgets.result import CheckResult
    from convcost.changes.layer_cost import Entry
    from convcost.models.report import ModelReport

__all__ = ["assert_cost"]

MAX_LAYERS = 10
"""Maximum number of layers in the message, the largest ones."""
LAYER_FIELDS = {"weight_bytes": "params", "peak_activation_bytes": "traffic_bytes"}
"""Field of a layer that adds to a metric, where its name is another."""
WIDTH = 72
"""Width of the message, beside the margin of eight characters that pytest puts before it."""
LAST_PASS: ContextVar[Entry | None] = ContextVar("LAST_PASS", default=None)
"""Costs of the model when the running test passed last, which the plugin knows."""
PREFIX = "AssertionError: "
"""Text that pytest puts before the first line."""


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
        AssertionError: A limit is exceeded; the message has the reasons and the largest layers.
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

    result = check_report(report, maxima, strict=strict, before=LAST_PASS.get())
    if not result.passed:
        raise AssertionError(_message(report, result))
    return report


def _message(report: ModelReport, result: CheckResult) -> str:
    """The verdicts, the totals, and the largest layers unless changes explain the verdicts, in 80 columns."""
    from convcost.text.table import wrapped

    explained = any(one.changes for one in result.budgets)
    layers = () if explained else _layers(report, result)
    lines = (*result.verdicts, "", report.head, *layers, *report.verdicts)
    opening = wrapped(f"{' ' * len(PREFIX)}{lines[0]}", WIDTH)[len(PREFIX) :]
    return "\n".join((opening, *(line if "\n" in line else wrapped(line, WIDTH) for line in lines[1:])))


def as_json(report: ModelReport) -> dict[str, Any]:
    """The costs of a model as JSON, for `from_json`."""
    from convcost.changes.layer_cost import entry_of

    return asdict(entry_of(report))


def from_json(stored: Any) -> Entry | None:  # noqa: ANN401 - whatever the cache of pytest holds
    """Costs that `as_json` gave; None for anything else, such as those of another version."""
    from convcost.changes.layer_cost import Entry, LayerCost

    try:
        layers = {name: LayerCost(**layer) for name, layer in stored["layers"].items()}
        return Entry(**{**stored, "input": tuple(stored["input"]), "layers": layers})
    except (AttributeError, KeyError, TypeError):
        return None


def _layers(report: ModelReport, result: CheckResult) -> Iterator[str]:
    """The table of the layers that have a share in a limited figure that did not pass, largest first."""
    from convcost.text.columns import choose_columns
    from convcost.text.table import plain_table

    broken = [row.judged.limit.metric for row in result.rows if row.judged.verdict != "pass"]
    fields = tuple(dict.fromkeys(LAYER_FIELDS.get(metric, metric) for metric in broken))
    sizes = {call.name: tuple(getattr(call, field) for field in fields) for call in report.layers}
    calls = [call for call in report.layers if any(sizes[call.name])]
    calls.sort(key=lambda call: sizes[call.name], reverse=True)
    if calls:
        names = ",".join(("name", "op", "input_shape", *fields, *(["macs_share"] if "macs" in fields else [])))
        yield plain_table(choose_columns(report.columns, names), calls[:MAX_LAYERS])
    if len(calls) > MAX_LAYERS:
        yield f"and {number_of('smaller layer', len(calls) - MAX_LAYERS)}"

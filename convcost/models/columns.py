"""The columns of `convcost model`, in the order of CSV and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.text.columns import Column
from convcost.text.units import human_bytes, human_count, human_share, human_time, three_digits
from convcost.timing.columns import ACCOUNT_COLUMNS, condition_columns

if TYPE_CHECKING:
    from convcost.models.call import Call
    from convcost.timing.conditions import Conditions


def _conditions(row: Call) -> Conditions | None:
    return row.conditions


def _time_text(row: Call) -> str:
    """The median time, marked `!` if there is a warning."""
    return "-" if row.time_s is None else human_time(row.time_s) + (" !" if row.warning else "")


def _bound(row: Call) -> str:
    return "≥" if row.uncounted else ""


MODEL_COLUMNS: Final[tuple[Column[Call], ...]] = (
    Column(
        "name",
        lambda row: row.name,
        "path of the module; path#2 for its second call, path.matmul#1 for a functional call",
        "layer",
    ),
    Column("op", lambda row: row.op, "class of the module, or name of the function", "op", width=110),
    Column("input_shape", lambda row: row.input_shape, "shape of the first input tensor", "in", width=110),
    Column("output_shape", lambda row: row.output_shape, "shape of the first output tensor", "out", width=74),
    Column(
        "kernel_size",
        lambda row: row.conv and row.conv.kernel_size,
        "kernel size of a convolution",
        "kernel",
        width=140,
    ),
    Column("stride", lambda row: row.conv and row.conv.stride, "stride of a convolution", "stride", width=160),
    Column("padding", lambda row: row.padding, "padding of a convolution"),
    Column("dilation", lambda row: row.conv and row.conv.dilation, "dilation of a convolution"),
    Column("groups", lambda row: row.conv and row.conv.groups, "groups of a convolution", "groups", width=160),
    Column("in_channels", lambda row: row.conv and row.conv.in_channels, "input channels of a convolution"),
    Column("out_channels", lambda row: row.conv and row.conv.out_channels, "output channels of a convolution"),
    Column(
        "params",
        lambda row: None if row.has_packed else row.params,
        "parameters that no earlier call used; empty for packed weights",
        "params",
        human_count,
    ),
    Column("macs", lambda row: row.macs, "multiply-accumulates", "MACs", human_count, mark=_bound),
    Column(
        "flops",
        lambda row: row.flops,
        "floating-point operations: 2 x MACs",
        "FLOPs",
        human_count,
        width=160,
        mark=_bound,
    ),
    Column(
        "traffic_bytes",
        lambda row: row.traffic_bytes,
        "bytes of input tensors, parameters and output tensors, each moved once",
        "traffic",
        human_bytes,
        width=95,
    ),
    Column("flop_per_byte", lambda row: row.flop_per_byte, "FLOPs / traffic_bytes", "FLOP/B", three_digits, width=130),
    Column("macs_share", lambda row: row.macs_share, "share of the model's MACs", "share", human_share, width=75),
    Column(
        "time_s", lambda row: row.time_s, "median seconds per call of the layer alone", "time", human_time, _time_text
    ),
    Column(
        "bound_s",
        lambda row: row.bound and row.bound.seconds,
        "bound: the least time this machine could take, seconds; empty if the least work is unknown, as for views",
        "bound",
        human_time,
        width=80,
    ),
    Column(
        "bound",
        lambda row: row.bound and row.bound.roof,
        "roof of the bound: compute, memory or overhead",
        "roof",
        width=120,
    ),
    Column(
        "bound_level",
        lambda row: row.bound and row.bound.level,
        "memory level of the bound, if its roof is memory",
    ),
    Column(
        "attained",
        lambda row: row.attained,
        "bound_s / time_s; 1 is fastest",
        "attained",
        cell=lambda row: "-" if row.bound is None else row.bound.attained_text(row.attained),
        width=100,
    ),
    Column("warning", lambda row: row.warning, "reasons not to trust the row's time"),
    *ACCOUNT_COLUMNS,
    *condition_columns(_conditions, device=None, dtype=None, threads=None, memory_format=None, allocator=None),
    *condition_columns(_conditions, torch_version=None, cpu=None),
    Column(
        "alive_bytes",
        lambda row: row.alive_bytes,
        "largest sum of the activations that are alive during the call, those kept for later too, bytes",
        "alive",
        human_bytes,
        width=150,
    ),
)
"""The fields of a layer."""

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


MODEL_COLUMNS: Final[tuple[Column[Call], ...]] = (
    Column(
        "name", lambda row: row.name, "path of the module; #2 a second call; path.function#1 a functional call", "layer"
    ),
    Column("op", lambda row: row.op, "class of the module, or the function", "op", width=110),
    Column("input_shape", lambda row: row.input_shape, "of the first tensor in", "in", width=110),
    Column("output_shape", lambda row: row.output_shape, "of the first tensor out", "out", width=74),
    Column("kernel_size", lambda row: row.conv and row.conv.kernel_size, "of a convolution", "kernel", width=140),
    Column("stride", lambda row: row.conv and row.conv.stride, "of a convolution", "stride", width=160),
    Column("padding", lambda row: row.padding, "of a convolution"),
    Column("dilation", lambda row: row.conv and row.conv.dilation, "of a convolution"),
    Column("groups", lambda row: row.conv and row.conv.groups, "of a convolution", "groups", width=160),
    Column("in_channels", lambda row: row.conv and row.conv.in_channels, "of a convolution"),
    Column("out_channels", lambda row: row.conv and row.conv.out_channels, "of a convolution"),
    Column("params", lambda row: row.params, "parameters that no call before used", "params", human_count),
    Column("macs", lambda row: row.macs, "multiply-accumulates", "MACs", human_count),
    Column("flops", lambda row: row.flops, "2 x MACs", "FLOPs", human_count, width=160),
    Column(
        "traffic_bytes",
        lambda row: row.traffic_bytes,
        "tensors and parameters in, tensors out",
        "traffic",
        human_bytes,
        width=95,
    ),
    Column("flop_per_byte", lambda row: row.flop_per_byte, "arithmetic intensity", "FLOP/B", three_digits, width=130),
    Column("macs_share", lambda row: row.macs_share, "share of all MACs", "share", human_share, width=75),
    Column("time_s", lambda row: row.time_s, "median time of the layer alone, seconds", "time", human_time),
    Column(
        "bound_s",
        lambda row: row.bound and row.bound.seconds,
        "the least time that this machine could need for the arithmetic and the bytes that no kernel can leave out, "
        "seconds; empty for views, identities and what else moves nothing for certain",
        "bound",
        human_time,
        width=80,
    ),
    Column(
        "bound",
        lambda row: row.bound and row.bound.roof,
        "what decides it: compute, memory or overhead",
        "roof",
        width=120,
    ),
    Column("bound_level", lambda row: row.bound and row.bound.level, "of the memory hierarchy, where memory decides"),
    Column(
        "attained",
        lambda row: row.attained,
        "bound_s / time_s: 1 is as fast as can be",
        "attained",
        human_share,
        width=100,
    ),
    Column("warning", lambda row: row.warning, "what to know before trusting the row's time"),
    *ACCOUNT_COLUMNS,
    *condition_columns(_conditions, device=None, dtype=None, threads=None, memory_format=None, allocator=None),
    *condition_columns(_conditions, torch_version=None, cpu=None),
)
"""The fields of a layer."""

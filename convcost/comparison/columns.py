"""The columns of `convcost compare`, in the order of CSV and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.text.columns import Column
from convcost.text.units import (
    human_bytes,
    human_count,
    human_ratio,
    human_time,
    show_date,
    thousands,
    three_digits,
)
from convcost.timing.columns import ACCOUNT_COLUMNS, condition_columns, timing_columns

if TYPE_CHECKING:
    from convcost.comparison.rows import Row
    from convcost.timing.conditions import Conditions
    from convcost.timing.statistics import Timing


def _counted_macs(row: Row) -> str:
    """MACs with the verdict of the cross-check: ✓ both counters agree, ✗ one does not."""
    agree = None if row.counts is None else row.counts.agree
    return human_count(row.placed.cost.macs) + {True: " ✓", False: " ✗", None: ""}[agree]


def _bound_text(row: Row) -> str:
    """The bound with its roof, such as `0.34 ms L3`."""
    bound = row.bound
    return "-" if bound is None else f"{human_time(bound.seconds)} {bound.level or bound.roof}"


def _conditions(row: Row) -> Conditions | None:
    return row.conditions


def _timing(row: Row) -> Timing | None:
    return row.timing


COMPARE_COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column("block", lambda row: row.placed.block.name, "name of the block in the catalogue", "block"),
    Column("in_channels", lambda row: row.placed.spec.in_channels, "C: input channels"),
    Column(
        "out_channels",
        lambda row: row.placed.output.channels,
        "output channels of the block, which may differ from the requested O",
        "out",
        width=110,
    ),
    Column("kernel_size", lambda row: row.placed.kernel_size, "largest kernel size of a stage, height x width"),
    Column("stride", lambda row: row.placed.stride, "stride from input to output, vertical x horizontal"),
    Column("padding", lambda row: row.placed.spec.padding, "padding of the K-sized stages: same, valid or sizes"),
    Column("dilation", lambda row: row.placed.dilation, "dilation of the K-sized stages, vertical x horizontal"),
    Column("groups", lambda row: row.placed.groups, "largest number of groups of the block's stages"),
    Column(
        "depth_multiplier",
        lambda row: row.placed.depth_multiplier,
        "m: outputs per channel of the depthwise stage",
    ),
    Column("expansion", lambda row: row.placed.expansion, "t: hidden channels per input channel"),
    Column("mid_channels", lambda row: row.placed.mid_channels, "channels after stage 1, where a parameter sets them"),
    Column("batch", lambda row: row.placed.spec.batch, "N: samples of the batch"),
    Column("in_height", lambda row: row.placed.spec.height, "input height"),
    Column("in_width", lambda row: row.placed.spec.width, "input width"),
    Column("out_height", lambda row: row.placed.output.spatial[0], "output height"),
    Column("out_width", lambda row: row.placed.output.spatial[1], "output width"),
    Column("params", lambda row: row.placed.cost.params, "weights and biases, each once", "params", human_count),
    Column(
        "macs",
        lambda row: row.placed.cost.macs,
        "MACs of the batch, by the formula",
        "MACs",
        human_count,
        _counted_macs,
    ),
    Column("flops", lambda row: row.placed.cost.flops, "FLOPs: 2 x MACs", "FLOPs", human_count, width=140),
    Column(
        "traffic_bytes",
        lambda row: row.placed.cost.traffic_bytes,
        "compulsory memory traffic: input + weights + output of each stage, bytes",
        "traffic",
        human_bytes,
        width=95,
    ),
    Column(
        "flop_per_byte",
        lambda row: row.placed.cost.flop_per_byte,
        "arithmetic intensity: FLOPs / traffic bytes",
        "FLOP/B",
        three_digits,
        width=95,
    ),
    Column(
        "params_ratio",
        lambda row: row.params_ratio,
        "parameters of the baseline / parameters of this block",
        "params fewer",
        human_ratio,
        width=140,
    ),
    Column("macs_ratio", lambda row: row.macs_ratio, "MACs of the baseline / MACs of this block", "fewer", human_ratio),
    Column(
        "fvcore_macs",
        lambda row: row.counts and row.counts.fvcore_macs,
        "MACs of the real module, counted by fvcore",
        "fvcore MACs",
        thousands,
        width=170,
    ),
    Column("fvcore_params", lambda row: row.counts and row.counts.fvcore_params, "parameters counted by fvcore"),
    Column(
        "torch_flops",
        lambda row: row.counts and row.counts.torch_flops,
        "FLOPs of the real module, counted by torch",
        "torch FLOPs",
        thousands,
        width=170,
    ),
    Column("counts_agree", lambda row: row.counts and row.counts.agree, "whether both counters equal the formula"),
    *condition_columns(_conditions, varies=True, device=0),
    Column("dtype", lambda row: row.dtype, "data type of every element", "dtype", varies=True),
    *condition_columns(_conditions, varies=True, threads=0, memory_format=0),
    *condition_columns(_conditions, compiled=None, allocator=None),
    *timing_columns(
        _timing, time_s=0, time_q25_s=140, time_q75_s=140, time_min_s=None, first_call_s=None, time_runs=170
    ),
    *timing_columns(_timing, dropped_share=None, faults_per_call=None),
    *timing_columns(_timing, speedup=0, speedup_low=None, speedup_high=None, verdict=None, probe_drift=None),
    Column("flop_per_s", lambda row: row.flop_per_s, "FLOPs / median time", "FLOP/s", human_count, width=120),
    Column(
        "bound_s",
        lambda row: row.bound and row.bound.seconds,
        "bound: the least time this machine could take, seconds",
        "bound",
        cell=_bound_text,
        width=100,
    ),
    Column("bound", lambda row: row.bound and row.bound.roof, "roof of the bound: compute, memory or overhead"),
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
        width=105,
    ),
    *condition_columns(_conditions, torch_version=None, cpu=None),
    Column(
        "reused_from",
        lambda row: row.reused_from,
        "date of a timing from the history, UTC; empty if it was measured in this run",
        "reused from",
        show_date,
    ),
    Column("warning", lambda row: row.warning, "reasons not to trust the row"),
    *ACCOUNT_COLUMNS,
)
"""The fields of `convcost.compare`, in the order of CSV and JSON."""

"""The columns of `convcost compare`, in the order of CSV and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.text.columns import Column
from convcost.text.dates import show_date
from convcost.text.units import human_bytes, human_count, human_ratio, human_share, human_time, thousands, three_digits
from convcost.timing.account import flat_text
from convcost.timing.columns import timing_speedup_text

if TYPE_CHECKING:
    from convcost.comparison.rows import Row


__all__ = ["COMPARE_COLUMNS"]


def counted_macs(row: Row) -> str:
    """MACs with the verdict of the cross-check: ✓ both counters agree, ✗ one does not."""
    agree = None if row.counts is None else row.counts.agree
    return human_count(row.placed.cost.macs) + {True: " ✓", False: " ✗", None: ""}[agree]


def speedup_text(row: Row) -> str:
    """A speed-up with its interval, such as `4.5x (4.4–4.7)`; more digits where a wide figure would hide it."""
    return timing_speedup_text(row.timing)


def time_text(row: Row) -> str:
    """The median time; `!` marks a row with a warning."""
    timing = row.timing
    return "-" if timing is None else human_time(timing.time_s) + (" !" if timing.warnings else "")


def bound_text(row: Row) -> str:
    """The bound with its roof, such as `0.34 ms L3`."""
    bound = row.bound
    return "-" if bound is None else f"{human_time(bound.seconds)} {bound.level or bound.roof}"


COMPARE_COLUMNS: Final = (
    Column("block", "placed.block.name", "name in the catalogue", "block"),
    Column("in_channels", "placed.spec.in_channels", "C"),
    Column("out_channels", "placed.output.channels", "output channels that the block really gives", "out", width=110),
    Column("kernel_size", "placed.kernel_size", "height x width of the block's largest kernel"),
    Column("stride", "placed.stride", "vertical x horizontal, from the block's input to its output"),
    Column("padding", "placed.spec.padding", "of the K-sized stages: same, valid or sizes"),
    Column("dilation", "placed.dilation", "vertical x horizontal, of the K-sized stages"),
    Column("groups", "placed.groups", "the largest number of groups of a stage"),
    Column("depth_multiplier", "placed.depth_multiplier", "m: outputs per input channel of the depthwise stage"),
    Column("expansion", "placed.expansion", "t: hidden channels per input channel"),
    Column(
        "mid_channels",
        "placed.mid_channels",
        "channels after the first stage, where a parameter of the block sets them",
    ),
    Column("batch", "placed.spec.batch", "N: samples of the batch"),
    Column("in_height", "placed.spec.height", "input height"),
    Column("in_width", "placed.spec.width", "input width"),
    Column("out_height", "placed.out_height", "output height"),
    Column("out_width", "placed.out_width", "output width"),
    Column("params", "placed.cost.params", "weights and biases; a shared bank once", "params", human_count),
    Column("macs", "placed.cost.macs", "multiply-accumulates of the batch, by the formula", "MACs", cell=counted_macs),
    Column("flops", "placed.cost.flops", "2 x MACs", "FLOPs", human_count, width=140),
    Column(
        "traffic_bytes",
        "placed.cost.traffic_bytes",
        "input + weights + output of each stage, bytes",
        "traffic",
        human_bytes,
        width=95,
    ),
    Column(
        "flop_per_byte",
        "placed.cost.flop_per_byte",
        "arithmetic intensity: FLOPs / traffic bytes",
        "FLOP/B",
        three_digits,
        width=95,
    ),
    Column(
        "params_ratio",
        "params_ratio",
        "parameters of the baseline / of this block",
        "params fewer",
        human_ratio,
        width=140,
    ),
    Column("macs_ratio", "macs_ratio", "MACs of the baseline / of this block", "fewer", human_ratio),
    Column(
        "fvcore_macs",
        "counts.fvcore_macs",
        "MACs that fvcore counts in the real module",
        "fvcore MACs",
        thousands,
        width=170,
    ),
    Column("fvcore_params", "counts.fvcore_params", "parameters that fvcore counts in the real module"),
    Column(
        "torch_flops",
        "counts.torch_flops",
        "FLOPs that torch counts in the real module",
        "torch FLOPs",
        thousands,
        width=170,
    ),
    Column("counts_agree", "counts.agree", "both counters equal the formula exactly, in every stage"),
    Column("device", "conditions.device", "that was timed"),
    Column("dtype", "dtype", "of every element"),
    Column("threads", "conditions.threads", "of torch, while timing"),
    Column("memory_format", "conditions.memory_format", "of input and weights"),
    Column("compiled", "conditions.compiled", "whether torch.compile was used"),
    Column(
        "allocator",
        "conditions.allocator",
        "pinned: freed memory stays with the process; default: as the user's program",
    ),
    Column("time_s", "timing.time_s", "median time of a call, seconds", "time", cell=time_text),
    Column("time_q25_s", "timing.time_q25_s", "lower quartile, seconds", "q25", human_time, width=140),
    Column("time_q75_s", "timing.time_q75_s", "upper quartile, seconds", "q75", human_time, width=140),
    Column("time_min_s", "timing.time_min_s", "fastest block of calls, seconds a call"),
    Column("first_call_s", "timing.first_call_s", "first call, seconds"),
    Column("time_runs", "timing.time_runs", "timed calls in clean blocks", "calls", width=170),
    Column("dropped_share", "timing.dropped_share", "share of the blocks that were disturbed and dropped"),
    Column("faults_per_call", "timing.faults_per_call", "minor page faults a call"),
    Column(
        "speedup",
        "timing.speedup",
        "time of the baseline / of this block, median of interleaved pairs",
        "speed-up",
        cell=speedup_text,
    ),
    Column("speedup_low", "timing.speedup_low", "lower end of its 5-95 % interval, run-to-run term included"),
    Column("speedup_high", "timing.speedup_high", "upper end of its 5-95 % interval, run-to-run term included"),
    Column(
        "probe_drift", "timing.probe_drift", "change of the reference probe from the first to the last round, share"
    ),
    Column("flop_per_s", "flop_per_s", "FLOPs / median time", "FLOP/s", human_count, width=120),
    Column(
        "bound_s",
        "bound.seconds",
        "the least time that this machine could need, seconds",
        "bound",
        cell=bound_text,
        width=100,
    ),
    Column("bound", "bound.roof", "what decides it: compute, memory or overhead"),
    Column("bound_level", "bound.level", "of the memory hierarchy, where memory decides"),
    Column("attained", "attained", "bound_s / time_s: 1 is as fast as can be", "attained", human_share, width=105),
    Column("torch_version", "conditions.torch_version", "that was timed"),
    Column("cpu", "conditions.cpu", "name of the processor"),
    Column(
        "reused_from",
        "reused_from",
        "when a timing that comes from the history was measured, UTC; empty: measured in this run",
        "reused from",
        show_date,
    ),
    Column("warning", "warning", "what to know before trusting the row"),
    Column(
        "account",
        "account.records",
        "parts of the median time, each with seconds and kernel; text outside JSON",
        flat=flat_text,
    ),
    Column("onednn_agrees", "account.agreement.agrees", "the sizes that oneDNN says it convolved are this block's"),
    Column("hint", "hint.text", "what would make it faster on this machine"),
    Column("hint_verified", "hint.verified", "whether the hint's alternative was timed"),
)
"""The fields of `convcost.compare`, in the order of CSV and JSON."""

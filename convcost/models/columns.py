"""The columns of `convcost model`, in the order of CSV and JSON."""

from __future__ import annotations

from typing import Final

from convcost.text.columns import Column
from convcost.text.sizes import format_sizes
from convcost.text.units import human_bytes, human_count, human_share, human_time, three_digits
from convcost.timing.account import flat_text

__all__ = ["MODEL_COLUMNS"]

MODEL_COLUMNS: Final = (
    Column("name", "name", "path of the module; #2 a second call; path.function#1 a functional call", "layer"),
    Column("op", "op", "class of the module, or the function", "op", width=110),
    Column("input_shape", "input_shape", "of the first tensor in", "in", format_sizes, width=110),
    Column("output_shape", "output_shape", "of the first tensor out", "out", format_sizes, width=74),
    Column("kernel_size", "conv.kernel_size", "of a convolution", "kernel", format_sizes, width=140),
    Column("stride", "conv.stride", "of a convolution", "stride", format_sizes, width=160),
    Column("padding", "padding", "of a convolution"),
    Column("dilation", "conv.dilation", "of a convolution"),
    Column("groups", "conv.groups", "of a convolution", "groups", width=160),
    Column("in_channels", "conv.in_channels", "of a convolution"),
    Column("out_channels", "conv.out_channels", "of a convolution"),
    Column("params", "params", "parameters that no call before used", "params", human_count),
    Column("macs", "macs", "multiply-accumulates", "MACs", human_count),
    Column("flops", "flops", "2 x MACs", "FLOPs", human_count, width=160),
    Column(
        "traffic_bytes",
        "traffic_bytes",
        "tensors and parameters in, tensors out",
        "traffic",
        human_bytes,
        width=95,
    ),
    Column("flop_per_byte", "flop_per_byte", "arithmetic intensity", "FLOP/B", three_digits, width=130),
    Column("macs_share", "macs_share", "share of all MACs", "share", human_share, width=75),
    Column("time_s", "time_s", "median time of the layer alone, seconds", "time", human_time),
    Column(
        "bound_s",
        "bound.seconds",
        "the least time that this machine could need for the arithmetic and the bytes that no kernel can leave out, "
        "seconds; empty for views, identities and what else moves nothing for certain",
        "bound",
        human_time,
        width=80,
    ),
    Column("bound", "bound.roof", "what decides it: compute, memory or overhead", "roof", width=120),
    Column("bound_level", "bound.level", "of the memory hierarchy, where memory decides"),
    Column("attained", "attained", "bound_s / time_s: 1 is as fast as can be", "attained", human_share, width=100),
    Column("warning", "warning", "what to know before trusting the row's time"),
    Column(
        "account",
        "account.records",
        "parts of the time, each with seconds and kernel; text outside JSON",
        flat=flat_text,
    ),
    Column("onednn_agrees", "account.agreement.agrees", "the sizes that oneDNN says it convolved are this layer's"),
    Column("hint", "hint.text", "what would make it faster on this machine"),
    Column("hint_verified", "hint.verified", "whether the hint's alternative was timed"),
    Column("device", "conditions.device", "that was timed"),
    Column("dtype", "conditions.dtype", "of the layer's floating point inputs and parameters"),
    Column("threads", "conditions.threads", "of torch on the CPU"),
    Column("memory_format", "conditions.memory_format", "of the layer's inputs and parameters"),
    Column("allocator", "conditions.allocator", "pinned: freed memory stays with the process; default: glibc's own"),
    Column("torch_version", "conditions.torch_version", "that was timed"),
    Column("cpu", "conditions.cpu", "name of the processor"),
)
"""The fields of a layer."""

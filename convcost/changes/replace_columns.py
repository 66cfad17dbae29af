"""The columns of `convcost replace`, in the order of CSV and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.text.columns import Column
from convcost.text.units import human_count, human_ratio, human_share, human_time
from convcost.timing.columns import speedup_text, timing_columns

if TYPE_CHECKING:
    from convcost.changes.replaced_layer import ReplacedLayer
    from convcost.timing.statistics import Timing


def _timing(row: ReplacedLayer) -> Timing | None:
    return row.timing


REPLACE_COLUMNS: Final[tuple[Column[ReplacedLayer], ...]] = (
    Column("name", lambda row: row.name, "path of the layer", "layer"),
    Column("before", lambda row: row.before, "the convolution: channels, kernel size and more", "before", width=100),
    Column("after", lambda row: row.after, "the block in its place; empty for a layer that stays as it is", "after"),
    Column("calls", lambda row: row.calls, "calls of the layer in one forward pass", "calls", varies=True),
    Column("params_before", lambda row: row.params_before, "parameters of the layer", "params", human_count, width=78),
    Column("params_after", lambda row: row.params_after, "parameters in its place", "→ params", human_count, width=74),
    Column(
        "params_ratio",
        lambda row: row.params_ratio,
        "params_before / params_after",
        "params fewer",
        human_ratio,
        width=90,
    ),
    Column(
        "macs_before", lambda row: row.macs_before, "multiply-accumulates of the layer", "MACs", human_count, width=76
    ),
    Column(
        "macs_after", lambda row: row.macs_after, "multiply-accumulates in its place", "→ MACs", human_count, width=72
    ),
    Column("macs_ratio", lambda row: row.macs_ratio, "macs_before / macs_after", "fewer", human_ratio),
    Column(
        "weight_error",
        lambda row: row.weight_error,
        "relative error of the factorised weights",
        "weight error",
        human_share,
        width=71,
    ),
    Column(
        "output_error",
        lambda row: row.output_error,
        "relative error of the model's output with this layer alone replaced",
        "output error",
        human_share,
        width=70,
    ),
    Column(
        "time_before_s",
        lambda row: row.time_before_s,
        "median seconds per call of the layer alone",
        "time",
        human_time,
        width=69,
    ),
    Column(
        "time_after_s",
        lambda row: row.timing and row.timing.time_s,
        "median seconds per call of the block alone",
        "→ time",
        human_time,
        width=68,
    ),
    Column(
        "speedup",
        lambda row: row.timing and row.timing.speedup,
        "time of the layer / time of the block, median over interleaved pairs",
        "speed-up",
        cell=lambda row: speedup_text(row.timing),
    ),
    *timing_columns(_timing, speedup_low=None, speedup_high=None),
    Column(
        "verdict",
        lambda row: row.timing and row.timing.verdict,
        "whether the block pays here: faster, slower, same (not told from noise) or undecided (see warning)",
        "verdict",
        width=120,
    ),
    Column("warning", lambda row: row.warning, "reasons not to trust the times"),
    Column(
        "fastest",
        lambda row: row.fastest,
        "block of the layer in the fastest set of replacements; as it is for none",
        "fastest set",
        width=160,
    ),
    Column("skipped", lambda row: row.skipped, "reason why the layer stays as it is", "stays, since", width=130),
)
"""The fields of a layer."""

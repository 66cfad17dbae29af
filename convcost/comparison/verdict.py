"""What a comparison means, in one honest line a block: the ratio of the formula beside the ratio of the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.text.columns import speedup_text
from convcost.text.units import human_ratio, human_share, human_time, number_of

if TYPE_CHECKING:
    from convcost.comparison.rows import Row

__all__ = ["verdict"]

FALLS_SHORT: Final = 0.8
"""Below this share of the MAC ratio a speed-up gets a reason."""
SAME_TRAFFIC: Final = 1.05
"""Below this ratio memory traffic did not fall."""


def verdict(row: Row) -> str | None:
    """A line on a block against the baseline and on its bound; None where there is nothing to say."""
    baseline, ratio = row.baseline, row.macs_ratio
    if baseline is None or ratio is None or baseline.block.name == row.placed.block.name:
        return f"{row.placed.block.name}:{_bound(row)}" if row.bound is not None else None
    ours, theirs = row.placed.output.channels, baseline.output.channels
    other = "" if ours == theirs else f" (for {ours} output channels instead of {theirs})"
    formula = f"{human_ratio(ratio)} fewer MACs" if ratio >= 1 else f"{human_ratio(1 / ratio)} more MACs"
    formula += other
    if row.timing is None or row.conditions is None or row.timing.speedup is None:
        return f"{row.placed.block.name}: {formula}, against {baseline.block.name}."
    threads = number_of("thread", row.conditions.threads)
    device = f"this CPU, {threads}" if row.conditions.device == "cpu" else row.conditions.device
    return f"{row.placed.block.name}: {formula}, {_speed(row)} on {device}.{_reason(row, ratio)}{_bound(row)}"


def _bound(row: Row) -> str:
    """What this machine could do at best, and how much of it was attained; empty where it is not calibrated."""
    bound, attained = row.bound, row.attained
    if bound is None or attained is None:
        return ""
    if bound.is_beaten(attained):
        return f" It is faster than its bound of {human_time(bound.seconds)}, which is wrong: calibrate again."
    roof = f"traffic with {bound.level}" if bound.roof == "memory" else bound.roof
    least, share = human_time(bound.seconds), human_share(attained)
    return f" It cannot be faster than {least} on this machine ({roof}); {share} of that is attained."


def _speed(row: Row) -> str:
    timing = row.timing
    if timing is None or timing.speedup_low is None or timing.speedup_high is None:
        return "speed not comparable"
    number, _, interval = speedup_text(row).partition(" ")
    if timing.speedup_low > 1:
        return f"{number} faster {interval}"
    if timing.speedup_high < 1:
        return f"{number} the speed {interval}"
    return f"no difference in speed that can be told from noise ({number}, {interval.strip('()')})"


def _reason(row: Row, ratio: float) -> str:
    timing, baseline = row.timing, row.baseline
    if timing is None or baseline is None or timing.speedup is None or timing.speedup >= FALLS_SHORT * ratio:
        return ""
    if timing.is_overhead:
        return " Below 100 µs a call is mostly overhead, not arithmetic."
    traffic = baseline.cost.traffic_bytes / row.placed.cost.traffic_bytes
    if traffic < ratio:
        change = f"only {human_ratio(traffic)} less" if traffic > SAME_TRAFFIC else f"{1 / traffic:.2f}x the baseline's"
        return f" It moves {change} memory traffic, at {row.placed.cost.flop_per_byte:.1f} FLOP/byte."
    return ""

"""What the MACs of two models promise of their times, what the clock gave, and which layers made the difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from convcost.text.units import change_of, human_ratio, human_time
from convcost.timing.columns import speed_sentence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from convcost.timing.statistics import Timing

MAX_LAYERS: Final = 3
"""Maximum number of layers that the sentence names."""
MIN_SHARE: Final = 0.05
"""Smallest share of the difference that has an address in the sentence."""


@dataclass(frozen=True, slots=True)
class TimedChange:
    """A layer that differs between two models.

    Attributes:
        name: Name of the layer.
        macs_before: Multiply-accumulates in the first model; 0 for an added layer.
        macs_after: Multiply-accumulates in the second model; 0 for a removed layer.
        before_s: Seconds alone in the first model; 0 for an added layer, None if not timed.
        after_s: Seconds alone in the second model; 0 for a removed layer, None if not timed.
    """

    name: str
    macs_before: int
    macs_after: int
    before_s: float | None
    after_s: float | None


def promise_sentence(before: Timing, after: Timing, macs: tuple[int, int], layers: Iterable[TimedChange]) -> str:
    """The formula's promise, the clock's answer, and the layers that made the difference, in one line.

    The promise scales the time of each layer that differs with its MACs; the MACs of an added layer, which has no
    time to scale, take the mean time of a MAC of the first model.

    Args:
        before: Timing of the first model's forward pass.
        after: Timing of the second model's, with its speed-up over the first.
        macs: Multiply-accumulates of the two models.
        layers: The layers that differ.
    """
    a, b = macs
    timed = [(one, one.before_s, one.after_s) for one in layers if one.before_s is not None and one.after_s is not None]
    per_mac = before.time_s / a if a else 0.0
    saved, lost = 0.0, dict[tuple[float, float, float], list[str]]()
    for layer, before_s, after_s in timed:
        expected = _expected(layer, before_s, per_mac)
        saved += before_s - expected
        lost.setdefault((after_s - expected, before_s, after_s), []).append(layer.name)
    alone = sum(before_s for _, before_s, _ in timed)
    promised = before.time_s - saved * min(1.0, before.time_s / alone if alone else 1.0)  # alone they may take longer
    formula = f"formula: {_macs_text(*macs)}"
    if a != b and promised > 0:
        formula += f", so {human_ratio(before.time_s / promised)} the speed if each layer's time followed its MACs"
    clock = f"clock: {speed_sentence(after)}, {human_time(before.time_s)} → {human_time(after.time_s)}"
    missing = after.time_s - promised
    kept = promised > 0 and before.time_s / promised <= (after.speedup_high or 0.0)
    if after.verdict == "undecided" or kept or missing <= 0:
        return f"{formula}; {clock}"
    where = {_label(names): times[0] * len(names) for times, names in lost.items()}
    where["the rest of the model"] = missing - sum(where.values())
    largest = sorted(where.items(), key=lambda one: one[1], reverse=True)[:MAX_LAYERS]
    named = ", ".join(f"{name} {human_time(seconds)}" for name, seconds in largest if seconds > MIN_SHARE * missing)
    return f"{formula}; {clock}; {human_time(missing)} more than the formula promised: {named}"


def pair_record(before: Timing | None, after: Timing | None) -> dict[str, Any] | None:
    """The times of two forward passes as a JSON object; None if they were not timed."""
    if before is None or after is None:
        return None
    return {
        "a_s": before.time_s,
        "b_s": after.time_s,
        "speedup": after.speedup,
        "speedup_low": after.speedup_low,
        "speedup_high": after.speedup_high,
        "verdict": after.verdict,
    }


def _macs_text(before: int, after: int) -> str:
    if before == after:
        return "as many MACs"
    if before and after:
        return f"{change_of(before, after)} MACs"
    return "no MACs any more" if before else "MACs where there were none"


def _expected(layer: TimedChange, before_s: float, per_mac: float) -> float:
    """The seconds of the changed layer if its time followed its MACs."""
    if layer.macs_before:
        return before_s * layer.macs_after / layer.macs_before
    return before_s + layer.macs_after * per_mac


def _label(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} alike"

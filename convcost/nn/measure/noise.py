"""The noise of a speed-up between fresh processes, which a single process does not see."""

from __future__ import annotations

import subprocess
import sys
import time
from math import sqrt
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Final

from convcost.text.errors import ConvcostError
from convcost.timing.machine import Noise

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESS_S: Final = 4.0
"""Estimate of the seconds of a fresh process, with the import of torch and the timing."""
TIMING_S: Final = 1.5
"""Seconds of the timing in a fresh process."""
MIN_PROCESSES: Final = 4
MIN_NOISE_TIME_S: Final = MIN_PROCESSES * PROCESS_S
"""Minimum seconds for a figure."""
MAX_NOISE: Final = 0.5
"""Maximum noise that is a figure; other programs make it larger."""
Z_10: Final = 1.2816
"""Distance of the 10 % quantile of a normal distribution from the mean, in standard deviations."""


def measure_noise(seconds: float, report: Callable[[float], None]) -> Noise | None:
    """The standard deviation of a speed-up over fresh processes; None if there is no time for enough of them.

    Args:
        seconds: Seconds for all processes together.
        report: Called with the share of the time that is spent.
    """
    if seconds < MIN_NOISE_TIME_S:
        return None
    ratios: list[float] = []
    start, longest = time.perf_counter(), 0.0
    while (begun := time.perf_counter() - start) + longest <= seconds:
        report(begun / seconds)
        ratio = speedup_of_a_fresh_process(seconds - begun)
        if ratio is None:
            break
        ratios.append(ratio)
        longest = max(longest, time.perf_counter() - start - begun)
    if len(ratios) < MIN_PROCESSES:
        return None
    share = at_most(stdev(ratios), len(ratios)) / (sum(ratios) / len(ratios))
    if share > MAX_NOISE:  # an interval of this width tells nothing
        return None
    how = (
        "standard deviation of the speed-up of depthwise-separable, 64→64 3×3 @56, 1 thread, over fresh processes: "
        "the upper end of its 90 % interval, since few processes see little of the noise"
    )
    return Noise(share, len(ratios), how)


def at_most(deviation: float, count: int) -> float:
    """The upper limit, with 90 % confidence, of a standard deviation that `count` values estimate.

    It uses the 10 % quantile of the chi-squared distribution (approximated after Wilson, Hilferty 1931).
    """
    free = count - 1
    quantile = free * (1 - 2 / (9 * free) - Z_10 * sqrt(2 / (9 * free))) ** 3
    return deviation * sqrt(free / quantile)


def speedup_of_a_fresh_process(limit_s: float | None = None) -> float | None:
    """The speed-up of one layer in a fresh process; None if that takes longer than the limit.

    Raises:
        ConvcostError: The process fails.
    """
    folder = str(Path(__file__).resolve().parents[3])
    code = f"from convcost.nn.measure.noise import print_speedup; print_speedup({TIMING_S})"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r}); {code}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s)  # noqa: S603 - this Python, without a shell
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConvcostError(
            f"a process that measures the noise must run: {reason}; a calibration of 10 seconds does not measure it."
        )
    return float(done.stdout)


def print_speedup(budget_s: float) -> None:
    """Print the speed-up of one layer; run in a fresh process."""
    from convcost.comparison.rows import place_block
    from convcost.convolution.spec import Spec
    from convcost.nn.measure.blocks import Run, measure
    from convcost.timing.conditions import TimingOptions

    blocks = [place_block(name, Spec(64, 64, (3, 3), 56, 56), {}) for name in ("standard", "depthwise-separable")]
    options = TimingOptions(("cpu",), time_budget=budget_s)
    (measured,) = measure([Run(blocks, options)], "standard", lambda *_: None)
    sys.stdout.write(f"{measured.timings['depthwise-separable'].speedup}\n")

"""The options of the clock as one value, for commands that time whole models."""

from __future__ import annotations

from convcost.text.errors import ConvcostError
from convcost.text.sizes import parse_threads
from convcost.timing.conditions import TimingOptions
from convcost.workflows.compare import require_devices


def timing_options(
    device: str, threads: str, allocator: str, time_budget: float, *, time: bool, why: bool, store: bool = True
) -> TimingOptions | None:
    """What to time, and how; None without `--time`.

    Raises:
        ConvcostError: `--why` without times, an illegal value, or a device that is not there.
    """
    if not time:
        if why:
            raise ConvcostError("--why must have times to account for; add --time.")
        return None
    options = TimingOptions((device,), parse_threads(threads), allocator, time_budget, store=store, why=why)
    require_devices(options.devices)
    return options

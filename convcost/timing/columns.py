"""The columns of a timing, of its conditions and of its account, which several tables share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from convcost.text.columns import Column
from convcost.text.units import human_ratio, human_share, human_time
from convcost.timing.account import flat_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from convcost.timing.account import Account
    from convcost.timing.conditions import Conditions
    from convcost.timing.hints import Hint
    from convcost.timing.statistics import Timing

    class Explained(Protocol):
        """A row that may say where its time goes."""

        @property
        def account(self) -> Account | None:
            """The parts of its time; None where nothing looked into it."""

        @property
        def hint(self) -> Hint | None:
            """What would make it faster; None where nothing is known to."""


R = TypeVar("R")
P = TypeVar("P")


def speedup_text(timing: Timing | None) -> str:
    """A speed-up with its interval, such as `4.5x (4.4–4.7)`; more digits where a wide figure would hide it."""
    if timing is None or timing.speedup is None:
        return "-"
    if timing.speedup_low is None or timing.speedup_high is None:
        return human_ratio(timing.speedup)
    digits = 2 if timing.speedup < 2 else 1  # noqa: PLR2004 - near 1 the second digit decides
    low, high = f"{timing.speedup_low:.{digits}f}", f"{timing.speedup_high:.{digits}f}"
    return f"{timing.speedup:.{digits}f}x ({low}–{high})"


def _time_text(timing: Timing) -> str:
    """The median time; `!` marks one with a warning."""
    return human_time(timing.time_s) + (" !" if timing.warnings else "")


_TIMING: Final[tuple[Column[Timing], ...]] = (
    Column("time_s", lambda one: one.time_s, "median time of a call, seconds", "time", cell=_time_text),
    Column("time_q25_s", lambda one: one.time_q25_s, "lower quartile, seconds", "q25", human_time),
    Column("time_q75_s", lambda one: one.time_q75_s, "upper quartile, seconds", "q75", human_time),
    Column("time_min_s", lambda one: one.time_min_s, "fastest block of calls, seconds a call", show=human_time),
    Column("first_call_s", lambda one: one.first_call_s, "first call, seconds", show=human_time),
    Column("time_runs", lambda one: one.time_runs, "timed calls in clean blocks", "calls"),
    Column(
        "dropped_share",
        lambda one: one.dropped_share,
        "share of the blocks that were disturbed and dropped",
        "dropped",
        human_share,
    ),
    Column("faults_per_call", lambda one: one.faults_per_call, "minor page faults a call"),
    Column(
        "speedup",
        lambda one: one.speedup,
        "time of the baseline / of this block, median of interleaved pairs",
        "speed-up",
        cell=speedup_text,
    ),
    Column("speedup_low", lambda one: one.speedup_low, "lower end of its 5-95 % interval, run-to-run term included"),
    Column("speedup_high", lambda one: one.speedup_high, "upper end of its 5-95 % interval, run-to-run term included"),
    Column(
        "probe_drift",
        lambda one: one.probe_drift,
        "change of the reference probe from the first to the last round, share",
    ),
)
_CONDITIONS: Final[tuple[Column[Conditions], ...]] = (
    Column("device", lambda one: one.device, "device that was timed", "device"),
    Column("dtype", lambda one: one.dtype, "type of the floating point elements", "dtype"),
    Column("threads", lambda one: one.threads, "threads of torch while timing", "threads"),
    Column("memory_format", lambda one: one.memory_format, "layout of input and weights in memory", "layout"),
    Column("compiled", lambda one: one.compiled, "whether torch.compile was used"),
    Column(
        "allocator",
        lambda one: one.allocator,
        "pinned: freed memory stays with the process; default: as in the user's program",
    ),
    Column("torch_version", lambda one: one.torch_version, "version of torch that ran", "torch"),
    Column("cpu", lambda one: one.cpu, "name of the processor"),
)
ACCOUNT_COLUMNS: Final[tuple[Column[Explained], ...]] = (
    Column(
        "account",
        lambda row: row.account and row.account.records,
        "parts of the median time, each with seconds and kernel; text outside JSON",
        flat=flat_text,
    ),
    Column(
        "onednn_agrees",
        lambda row: row.account and row.account.agreement.agrees,
        "the sizes that oneDNN says it convolved are this row's",
    ),
    Column("hint", lambda row: row.hint and row.hint.text, "what would make it faster on this machine"),
    Column("hint_verified", lambda row: row.hint and row.hint.verified, "whether the hint's alternative was timed"),
)
"""Where the time of a row goes."""


def timing_columns(timing: Callable[[R], Timing | None], **widths: int | None) -> tuple[Column[R], ...]:
    """The columns of a timing in a table's order.

    Args:
        timing: of a row; None where it was not timed.
        widths: for each column the narrowest terminal that shows it; None for files alone.
    """
    return _chosen(_TIMING, timing, widths)


def condition_columns(conditions: Callable[[R], Conditions | None], **widths: int | None) -> tuple[Column[R], ...]:
    """The columns of what a timing was made under, in a table's order; the arguments are as for `timing_columns`."""
    return _chosen(_CONDITIONS, conditions, widths)


def _chosen(
    columns: tuple[Column[P], ...], part: Callable[[R], P | None], widths: Mapping[str, int | None]
) -> tuple[Column[R], ...]:
    known = {column.name: column for column in columns}
    hidden = {name: replace(known[name], title="") for name, width in widths.items() if width is None}
    shown = {name: replace(known[name], width=width) for name, width in widths.items() if width is not None}
    return tuple((hidden | shown)[name].of(part) for name in widths)

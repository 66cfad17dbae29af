"""The columns of a timing, of its conditions and of its account, which several tables share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from convcost.text.columns import Column
from convcost.text.units import TIMES, human_ratio, human_share, human_time, number_of, three_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from convcost.timing.account import Account
    from convcost.timing.conditions import Conditions
    from convcost.timing.hints import Hint
    from convcost.timing.statistics import Timing

    class Explained(Protocol):
        """A row that may have an account of its time."""

        @property
        def account(self) -> Account | None:
            """The account of the row's time; None without one."""

        @property
        def hint(self) -> Hint | None:
            """The hint on what would make the row faster; None without one."""


def flat_text(records: Iterable[Mapping[str, Any]]) -> str:
    """The parts as the text of one cell: name, seconds and kernel.

    >>> flat_text([{"part": "convolution", "seconds": 0.00041, "kernel": "jit:avx2"}])
    'convolution 0.00041 s jit:avx2'
    """
    return "; ".join(" ".join(filter(None, (one["part"], f"{one['seconds']:.6g} s", one["kernel"]))) for one in records)


R = TypeVar("R")
P = TypeVar("P")


MAX_DIGITS: Final = 4
"""Maximum number of decimals of a speed-up, where fewer would show an end of its interval as 1."""


def speedup_text(timing: Timing | None) -> str:
    """A speed-up with its interval, such as `4.5x (4.4–4.7)`; with more digits near 1, and `?` if it is undecided."""
    if timing is None or timing.speedup is None:
        return "-"
    mark = " ?" if timing.doubts else ""
    low, high = timing.speedup_low, timing.speedup_high
    if low is None or high is None:
        return human_ratio(timing.speedup) + (mark if timing.speedup != 1 else "")
    digits = 2 if timing.speedup < 2 else 1  # noqa: PLR2004 - below 2x, one decimal would hide the difference
    is_decided = timing.verdict in {"faster", "slower"}
    while is_decided and digits < MAX_DIGITS and 1 in {round(low, digits), round(high, digits)}:
        digits += 1
    return f"{timing.speedup:.{digits}f}x ({low:.{digits}f}–{high:.{digits}f}){mark}"


def speed_sentence(timing: Timing, where: str = "") -> str:
    """The verdict on a speed-up in words, such as `4.5x faster (4.4–4.7) on this CPU`."""
    number, _, interval = speedup_text(timing).partition(" ")
    if timing.verdict == "undecided":
        reason = timing.doubts[0].rpartition(": ")[0] if timing.doubts else "there is no baseline"
        return f"speed not decided{where}: {reason}"
    if timing.verdict == "same":
        return f"no difference in speed beyond the noise ({number}, {interval.strip('()')}){where}"
    return f"{number} {'faster' if timing.verdict == 'faster' else 'the speed'} {interval}{where}"


def spread_text(timing: Timing) -> str:
    """The quartiles of a time; the number of calls where there are none."""
    low, high = _quartiles(timing)
    if low is None or high is None:
        return f"{number_of('call', timing.time_runs)}, so no spread"
    return f"{human_time(low)} to {human_time(high)}"


def _quartiles(timing: Timing) -> tuple[float | None, float | None]:
    """The quartiles of a time; None for a single block of calls, which has none."""
    equal = timing.time_q25_s == timing.time_q75_s
    return (None, None) if equal else (timing.time_q25_s, timing.time_q75_s)


def time_with_quartiles(timing: Timing | None) -> str:
    """The median time with its quartiles, in one unit, such as `16.8 ms (16.1–17.3)`, marked `!` as `_time_text`."""
    if timing is None:
        return "-"
    low, high = _quartiles(timing)
    number, unit = human_time(timing.time_s).split()
    size = dict(TIMES)[unit]
    ends = "" if low is None or high is None else f" ({three_digits(low / size)}–{three_digits(high / size)})"
    return f"{number} {unit}{ends}{' !' if timing.warnings else ''}"


def timing_sentences(
    timings: Iterable[Timing | None], conditions: Conditions | None = None, what: str = "medians"
) -> str:
    """The sentences of a caption on times: what they are, under which conditions, and what the marks mean."""
    timed = [one for one in timings if one is not None]
    speedups = "; speed-ups with 5–95 % intervals" if any(one.speedup_low is not None for one in timed) else ""
    marks = ["!: with a warning."] if any(one.warnings for one in timed) else []
    where = "" if conditions is None else f", {conditions.summary()}"
    return " ".join((f"Times: {what}{where}{speedups}.", *marks))


def _time_text(timing: Timing) -> str:
    """The median time, marked `!` if there is a warning."""
    return human_time(timing.time_s) + (" !" if timing.warnings else "")


_TIMING: Final[tuple[Column[Timing], ...]] = (
    Column("time_s", lambda one: one.time_s, "median seconds per call", "time", human_time, _time_text),
    Column("time_q25_s", lambda one: _quartiles(one)[0], "lower quartile of the seconds per call", "q25", human_time),
    Column("time_q75_s", lambda one: _quartiles(one)[1], "upper quartile of the seconds per call", "q75", human_time),
    Column("time_min_s", lambda one: one.time_min_s, "seconds per call of the fastest block of calls", show=human_time),
    Column("first_call_s", lambda one: one.first_call_s, "seconds of the first call", show=human_time),
    Column("time_runs", lambda one: one.time_runs, "number of timed calls in the blocks that were used", "calls"),
    Column("dropped_share", lambda one: one.dropped_share, "share of disturbed blocks", "dropped", human_share),
    Column("faults_per_call", lambda one: one.faults_per_call, "minor page faults per call"),
    Column(
        "speedup",
        lambda one: one.speedup,
        "time of the baseline / time of this row, median over interleaved pairs",
        "speed-up",
        cell=speedup_text,
    ),
    Column("speedup_low", lambda one: one.speedup_low, "lower end of the 5-95 % interval of speedup"),
    Column("speedup_high", lambda one: one.speedup_high, "upper end of the 5-95 % interval of speedup"),
    Column(
        "verdict",
        lambda one: one.verdict,
        "faster, slower, same (not told from noise) or undecided (see warning), against the baseline",
    ),
    Column("probe_drift", lambda one: one.probe_drift, "change of the reference probe during the run, as a share"),
)
_CONDITIONS: Final[tuple[Column[Conditions], ...]] = (
    Column("device", lambda one: one.device, "device of the timing", "device"),
    Column("dtype", lambda one: one.dtype, "data type of the floating point elements", "dtype"),
    Column("threads", lambda one: one.threads, "threads of torch during the timing", "threads"),
    Column("memory_format", lambda one: one.memory_format, "memory format of input and weights", "layout"),
    Column("compiled", lambda one: one.compiled, "whether torch.compile was used"),
    Column("allocator", lambda one: one.allocator, "pinned: freed memory stays with the process; or default"),
    Column("torch_version", lambda one: one.torch_version, "version of torch", "torch"),
    Column("cpu", lambda one: one.cpu, "name of the processor"),
)
ACCOUNT_COLUMNS: Final[tuple[Column[Explained], ...]] = (
    Column(
        "account",
        lambda row: row.account and row.account.records,
        "parts of the median time, each with seconds and kernel; one text outside JSON",
        flat=flat_text,
    ),
    Column(
        "onednn_agrees",
        lambda row: row.account and row.account.agreement.agrees,
        "whether the sizes that oneDNN reports are those of this row",
    ),
    Column("hint", lambda row: row.hint and row.hint.text, "change that would make the row faster on this machine"),
    Column("hint_verified", lambda row: row.hint and row.hint.verified, "whether the change was timed"),
)
"""The columns of a row's account and hint."""


def timing_columns(timing: Callable[[R], Timing | None], **widths: int | None) -> tuple[Column[R], ...]:
    """Columns of a row's timing, in the order of the widths.

    Args:
        timing: Function that takes the timing from a row.
        widths: Minimum terminal width for each column, in characters; None for columns in files alone.
    """
    return _chosen(_TIMING, timing, widths)


def condition_columns(
    conditions: Callable[[R], Conditions | None], *, varies: bool = False, **widths: int | None
) -> tuple[Column[R], ...]:
    """Columns of the conditions of a row's timing; the arguments are as for `timing_columns`.

    With `varies`, the terminal's table has those only in which the rows differ.
    """
    return tuple(replace(column, varies=varies) for column in _chosen(_CONDITIONS, conditions, widths))


def _chosen(
    columns: tuple[Column[P], ...], part: Callable[[R], P | None], widths: Mapping[str, int | None]
) -> tuple[Column[R], ...]:
    known = {column.name: column for column in columns}
    hidden = {name: replace(known[name], title="") for name, width in widths.items() if width is None}
    shown = {name: replace(known[name], width=width) for name, width in widths.items() if width is not None}
    return tuple((hidden | shown)[name].of(part) for name in widths)

"""The columns of every output: one line each makes the table's cell, the CSV and JSON field and the documentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from convcost.text.dates import show_date
from convcost.text.errors import ConvcostError, did_you_mean, one_line
from convcost.text.units import human_bytes, human_count, human_ratio, human_share, human_time, thousands, three_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from convcost.comparison.rows import Row
    from convcost.timing.statistics import Timing

__all__ = ["COMPARE_COLUMNS", "Column", "choose_columns", "records", "shown_columns", "timing_speedup_text"]


GAP: Final = 2
"""Spaces between two columns of a table."""


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a row.

    Attributes:
        name: the field in CSV and JSON.
        path: where the value lies, as attributes from the row; a None on the way is a None.
        meaning: one line, with the unit.
        title: the head in the terminal's table; empty: not shown there.
        show: how the terminal's table writes a value.
        cell: how the terminal's table writes the whole cell from the row, where that takes more than the value.
        width: the narrowest terminal that has room for the column.
    """

    name: str
    path: str
    meaning: str
    title: str = ""
    show: Callable[[Any], str] = str
    cell: Callable[[Any], str] | None = None
    width: int = 0

    def value(self, row: object) -> Any:  # noqa: ANN401 - a field is an int, a float, a bool, a text or sizes
        """The raw value in base units, sizes as a list; None where it was not obtained."""
        value: Any = row
        for name in self.path.split("."):
            if value is None:
                return None
            value = getattr(value, name)
        return list(value) if isinstance(value, tuple) else value

    def text(self, row: object) -> str:
        """The cell of the terminal's table, on one line; `-` where the value was not obtained."""
        value = self.value(row)
        if value is None:
            return "-"
        return one_line(self.show(value) if self.cell is None else self.cell(row))


def choose_columns(columns: Sequence[Column], names: str | None) -> tuple[Column, ...]:
    """The columns of these names, in the order given; a column that people do not usually see gets its name as title.

    Args:
        columns: to choose from.
        names: separated by commas; None for all.

    Raises:
        ConvcostError: no such column.
    """
    if names is None:
        return tuple(columns)
    known = {column.name: column for column in columns}
    chosen = []
    for name in filter(None, map(str.strip, names.split(","))):
        if name not in known:
            msg = f"columns (={name}) must be fields of a row; {did_you_mean(name, known, 'see the CSV.')}"
            raise ConvcostError(msg)
        column = known[name]
        chosen.append(replace(column, title=column.title or name, width=0))
    return tuple(chosen)


def shown_columns(
    columns: Iterable[Column], rows: Sequence[object], width: int | None = None, waiting: Sequence[str] = ()
) -> list[Column]:
    """The columns of a table for people: titled, with something in them, and with room on the terminal.

    Where long cells leave no room, the columns that ask for the widest terminal go first.

    Args:
        columns: to choose from.
        rows: of the table.
        width: of the terminal in characters; None has room for all.
        waiting: fields that are still to come and keep their place.
    """
    shown = [
        column
        for column in columns
        if column.title
        and (width is None or column.width <= width)
        and (column.name in waiting or any(column.value(row) is not None for row in rows))
    ]
    if width is None:
        return shown
    wide = {column.name: max(map(len, (column.title, *map(column.text, rows)))) + GAP for column in shown}
    while sum(wide[column.name] for column in shown) > width and any(column.width for column in shown):
        shown.remove(max(shown, key=lambda column: column.width))
    return shown


def records(columns: Iterable[Column], rows: Iterable[object]) -> list[dict[str, Any]]:
    """The rows as JSON objects: raw base units, sizes as lists, None where a value was not obtained."""
    listed = tuple(columns)
    return [{column.name: column.value(row) for column in listed} for row in rows]


def counted_macs(row: Row) -> str:
    """MACs with the verdict of the cross-check: ✓ both counters agree, ✗ one does not."""
    agree = None if row.counts is None else row.counts.agree
    return human_count(row.placed.cost.macs) + {True: " ✓", False: " ✗", None: ""}[agree]


def speedup_text(row: Row) -> str:
    """A speed-up with its interval, such as `4.5x (4.4–4.7)`; more digits where a wide figure would hide it."""
    return timing_speedup_text(row.timing)


def timing_speedup_text(timing: Timing | None) -> str:
    """The same, of a timing."""
    if timing is None or timing.speedup is None:
        return "-"
    if timing.speedup_low is None or timing.speedup_high is None:
        return human_ratio(timing.speedup)
    digits = 2 if timing.speedup < 2 else 1  # noqa: PLR2004 - near 1 the second digit decides
    low, high = f"{timing.speedup_low:.{digits}f}", f"{timing.speedup_high:.{digits}f}"
    return f"{timing.speedup:.{digits}f}x ({low}–{high})"


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
    Column("account", "account.records", "parts of the median time, each with seconds and kernel; text outside JSON"),
    Column("onednn_agrees", "account.agreement.agrees", "the sizes that oneDNN says it convolved are this block's"),
    Column("hint", "hint.text", "what would make it faster on this machine"),
    Column("hint_verified", "hint.verified", "whether the hint's alternative was timed"),
)
"""The fields of `convcost.compare`, in the order of CSV and JSON."""

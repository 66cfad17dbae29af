"""The result of `convcost compare`: rows, conditions, verdicts and warnings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.comparison.rows import Row
from convcost.text.columns import records
from convcost.text.result import Result, grouped
from convcost.text.sizes import format_sizes
from convcost.text.units import change_of, human_ratio, human_share, human_time, number_of
from convcost.timing.columns import speed_sentence, timing_sentences
from convcost.timing.conditions import threads_text
from convcost.timing.statistics import overhead_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.comparison.explanation import Explanation
    from convcost.text.columns import Column
    from convcost.text.figure import Figure
    from convcost.timing.machine import Machine


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Result[Row]):
    """Blocks on one layer shape, side by side.

    Attributes:
        rows: One row for each block and condition.
        command: Command line that repeats the comparison.
        settings: Requested conditions.
        notes: Remarks on the whole comparison, such as blocks that the shape does not allow.
        machines: Calibrated machines, by device, from which the bounds come.
        columns: Columns of the table and the frame; the JSON object always has all.
        has_rooflines: Whether the printed text and the notebook view end with the rooflines.
        has_explanations: Whether the JSON object has the derivation of each block.
    """

    SCHEMA: ClassVar = "convcost.compare/1"
    rows: tuple[Row, ...]
    command: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    machines: Mapping[str, Machine] = field(default_factory=dict)
    columns: tuple[Column[Row], ...] = COMPARE_COLUMNS
    has_rooflines: bool = False
    has_explanations: bool = False

    @property
    def conditions(self) -> dict[str, Any]:
        """The requested conditions, and the real ones; a list of those that differ between the rows."""
        seen = [asdict(row.conditions) for row in self.rows if row.conditions is not None]
        real = {name: list(dict.fromkeys(one[name] for one in seen)) for name in (seen[0] if seen else ())}
        return {**self.settings, **{name: one[0] if len(one) == 1 else one for name, one in real.items()}}

    def name(self, row: Row) -> str:
        """The block of a row, with the conditions in which the rows differ."""
        varied = [name for name, values in self.conditions.items() if name in _VARIED and isinstance(values, list)]
        texts = {"dtype": row.dtype} if row.conditions is None else asdict(row.conditions)
        if row.conditions is not None:
            texts["threads"] = number_of("thread", row.conditions.threads)
        shown = ", ".join(texts[name] for name in varied if name in texts)
        return f"{row.placed.block.name} ({shown})" if shown else row.placed.block.name

    def sorted_by(self, field: str | None) -> Comparison:
        """The comparison with its rows in ascending order of a field, those without a value last."""
        column = next((one for one in COMPARE_COLUMNS if one.name == field), None)
        if column is None:
            return self

        def key(row: Row) -> tuple[bool, Any]:
            value = column.value(row)
            sizes = isinstance(value, tuple) and all(isinstance(size, int) for size in value)
            return value is None, value if sizes or isinstance(value, (int, float)) else str(column.in_file(row))

        return replace(self, rows=tuple(sorted(self.rows, key=key)))

    @property
    def agrees(self) -> bool:
        """Whether no counter differs from the formula, and oneDNN convolved the layers of the blocks."""
        counted = (row.counts is None or row.counts.agree is not False for row in self.rows)
        convolved = (row.account is None or row.account.agreement.agrees is not False for row in self.rows)
        return all(counted) and all(convolved)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One line for each row with something to report."""
        return tuple(filter(None, (verdict(row, self.name(row)) for row in self.rows)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the rows, each once."""
        return grouped((self.name(row), row.warnings) for row in self.rows)

    @property
    def below(self) -> tuple[str, ...]:
        """The account of each row that has one, then the rooflines, if they are requested."""
        accounts = [
            row.account.lines(self.name(row), row.hint.text if row.hint else None)
            for row in self.rows
            if row.account is not None
        ]
        return (*accounts, *(self.rooflines() if self.has_rooflines else ()))

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """The speed of each block against what its MACs promise, where the time goes, and what each block costs."""
        from convcost.comparison.figures import comparison_figures

        return comparison_figures([(self.name(row), row) for row in self.rows])

    def rooflines(self, width: int = 80) -> tuple[str, ...]:
        """Rooflines of the timed rows as text, one for each calibrated device, dtype and number of threads.

        Args:
            width: Width of the text in characters.
        """
        from convcost.timing.bound import roofline

        groups: dict[tuple[str, str, int], list[Row]] = {}
        for row in self.rows:
            if row.conditions is not None and row.conditions.device in self.machines:
                groups.setdefault((row.conditions.device, row.dtype, row.conditions.threads), []).append(row)
        plots = []
        for (device, dtype, threads), rows in groups.items():
            machine = self.machines[device]
            drawn = [(self.name(row), row.placed.cost.flop_per_byte, row.flop_per_s) for row in rows if row.flop_per_s]
            peak = machine.peak(dtype, threads)
            if peak is not None and drawn:
                title = (
                    device
                    if len(groups) == len(self.machines)
                    else f"{device}, {dtype}{threads_text(device, threads, ', ')}"
                )
                plots.append(f"{title}\n{roofline(drawn, peak, machine.hierarchy(threads), width)}")
        return tuple(plots)

    @property
    def head(self) -> str:
        """The layer shape, the input and the conditions, on one line."""
        spec = self.rows[0].placed.spec
        layer = f"{spec.in_channels}→{spec.out_channels}, {format_sizes(spec.kernel_size)}"
        shape = format_sizes((spec.batch, spec.in_channels, spec.height, spec.width))
        timed = next((row.conditions for row in self.rows if row.conditions is not None), None)
        varied = {name for name, values in self.conditions.items() if isinstance(values, list)}
        parts = [layer, f"input {shape}", *([] if "dtype" in varied else [self.rows[0].dtype])]
        if timed is not None:
            parts.append(timed.summary(varied))
        return ", ".join(parts) + "; 1 MAC = 2 FLOPs"

    @property
    def caption(self) -> str:
        """The sentences for a table's caption."""
        timings = [row.timing for row in self.rows if row.timing is not None]
        return f"{self.head}." + (f" {timing_sentences(timings)}" if timings else "")

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """The derivation of each block."""
        from convcost.comparison.explanation import explain_row

        return tuple(explain_row(row) for row in {row.placed.block.name: row for row in self.rows}.values())

    def _fields(self) -> dict[str, Any]:
        derived = {"explanations": [one.to_dict() for one in self.explanations]} if self.has_explanations else {}
        return {
            "command": self.command,
            "conditions": self.conditions,
            "rows": records(COMPARE_COLUMNS, self.rows),
            "machines": {device: asdict(machine) for device, machine in self.machines.items()},
            **derived,
        }


_VARIED: Final = ("device", "dtype", "memory_format", "threads")
"""The conditions that a comparison can vary."""
FALLS_SHORT: Final = 0.8
"""Share of the MAC ratio; a speed-up below it gets an explanation."""
MIN_ATTAINED: Final = 0.05
"""Share of the bound; a row that attains less is told what stands between."""
MAX_COPY: Final = 2.0
"""Largest time of a copy of the output, as a multiple of the bound, that the bound explains."""
SAME_TRAFFIC: Final = 1.05
"""Ratio of memory traffic up to which it counts as unchanged."""


def verdict(row: Row, name: str | None = None) -> str | None:
    """A block compared with the baseline and with its bound, on one line; None without either.

    Args:
        row: Row of the block.
        name: Beginning of the line; None for the name of the block.
    """
    name = name or row.placed.block.name
    baseline, ratio = row.baseline, row.macs_ratio
    if baseline is None or ratio is None or baseline.block.name == row.placed.block.name:
        bound = _bound(row)
        return f"{name}:{bound}" if bound else None
    ours, theirs = row.placed.output.channels, baseline.output.channels
    other = "" if ours == theirs else f" (for {ours} output channels instead of {theirs})"
    formula = f"{change_of(baseline.cost.macs, row.placed.cost.macs)} MACs{other}"
    if row.timing is None or row.conditions is None or row.timing.speedup is None:
        return f"{name}: {formula}, against {baseline.block.name}."
    threads = number_of("thread", row.conditions.threads)
    device = f"this CPU, {threads}" if row.conditions.device == "cpu" else row.conditions.device
    speed = f"{formula}, {speed_sentence(row.timing, f' on {device}')}."
    return f"{name}: {speed}{_reason(row, ratio)}{_bound(row)}"


def _bound(row: Row) -> str:
    """The bound on this machine and the attained share of it; empty where the machine is not calibrated."""
    bound, attained = row.bound, row.attained
    if bound is None or attained is None or bound.is_disturbed:
        return ""
    if bound.is_beaten(attained):
        return (
            f" It is faster than its bound of {human_time(bound.seconds)}: the calibration is stale; calibrate again."
        )
    roof = f"traffic with {bound.level}" if bound.roof == "memory" else bound.roof
    least, share = human_time(bound.seconds), human_share(attained)
    return f" Its bound on this machine is {least} ({roof}); it attains {share} of that.{_between(row, bound.seconds)}"


def _between(row: Row, bound_s: float) -> str:
    """What stands between a time and its bound, where the two are far from each other."""
    copy_s = None if row.hint is None else row.hint.copy_s
    if copy_s is not None and copy_s > MAX_COPY * bound_s:
        copied = f"{human_time(copy_s)}, {human_ratio(copy_s / bound_s)} the bound"
        return f" A plain copy of the output takes {copied}, which counts its traffic at the speed of the caches."
    if row.attained is None or row.attained >= MIN_ATTAINED:
        return ""
    if row.account is None:
        return " Too far to be explained by its work: an account of the time (why) shows what stands between."
    if row.account.doubts:
        return " What stands between is not known, since the account does not add up."
    measured = [part for part in row.account.parts if part.part != "unexplained"]
    largest = max(measured, key=lambda part: part.seconds)
    share = human_share(min(1.0, largest.seconds / row.account.time_s))
    return f" Between them stands {' '.join(filter(None, (largest.part, largest.kernel)))}: {share} of the time."


def _reason(row: Row, ratio: float) -> str:
    timing, baseline, conditions = row.timing, row.baseline, row.conditions
    if (
        timing is None
        or baseline is None
        or conditions is None
        or timing.speedup is None
        or timing.verdict == "undecided"
    ):
        return ""
    if timing.speedup >= FALLS_SHORT * ratio:
        return ""
    limit = overhead_limit(conditions.device)
    if timing.time_s < limit:
        return f" Below {limit * 1e6:g} µs a call is mostly overhead, not arithmetic."
    traffic = baseline.cost.traffic_bytes / row.placed.cost.traffic_bytes
    if traffic < ratio:
        change = f"only {human_ratio(traffic)} less" if traffic > SAME_TRAFFIC else f"{1 / traffic:.2f}x the baseline's"
        return f" It moves {change} memory traffic, at {row.placed.cost.flop_per_byte:.1f} FLOP/byte."
    return ""

"""A calibrated machine as plain values, and whether its calibration is valid on this machine.

The values are measured in `nn.measure.machine`, and read and written in `timing.machine_file`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from convcost.text.toml_tables import Read, number
from convcost.text.units import human_bytes, human_count, human_share, human_time, number_of
from convcost.timing.conditions import threads_text

MAX_FLOP_PER_S: Final = 1e13
"""Maximum FLOP/s of one core; matrix units of today's processors reach a third of it."""
MAX_BYTE_PER_S: Final = 2e12
"""Maximum bytes per second of one core; today's first caches reach half of it."""
MAX_LOSS: Final = 0.1
"""Share by which a figure may be below that of an earlier calibration, as runs differ."""

# The figures of a machine file, each with limits that are wide enough for every machine that runs torch.
Cores: TypeAlias = Annotated[int, Read(number(0, 2**16))]
Threads: TypeAlias = Annotated[int, Read(number(1, 2**16))]
Processes: TypeAlias = Annotated[int, Read(number(2, 2**16))]
Capacity: TypeAlias = Annotated[int | None, Read(number(2**10, 2**40), default=None)]
FlopRate: TypeAlias = Annotated[float, Read(number(1e6, 1e18, float))]
ByteRate: TypeAlias = Annotated[float, Read(number(1e6, 1e16, float))]
CallTime: TypeAlias = Annotated[float, Read(number(1e-10, 1, float))]
Spread: TypeAlias = Annotated[float, Read(number(0, 1e6, float))]
RunToRun: TypeAlias = Annotated[float, Read(number(0, 1, float))]


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a machine and of the versions that were measured.

    Attributes:
        name: Name of the processor or the accelerator.
        device: Kind of device: "cpu", "cuda" or "mps".
        cores: Number of processors that the process may use; 0 for an accelerator.
        isa: Vector instructions of torch's CPU kernels; empty where unknown.
        torch_version: Version of torch without its build suffix.
        onednn_version: Version of oneDNN; empty without it.
    """

    name: str
    device: str
    cores: Cores
    isa: str
    torch_version: str
    onednn_version: str


@dataclass(frozen=True, slots=True)
class Peak:
    """The compute roof of one dtype and number of threads: the fastest measured arithmetic.

    Attributes:
        dtype: Data type of the elements.
        threads: Threads of torch.
        gemm_flop_per_s: FLOP/s of the fastest square matrix product.
        flop_per_s: FLOP/s of the fastest matrix product or convolution, which is the roof.
        spread: Spread of the fastest samples of that kernel, as a share.
        how: Kernels and samples that the figures come from.
    """

    dtype: str
    threads: Threads
    gemm_flop_per_s: FlopRate
    flop_per_s: FlopRate
    spread: Spread
    how: str


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the memory hierarchy.

    Attributes:
        name: Name of the level: "L1", "L2", "L3" or "memory".
        threads: Threads of torch.
        capacity_bytes: Bytes that the level holds for these threads together; None for memory, which is not limited.
        byte_per_s: Fastest measured traffic of data that fit this level but not the faster one before it.
        spread: Spread of the fastest samples, as a share.
        how: Kernel and sizes that the figure comes from.
    """

    name: str
    threads: Threads
    capacity_bytes: Capacity
    byte_per_s: ByteRate
    spread: Spread
    how: str


@dataclass(frozen=True, slots=True)
class Roofs:
    """The roofs of a machine for one dtype and number of threads.

    Attributes:
        device: Kind of device: "cpu", "cuda" or "mps".
        peak: Compute roof.
        levels: Memory roofs, the fastest first.
    """

    device: str
    peak: Peak
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Overhead:
    """The overhead of a call: its time with next to no arithmetic.

    Attributes:
        empty_call_s: Seconds per call of a module that does nothing.
        convolution_call_s: Seconds per call of the fastest convolution of one pixel.
        spread: Spread of the fastest samples of that convolution, as a share.
        how: Modules that the figures come from.
    """

    empty_call_s: CallTime
    convolution_call_s: CallTime
    spread: Spread
    how: str


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of a speed-up between fresh processes.

    Attributes:
        run_to_run: Standard deviation of a speed-up between processes, as a share of it.
        processes: Number of processes that were compared.
        how: Layer and estimate that the figure comes from.
    """

    run_to_run: RunToRun
    processes: Processes
    how: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A calibrated machine.

    Attributes:
        identity: Machine and versions of the calibration.
        date: Date of the calibration, YYYY-MM-DD.
        peaks: Compute roofs, by dtype and threads.
        levels: Memory roofs, by threads, the fastest level first.
        overhead: Overhead of a call.
        noise: Noise between processes; None where it was not measured.
        source: Path of the machine file, for messages; empty without one.
    """

    identity: Identity
    date: str
    peaks: tuple[Peak, ...]
    levels: tuple[Level, ...]
    overhead: Overhead
    noise: Noise | None = None
    source: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The figures with their spreads as text, one on each line."""
        own = self.identity
        head = ", ".join(
            filter(None, (own.name, f"{own.cores} cores" if own.cores else "", own.isa, f"torch {own.torch_version}"))
        )
        lines = [f"{head}; {self.date}"]
        for peak in self.peaks:
            gemm = f"matrix product {human_count(peak.gemm_flop_per_s)}"
            lines.append(
                f"{peak.dtype}{self._with(peak.threads)}: {human_count(peak.flop_per_s)}FLOP/s "
                f"({gemm}FLOP/s; {_spread_text(peak.spread)})"
            )
        for level in self.levels:
            room = "" if level.capacity_bytes is None else f" ({human_bytes(level.capacity_bytes)})"
            rate = f"{human_bytes(round(level.byte_per_s))}/s"
            lines.append(f"{level.name}{room}{self._with(level.threads)}: {rate} ({_spread_text(level.spread)})")
        empty, call = human_time(self.overhead.empty_call_s), human_time(self.overhead.convolution_call_s)
        lines.append(f"an empty call {empty}, a convolution of nothing {call}")
        if self.noise is not None:
            noise = human_share(self.noise.run_to_run)
            lines.append(f"noise: a speed-up differs by {noise} between {self.noise.processes} fresh processes")
        return tuple(lines)

    @property
    def note(self) -> str:
        """A note for the user: the uses of the calibration, its date and its file."""
        if self.noise is None:
            return f"bounds from the calibration of {self.date} ({self.source})."
        term = f"run-to-run term {human_share(self.noise.run_to_run)}"
        return f"bounds and intervals from the calibration of {self.date}, {term} ({self.source})."

    def peak(self, dtype: str, threads: int) -> Peak | None:
        """The compute roof; None where it was not measured."""
        return next((peak for peak in self.peaks if peak.dtype == dtype and self._holds(peak.threads, threads)), None)

    def hierarchy(self, threads: int) -> tuple[Level, ...]:
        """The memory roofs for these threads, the fastest first."""
        return tuple(level for level in self.levels if self._holds(level.threads, threads))

    def _with(self, threads: int) -> str:
        """The threads of a figure as text; empty on an accelerator, which has none of torch's."""
        return threads_text(self.identity.device, threads, ", ")

    def roofs(self, dtype: str, threads: int) -> Roofs | None:
        """The roofs for this dtype and these threads; None where they were not measured."""
        peak, levels = self.peak(dtype, threads), self.hierarchy(threads)
        return Roofs(self.identity.device, peak, levels) if peak is not None and levels else None

    def _holds(self, measured: int, threads: int) -> bool:
        """Whether a figure is for this number of CPU threads; on an accelerator every figure is."""
        return self.identity.device != "cpu" or measured == threads


def _spread_text(spread: float) -> str:
    """The spread of a figure; beyond 100 % it is none, since other programs disturbed the samples."""
    return f"spread {human_share(spread)}" if spread <= 1 else "spread over 100 %: other programs disturbed it"


def impossible_figures(machine: Machine) -> list[str]:
    """Figures that no machine has, so that the calibration went wrong."""
    call, empty = machine.overhead.convolution_call_s, machine.overhead.empty_call_s
    wrong = [] if empty <= call else [f"an empty call takes {human_time(empty)}, a convolution {human_time(call)}"]
    if machine.identity.device != "cpu":
        return wrong
    wrong += [
        f"{peak.dtype} reaches {human_count(peak.flop_per_s)}FLOP/s with {number_of('thread', peak.threads)}"
        for peak in machine.peaks
        if peak.flop_per_s > MAX_FLOP_PER_S * peak.threads
    ]
    return wrong + [
        f"{level.name} moves {human_bytes(round(level.byte_per_s))}/s with {number_of('thread', level.threads)}"
        for level in machine.levels
        if level.byte_per_s > MAX_BYTE_PER_S * level.threads
    ]


def losses(new: Machine, old: Machine) -> list[str]:
    """What a calibration lacks of an earlier one of the same machine and versions, or measured slower."""
    lost = ["the noise between processes"] if old.noise is not None and new.noise is None else []
    rates, known = _rates(new), _rates(old)
    lost += [name for name in known if name not in rates]
    slower = [name for name in known if name in rates and rates[name] < (1 - MAX_LOSS) * known[name]]
    calls = old.overhead.convolution_call_s, new.overhead.convolution_call_s
    slower += ["a call"] if (1 - MAX_LOSS) * calls[1] > calls[0] else []
    missing = [f"without {', '.join(lost)}"] if lost else []
    return [*missing, *([f"slower in {', '.join(slower)}"] if slower else [])]


def _rates(machine: Machine) -> dict[str, float]:
    """The figures of which more is better, by their names."""
    peaks = {f"{one.dtype} of {number_of('thread', one.threads)}": one.flop_per_s for one in machine.peaks}
    levels = {f"{one.name} of {number_of('thread', one.threads)}": one.byte_per_s for one in machine.levels}
    return peaks | levels


def misfits(machine: Machine, here: Identity, dtype: str, threads: int) -> list[str]:
    """Reasons why a calibration is not valid on this machine; empty if it is."""
    there = machine.identity
    reasons = [
        f"{word} {getattr(there, field) or 'unknown'} there, {getattr(here, field) or 'unknown'} here"
        for word, field in (
            ("machine", "name"),
            ("device", "device"),
            ("cores", "cores"),
            ("instructions", "isa"),
            ("torch", "torch_version"),
            ("oneDNN", "onednn_version"),
        )
        if getattr(there, field) != getattr(here, field)
    ]
    if not reasons and not machine.hierarchy(threads):
        reasons.append(f"not measured with {threads} threads")
    if not reasons and machine.peak(dtype, threads) is None:
        reasons.append(f"not measured with {dtype}")
    return reasons


def run_to_run_of(machine: Machine | None) -> float:
    """The run-to-run term of speed-ups: that of the machine if it was measured, else the default."""
    from convcost.timing.statistics import RUN_TO_RUN

    return RUN_TO_RUN if machine is None or machine.noise is None else machine.noise.run_to_run

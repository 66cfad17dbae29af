"""The speeds of a calibrated machine, and whether they hold on this one.

Plain values: they are measured in `nn.measure.machine`, and read and written in `timing.machine_file`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from convcost.text.toml_tables import Read, number
from convcost.text.units import human_bytes, human_count, human_share, human_time, number_of

# The figures of a machine file. Each may be from what every machine that runs torch reaches to what none reaches.
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
    """What tells one machine from another.

    Attributes:
        name: Name of the processor or the accelerator.
        device: cpu, cuda or mps.
        cores: Number of processors that the process may use; 0 for an accelerator.
        isa: Vector instructions of torch's CPU kernels; empty where unknown.
        torch_version: Version of torch, without the build.
        onednn_version: Version of oneDNN; empty where there is none.
    """

    name: str
    device: str
    cores: Cores
    isa: str
    torch_version: str
    onednn_version: str


@dataclass(frozen=True, slots=True)
class Peak:
    """The fastest measured arithmetic.

    Attributes:
        dtype: Data type of the elements.
        threads: Threads of torch.
        gemm_flop_per_s: FLOP/s of the fastest square matrix product.
        flop_per_s: FLOP/s of the fastest matrix product or convolution: the roof.
        spread: Spread of its fastest runs, as a share.
        how: How the figure was obtained.
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
        name: L1, L2, L3 or memory.
        threads: Threads of torch.
        capacity_bytes: Bytes that these threads can hold in it together; None for memory, which holds everything.
        byte_per_s: Fastest measured traffic at sizes that fit this level and not the one before.
        spread: Spread of the fastest runs, as a share.
        how: How the figure was obtained.
    """

    name: str
    threads: Threads
    capacity_bytes: Capacity
    byte_per_s: ByteRate
    spread: Spread
    how: str


@dataclass(frozen=True, slots=True)
class Overhead:
    """Time of a call with next to no arithmetic.

    Attributes:
        empty_call_s: Seconds of a module that does nothing.
        convolution_call_s: Seconds of the fastest convolution of one pixel.
        spread: Spread of the fastest runs of that convolution, as a share.
        how: How the figures were obtained.
    """

    empty_call_s: CallTime
    convolution_call_s: CallTime
    spread: Spread
    how: str


@dataclass(frozen=True, slots=True)
class Noise:
    """How much a speed-up differs between fresh processes.

    Attributes:
        run_to_run: Standard deviation as a share of the speed-up.
        processes: Number of processes that were compared.
        how: How the figure was obtained.
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
        levels: Memory roofs, by threads, the fastest first.
        overhead: Overhead of a call.
        noise: Noise between processes; None where it was not measured.
        source: File it was read from, for messages.
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
        """The figures as text, one a line, with their spread."""
        own = self.identity
        head = ", ".join(
            filter(None, (own.name, f"{own.cores} cores" if own.cores else "", own.isa, f"torch {own.torch_version}"))
        )
        lines = [f"{head}; {self.date}"]
        for peak in self.peaks:
            gemm = f"matrix product {human_count(peak.gemm_flop_per_s)}"
            lines.append(
                f"{peak.dtype}, {number_of('thread', peak.threads)}: {human_count(peak.flop_per_s)}FLOP/s "
                f"({gemm}FLOP/s; spread {human_share(peak.spread)})"
            )
        for level in self.levels:
            room = "" if level.capacity_bytes is None else f" ({human_bytes(level.capacity_bytes)})"
            rate = f"{human_bytes(round(level.byte_per_s))}/s"
            lines.append(
                f"{level.name}{room}, {number_of('thread', level.threads)}: {rate} (spread {human_share(level.spread)})"
            )
        empty, call = human_time(self.overhead.empty_call_s), human_time(self.overhead.convolution_call_s)
        lines.append(f"an empty call {empty}, a convolution of nothing {call}")
        if self.noise is not None:
            noise = human_share(self.noise.run_to_run)
            lines.append(f"noise: a speed-up differs by {noise} between {self.noise.processes} fresh processes")
        return tuple(lines)

    @property
    def note(self) -> str:
        """Remark below a table: what the calibration was used for, and its file."""
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

    def _holds(self, measured: int, threads: int) -> bool:
        """Whether a figure is for these threads of the CPU; on an accelerator every figure is."""
        return self.identity.device != "cpu" or measured == threads


def misfits(machine: Machine, here: Identity, dtype: str, threads: int) -> list[str]:
    """Reasons why a calibration does not hold on this machine; empty when it does."""
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

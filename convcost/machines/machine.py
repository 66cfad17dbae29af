"""A machine's speeds, and the time that no layer can beat on it: of compute, memory or overhead, whichever is longest.

Pure: plain values in, plain values out. Measuring is in `convcost.nn.calibrate`, files in `convcost.machines.files`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.units import human_bytes, human_count, human_share, human_time, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Bound", "Identity", "Level", "Machine", "Noise", "Overhead", "Peak", "Roof", "Work", "bound_of", "misfits"]

Roof: TypeAlias = Literal["compute", "memory", "overhead"]
ROOFS: Final[tuple[Roof, ...]] = ("compute", "memory", "overhead")


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one machine from another.

    Attributes:
        name: of the processor or the accelerator.
        device: cpu, cuda or mps.
        cores: processors that the process may use; 0 for an accelerator.
        isa: vector instructions that torch uses; empty where it does not say.
        torch_version: that was measured, without the build.
        onednn_version: of the convolution library; empty where there is none.
    """

    name: str
    device: str
    cores: int
    isa: str
    torch_version: str
    onednn_version: str


@dataclass(frozen=True, slots=True)
class Peak:
    """The fastest arithmetic seen.

    Attributes:
        dtype: of the elements.
        threads: that ran.
        gemm_flop_per_s: of a square matrix product.
        flop_per_s: of the fastest of the matrix products and the convolutions; the roof.
        spread: of the fastest runs of that, as a share.
        how: it was obtained.
    """

    dtype: str
    threads: int
    gemm_flop_per_s: float
    flop_per_s: float
    spread: float
    how: str


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the memory hierarchy.

    Attributes:
        name: L1, L2, L3 or memory.
        threads: that ran.
        capacity_bytes: that these threads can hold in it together; None for the last, which holds everything.
        byte_per_s: fastest traffic seen at sizes that fit this level and not the one before.
        spread: of the fastest runs, as a share.
        how: it was obtained.
    """

    name: str
    threads: int
    capacity_bytes: int | None
    byte_per_s: float
    spread: float
    how: str


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a call costs without any arithmetic to speak of.

    Attributes:
        empty_call_s: a module that does nothing.
        convolution_call_s: the fastest convolution of next to nothing.
        spread: of the latter, as a share.
        how: it was obtained.
    """

    empty_call_s: float
    convolution_call_s: float
    spread: float
    how: str


@dataclass(frozen=True, slots=True)
class Noise:
    """How much a speed-up differs between fresh processes.

    Attributes:
        run_to_run: standard deviation as a share of the speed-up.
        processes: that were compared.
        how: it was obtained.
    """

    run_to_run: float
    processes: int
    how: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A calibrated machine.

    Attributes:
        identity: whose figures these are.
        date: of the calibration, YYYY-MM-DD.
        peaks: by dtype and threads.
        levels: by threads, the fastest first.
        overhead: of a call.
        noise: between processes; None where it was not measured.
        source: the file, for messages.
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
        """What a person reads: one line a figure, with its spread."""
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
        """What it is used for, and where it lies."""
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
        """Whether a figure is for these threads of the CPU; an accelerator does not care."""
        return self.identity.device != "cpu" or measured == threads


@dataclass(frozen=True, slots=True)
class Work:
    """What one call must do.

    Attributes:
        flops: of its arithmetic.
        moved_bytes: inputs, weights and outputs, each once.
        convolution: whether it costs at least what a convolution of nothing does, and not only an empty call.
    """

    flops: int
    moved_bytes: int
    convolution: bool = True


@dataclass(frozen=True, slots=True)
class Bound:
    """A time that cannot be beaten on a machine.

    Attributes:
        seconds: of all the work.
        roof: that takes most of them.
        level: of the memory hierarchy that decides, where memory does; else empty.
        spread: of the calibration's figures for that roof, as a share.
    """

    seconds: float
    roof: Roof
    level: str
    spread: float

    def is_beaten(self, attained: float) -> bool:
        """Whether a share of more than 1 cannot be the spread: the calibration is wrong, or no longer right."""
        return attained > 1 + self.spread

    def doubts(self, attained: float | None) -> tuple[str, ...]:
        """What to say of a row that attained this share: nothing, or that it beats its bound."""
        beaten = attained is not None and self.is_beaten(attained)
        return ("faster than its bound: calibrate again, on a quiet machine",) if beaten else ()


def bound_of(works: Iterable[Work], machine: Machine, dtype: str, threads: int) -> Bound | None:
    """The least time for calls that run one after the other.

    Each call takes at least its arithmetic at the peak, its traffic at the speed of the caches that could hold it, and
    the overhead of a call; what is repeated is warm, so each level is taken to hold as much of the traffic as fits.

    Args:
        works: one a call.
        machine: with its roofs.
        dtype: of the elements.
        threads: that run.

    Returns:
        None where the machine was not measured with this dtype or these threads, or where there is no work.
    """
    peak, levels = machine.peak(dtype, threads), machine.hierarchy(threads)
    if peak is None or not levels:
        return None
    total = dict.fromkeys(ROOFS, 0.0)
    slowest: dict[str, float] = {}
    spreads: dict[Roof, float] = {"compute": peak.spread, "overhead": machine.overhead.spread, "memory": 0.0}
    for work in works:
        by_level = memory_seconds(work.moved_bytes, levels)
        times: dict[Roof, float] = {
            "compute": work.flops / peak.flop_per_s,
            "memory": sum(by_level.values()),
            "overhead": machine.overhead.convolution_call_s if work.convolution else machine.overhead.empty_call_s,
        }
        roof = max(times, key=lambda name: times[name])
        total[roof] += times[roof]
        if roof == "memory":
            level = max(by_level, key=lambda name: by_level[name])
            slowest[level] = slowest.get(level, 0.0) + times[roof]
    seconds = sum(total.values())
    if not seconds:
        return None
    decides: Roof = max(ROOFS, key=lambda name: total[name])
    level = max(slowest, key=lambda name: slowest[name]) if decides == "memory" else ""
    spreads["memory"] = next((one.spread for one in levels if one.name == level), 0.0)
    return Bound(seconds, decides, level, spreads[decides])


def memory_seconds(moved_bytes: int, levels: Sequence[Level]) -> dict[str, float]:
    """Seconds in each level for traffic of which every level holds as much as fits, the fastest first."""
    left, said, inside = moved_bytes, {}, 0
    for level in levels:
        room = left if level.capacity_bytes is None else min(left, max(0, level.capacity_bytes - inside))
        said[level.name] = room / level.byte_per_s
        left -= room
        inside += room
    return said


def misfits(machine: Machine, here: Identity, dtype: str, threads: int) -> list[str]:
    """Why a calibration does not hold here, each as `what was measured, what is here`; empty when it does."""
    there = machine.identity
    said = [
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
    if not said and not machine.hierarchy(threads):
        said.append(f"not measured with {threads} threads")
    if not said and machine.peak(dtype, threads) is None:
        said.append(f"not measured with {dtype}")
    return said

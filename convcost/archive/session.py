"""What the history keeps: one interleaved timing run, the layers in it, and what a stored row is. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from convcost.timing.statistics import Conditions, Timing

    Sizes: TypeAlias = tuple[int, ...]

__all__ = ["Entry", "Session", "Setup", "Stored"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What decides a time beside the conditions that were asked for: the machine, the versions, the switches.

    Attributes:
        processors: that the process may use.
        isa: the vector instructions that torch's CPU kernels take, such as AVX2.
        system: operating system and architecture.
        accelerator: name of the device that is not the CPU; None on the CPU.
        runtime: versions of what runs the accelerator, such as CUDA and cuDNN; None on the CPU.
        settings: torch's switches and environment variables that are not at their defaults; empty for none.
        convcost_version: that measured.
        python_version: that ran.
    """

    processors: int
    isa: str
    system: str
    accelerator: str | None
    runtime: str | None
    settings: str
    convcost_version: str
    python_version: str


@dataclass(frozen=True, slots=True)
class Session:
    """One timing run: its layers were timed in turn in one process, so their pairs give speed-ups.

    Attributes:
        measured_at: the end of the run, UTC, as in 2026-07-01T12:30:00Z.
        command: check, compare, kernel or model.
        target: of a model; None of a comparison.
        baseline: the block that speed-ups are relative to; None where there are none.
        time_budget_s: that the run was allowed on this device.
        conditions: that were asked for.
        setup: the machine, the versions and the switches.
        notes: what was to be said of the machine, such as that it was busy.
    """

    measured_at: str
    command: str
    target: str | None
    baseline: str | None
    time_budget_s: float
    conditions: Conditions
    setup: Setup
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One timed layer of a session.

    Attributes:
        name: of the block; of a model's layer, its path; `(forward)` for the whole.
        layer: everything that says which layer it is, as a JSON object with sorted keys.
        params: weights and biases.
        macs: multiply-accumulates of the batch.
        input_shape: (N, C, height, width), or as the layer has it.
        in_channels: of a convolution.
        out_channels: that really come out.
        kernel_size: of a convolution.
        stride: of a convolution.
        groups: of a convolution.
        timing: the timed view.
    """

    name: str
    layer: str
    params: int
    macs: int
    input_shape: Sizes
    in_channels: int | None
    out_channels: int | None
    kernel_size: Sizes | None
    stride: Sizes | None
    groups: int | None
    timing: Timing


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the history.

    Attributes:
        session_id: equal for the layers that were timed in turn.
        session: of the layer.
        entry: the layer.
    """

    session_id: int
    session: Session
    entry: Entry

    @property
    def warning(self) -> str | None:
        """Why not to trust the timing."""
        return "; ".join(self.entry.timing.warnings) or None

    @property
    def notes(self) -> str | None:
        """What was to be said of the machine."""
        return "; ".join(self.session.notes) or None

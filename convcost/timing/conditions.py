"""How a timing is requested, and what it was made under."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from convcost.text.errors import ConvcostError
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Setup:
    """What decides a time beside the requested conditions: the machine, the versions, the switches.

    Attributes:
        processors: Number of processors that the process may use.
        isa: Vector instructions of torch's CPU kernels, such as AVX2.
        system: Operating system and architecture.
        accelerator: Name of the device that is not the CPU; None on the CPU.
        runtime: Versions of the accelerator's libraries, such as CUDA and cuDNN; None on the CPU.
        settings: Torch's switches and environment variables that are not at their defaults; empty for none.
        convcost_version: Version of convcost.
        python_version: Version of Python.
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
class Conditions:
    """The conditions of a timing.

    Attributes:
        device: Device, such as cpu or cuda:0.
        dtype: Data type of every element.
        threads: Threads of torch, on the CPU.
        memory_format: contiguous or channels_last.
        compiled: Whether torch.compile was used.
        allocator: pinned (freed memory stays with the process) or default.
        torch_version: Version of torch.
        cpu: Name of the processor.
    """

    device: str
    dtype: str
    threads: int
    memory_format: str
    compiled: bool
    allocator: str
    torch_version: str
    cpu: str

    @property
    def summary(self) -> str:
        """All but the dtype in a few words, for the line above a table."""
        device = f"{self.cpu}, {number_of('thread', self.threads)}" if self.device == "cpu" else self.device
        return f"{self.memory_format}, {device}, allocator {self.allocator}, torch {self.torch_version}"


MEMORY_FORMATS: Final = ("contiguous", "channels_last")
ALLOCATORS: Final = ("pinned", "default")
DEVICE_RULE: Final = "must be cpu, cuda, cuda:1, mps or auto."
"""What the name of a device must be."""


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """How blocks, kernels or a model are to be timed.

    Attributes:
        devices: Names of the devices to time on.
        threads: Threads of torch on the CPU, a number or "all".
        allocator: "pinned" or "default".
        time_budget: Seconds for everything together, warm-up included.
        dtype: Type of every element; of a model that of its weights.
        memory_format: "contiguous" or "channels_last".
        compiled: Whether torch.compile is used.
        store: Whether timings go into the history.
        why: Whether the times of convolutions are accounted for.

    Raises:
        ConvcostError: an unknown memory format or allocator, threads or a budget below their least value, an account
            of compiled modules.
    """

    devices: tuple[str, ...] = ("auto",)
    threads: int | Literal["all"] = 1
    allocator: str = "pinned"
    time_budget: float = 8.0
    dtype: str = "float32"
    memory_format: str = "contiguous"
    compiled: bool = False
    store: bool = True
    why: bool = False

    def __post_init__(self) -> None:
        """Refuse what no device could make good."""
        require_one_of("memory_format", self.memory_format, MEMORY_FORMATS)
        require_one_of("allocator", self.allocator, ALLOCATORS)
        if self.threads != "all" and (not isinstance(self.threads, int) or self.threads < 1):
            raise ConvcostError(f"threads (={self.threads}) must be 1 or more, or all.")
        require_time_budget(self.time_budget)
        if self.why and self.compiled:
            raise ConvcostError("why (=true) must have eager timings to account for; turn compile off.")


def require_time_budget(seconds: float) -> None:
    """Refuse a time in which nothing can be timed.

    Raises:
        ConvcostError: it is not above 0, or without end.
    """
    if not 0 < seconds < float("inf"):
        raise ConvcostError(f"time_budget (={seconds}) must be a number of seconds above 0; 8 is the default.")


def is_device(name: str) -> bool:
    """Whether a text is the name of a device, be it there or not."""
    return re.fullmatch(r"cpu|cuda(:\d+)?|mps|auto", name, re.ASCII) is not None


def require_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a name that is none of these.

    Raises:
        ConvcostError: with all of them.
    """
    if value not in allowed:
        raise ConvcostError(f"{name} (={value}) must be one of {', '.join(allowed)}.")

"""The options of a timing, and the conditions under which it was made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from convcost.text.errors import ConvcostError, as_text
from convcost.text.sizes import is_number
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True, slots=True)
class Setup:
    """The facts that a time depends on beside the requested conditions: machine, versions and switches.

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
        device: Name of the device, such as "cpu" or "cuda:0".
        dtype: Data type of every element.
        threads: Threads of torch, on the CPU.
        memory_format: "contiguous" or "channels_last".
        compiled: Whether torch.compile was used.
        allocator: "pinned" (freed memory stays with the process) or "default".
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

    def summary(self, without: Collection[str] = ()) -> str:
        """All conditions but the dtype, for the line above a table.

        Args:
            without: Names of conditions to leave out.
        """
        texts = {"memory_format": self.memory_format, "device": self.cpu if self.device == "cpu" else self.device}
        texts |= {"threads": threads_text(self.device, self.threads)} if self.device == "cpu" else {}
        texts |= {"allocator": f"allocator {self.allocator}", "torch_version": f"torch {self.torch_version}"}
        return ", ".join(text for name, text in texts.items() if name not in without)


def threads_text(device: str, threads: int, before: str = "") -> str:
    """The threads of torch after `before`; empty on an accelerator, which has none of them.

    >>> threads_text("cpu", 2, ", "), threads_text("cuda:0", 2)
    (', 2 threads', '')
    """
    return f"{before}{number_of('thread', threads)}" if device == "cpu" else ""


MEMORY_FORMATS: Final = ("contiguous", "channels_last")
ALLOCATORS: Final = ("pinned", "default")
DEVICE_RULE: Final = "must be cpu, cuda, cuda:1, mps or auto."
"""The rule for the name of a device, for messages."""


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """Options of the timing of blocks, kernels or a model.

    Attributes:
        devices: Names of the devices to time on.
        threads: Threads of torch on the CPU, a number or "all".
        allocator: "pinned" or "default".
        time_budget: Seconds for all timings together, warm-up included.
        dtype: Data type of every element; for a model, of its weights.
        memory_format: "contiguous" or "channels_last".
        compiled: Whether torch.compile is used.
        store: Whether to keep the timings in the history.
        why: Whether to account for the times of convolutions.

    Raises:
        ConvcostError: A device that is no text, an unknown memory format or allocator, threads or a budget below their
            minimum, or an account of compiled modules.
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
        """Refuse values that are wrong on every device."""
        for device in self.devices:
            if not isinstance(device, str):
                raise ConvcostError(f"device (={as_text(device)}) must be the name of one device; write cpu, or auto.")
        require_one_of("memory_format", self.memory_format, MEMORY_FORMATS)
        require_one_of("allocator", self.allocator, ALLOCATORS)
        if self.threads != "all" and (not isinstance(self.threads, int) or self.threads < 1):
            raise ConvcostError(f"threads (={as_text(self.threads)}) must be 1 or more, or all.")
        require_time_budget(self.time_budget)
        if self.why and self.compiled:
            raise ConvcostError("why (=true) must have eager timings to account for; turn compile off.")


def require_time_budget(seconds: float) -> None:
    """Refuse a time budget that is not a positive number of seconds.

    Raises:
        ConvcostError: The budget is not above 0, or infinite.
    """
    if not is_number(seconds) or seconds <= 0:
        text = as_text(seconds)
        raise ConvcostError(f"time_budget (={text}) must be a number of seconds above 0; leave it out for the default.")


def is_device(name: object) -> bool:
    """Whether a text has the form of a device's name; the device need not exist."""
    return isinstance(name, str) and re.fullmatch(r"cpu|cuda(:\d+)?|mps|auto", name, re.ASCII) is not None


def require_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is not allowed.

    Raises:
        ConvcostError: The value is not allowed; the message lists the allowed ones.
    """
    if value not in allowed:
        raise ConvcostError(f"{name} (={as_text(value)}) must be one of {', '.join(allowed)}.")

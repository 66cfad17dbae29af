"""What decides a time: the requested conditions, and the machine that runs."""

from __future__ import annotations

from dataclasses import dataclass

from convcost.text.units import number_of


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

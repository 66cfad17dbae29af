"""What a timing was made under: the conditions that were requested, and the machine that ran it."""

from __future__ import annotations

from dataclasses import dataclass

from convcost.text.units import number_of

__all__ = ["Conditions", "Setup"]


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
class Conditions:
    """What a timing was made under.

    Attributes:
        device: such as cpu or cuda:0.
        dtype: of every element.
        threads: of torch, on the CPU.
        memory_format: contiguous or channels_last.
        compiled: whether torch.compile was used.
        allocator: pinned (freed memory stays with the process) or default.
        torch_version: that ran.
        cpu: name of the processor.
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

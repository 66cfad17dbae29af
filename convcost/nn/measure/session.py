"""One timing session: what every timing sets, looks at and puts back."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.nn.measure.clock import clock_for, probe_seconds
from convcost.nn.measure.device import resolve_device, resolve_threads
from convcost.system.processor import cpu_name, other_load, pin_allocator
from convcost.timing.conditions import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.timing.options import TimingOptions


__all__ = [
    "LOOK_S",
    "MOST_LOAD",
    "Look",
    "conditions_for",
    "look_at_machine",
    "machine_notes",
    "reference_probe",
    "timing_settings",
]

LOOK_S: Final = 0.5
MOST_LOAD: Final = 0.25
SEED: Final = 0
PROBE_SIZES: Final = (256, 384, 512, 768, 1024, 2048, 4096)
PROBE_S: Final = 1e-3


def conditions_for(request: TimingOptions, device: str) -> tuple[Conditions, bool]:
    """What a timing on this device is made under, and whether the allocator is pinned; pins it if it can be.

    Raises:
        ConvcostError: a device or a number of threads that this machine does not have.
    """
    where = resolve_device(device)
    pinned = request.allocator == "pinned" and where.type == "cpu" and pin_allocator()
    conditions = Conditions(
        str(where),
        request.dtype,
        resolve_threads(request.threads),
        request.memory_format,
        request.compiled,
        "pinned" if pinned else "default",
        str(torch.__version__),
        cpu_name(),
    )
    return conditions, pinned


@contextmanager
def timing_settings(threads: int) -> Iterator[None]:
    """Threads and inference mode while timing; the caller's threads and random state come back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(SEED)
            yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the machine showed.

    Attributes:
        notes: what to know about it, each with the next step.
        untrusted: why its times are not to be trusted, with the next step; None where they are.
    """

    notes: tuple[str, ...]
    untrusted: str | None = None


def machine_notes(request: TimingOptions, device: torch.device, threads: int, *, pinned: bool) -> tuple[str, ...]:
    """What to know about the machine, each with the next step."""
    return look_at_machine(request, device, threads, pinned=pinned).notes


def look_at_machine(request: TimingOptions, device: torch.device, threads: int, *, pinned: bool) -> Look:
    """Look for half a second how busy others keep the machine."""
    said, untrusted = [], None
    if device.type == "cpu":
        if request.allocator == "pinned" and not pinned:
            said.append("this platform cannot pin the allocator: page faults are part of the times.")
        load, cores = other_load(LOOK_S), resolve_threads("all")
        if load is not None and load > max(0.0, cores - threads) + MOST_LOAD:
            wanted = f"{threads} {'is' if threads == 1 else 'are'} wanted here"
            busy = f"other programs keep {load:.1f} of {cores} processors busy and {wanted}"
            said.append(f"{busy}: these timings are not to be trusted; close them, or use fewer threads.")
            untrusted = f"{busy}: close them"
        elif load is not None and load > MOST_LOAD:
            said.append(f"other programs keep {load:.1f} of {cores} processors busy: close them for a quieter timing.")
    if device.type == "cuda":
        tf32 = f"TF32 {'on' if torch.backends.cudnn.allow_tf32 else 'off'}"
        search = f"cudnn.benchmark {'on' if torch.backends.cudnn.benchmark else 'off'}"
        said.append(f"{device}: {tf32}, {search}; the L2 cache is not flushed between calls.")
    return Look(tuple(said), untrusted)


def reference_probe(device: torch.device) -> tuple[Callable[[], object], float]:
    """A square matrix product of 1 ms or more, and the FLOP/s that it reaches."""
    clock = clock_for(device, 2)
    for size in PROBE_SIZES:
        a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)

        def product(a: torch.Tensor = a, b: torch.Tensor = b) -> object:
            return a @ b

        seconds = probe_seconds(product, clock)
        if seconds >= PROBE_S:
            break
    return product, FLOPS_PER_MAC * size**3 / seconds

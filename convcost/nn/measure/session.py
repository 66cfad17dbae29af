"""The timing session: conditions, a check of the machine's load, settings of torch, probe and clock."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.nn.measure.clock import clock_for, interleave, probe_seconds
from convcost.nn.measure.device import resolve_device, resolve_threads
from convcost.system.processor import cpu_name, other_load, pin_allocator
from convcost.timing.conditions import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from convcost.nn.measure.clock import Clock, Watcher
    from convcost.timing.conditions import TimingOptions
    from convcost.timing.statistics import Series

LOOK_S: Final = 0.5
"""Seconds for which the load is observed before a timing on the CPU."""
MAX_LOAD: Final = 0.25
"""Maximum number of processors that other programs keep busy without a remark."""
MIN_BUDGET_S: Final = 0.01
SEED: Final = 0
PROBE_SIZES: Final = (256, 384, 512, 768, 1024, 2048, 4096)
MIN_PROBE_S: Final = 1e-3


@dataclass(frozen=True, slots=True)
class TimingSession:
    """An open timing session, during which torch has the requested threads, a fixed seed and inference mode.

    Attributes:
        conditions: Conditions of all timings of the session.
        device: Device that is timed.
        budget_s: Seconds that one run of candidates may take.
        clock: Clock that waits for the device.
        probe: Reference work: a matrix product of 1 ms or more.
        flop_per_s: FLOP/s of the probe.
        notes: Remarks about the machine, each with the next step.
        doubt: Reason not to trust any timing, with the next step; None on a quiet machine.
    """

    conditions: Conditions
    device: torch.device
    budget_s: float
    clock: Clock
    probe: Callable[[], object]
    flop_per_s: float
    notes: tuple[str, ...] = ()
    doubt: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether freed memory stays with the process, so that calls should have no page faults."""
        return self.conditions.allocator == "pinned"

    def run(
        self,
        calls: Mapping[str, Callable[[], object]],
        watch: Watcher | None = None,
        threads: Mapping[str, int] | None = None,
    ) -> tuple[dict[str, Series], dict[int, float]]:
        """Time candidates next to each other within the budget, as `interleave`; by default with the same threads."""
        wanted = threads or dict.fromkeys(calls, self.conditions.threads)
        own = wanted if self.device.type == "cpu" else None
        compiles = self.conditions.compiled
        return interleave(calls, self.probe, self.clock, self.budget_s, watch, compiles=compiles, threads=own)


@contextmanager
def timing_session(
    options: TimingOptions, progress: Callable[[str], object] = lambda _: None
) -> Iterator[TimingSession]:
    """A session on the first device of the options; on the CPU the load of other programs is checked first.

    Args:
        options: Conditions and time budget, which includes the check.
        progress: Called with a line of progress.

    Raises:
        ConvcostError: A device or a number of threads that this machine does not have.
    """
    conditions = conditions_for(options)
    progress("checking the load of the machine ...")
    on_cpu = conditions.device == "cpu"
    notes, doubt = _look_at_cpu(options, conditions) if on_cpu else (_accelerator_notes(conditions.device), None)
    with open_session(conditions, options.time_budget - (LOOK_S if on_cpu else 0.0)) as session:
        yield replace(session, notes=notes, doubt=doubt)


@contextmanager
def open_session(conditions: Conditions, budget_s: float) -> Iterator[TimingSession]:
    """A session without a check of the load.

    Args:
        conditions: Conditions of its timings.
        budget_s: Seconds that one run of candidates may take.
    """
    device = resolve_device(conditions.device)
    with timing_settings(conditions.threads):
        clock = clock_for(device, None)
        yield TimingSession(conditions, device, max(MIN_BUDGET_S, budget_s), clock, *_reference_probe(device))


def conditions_for(options: TimingOptions) -> Conditions:
    """The conditions of a timing on the first device of the options; pins the allocator if requested and possible.

    Raises:
        ConvcostError: A device or a number of threads that this machine does not have.
    """
    device = resolve_device(options.devices[0])
    pinned = options.allocator == "pinned" and device.type == "cpu" and pin_allocator()
    return Conditions(
        str(device),
        options.dtype,
        resolve_threads(options.threads),
        options.memory_format,
        options.compiled,
        "pinned" if pinned else "default",
        str(torch.__version__),
        cpu_name(),
    )


@contextmanager
def timing_settings(threads: int) -> Iterator[None]:
    """Set threads, a fixed seed and inference mode; threads and random state are restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(SEED)
            yield
    finally:
        torch.set_num_threads(before)


def _look_at_cpu(options: TimingOptions, conditions: Conditions) -> tuple[tuple[str, ...], str | None]:
    """Remarks about the load of the CPU, and the reason not to trust its times; None if they can be trusted."""
    notes: list[str] = []
    if options.allocator != conditions.allocator:
        notes.append("this platform cannot pin the allocator: the times include page faults.")
    load, cores, threads = other_load(LOOK_S), resolve_threads("all"), conditions.threads
    if load is None or load <= MAX_LOAD:
        return tuple(notes), None
    busy = f"other programs keep {load:.1f} of {cores} processors busy"
    if load <= max(0, cores - threads) + MAX_LOAD:
        return (*notes, f"{busy}: close them for a quieter timing."), None
    busy += f" and {threads} {'is' if threads == 1 else 'are'} wanted here"
    notes.append(f"{busy}: disturbed blocks of calls are left out; close them, or use fewer threads.")
    return tuple(notes), f"{busy}: close them"


def _accelerator_notes(device: str) -> tuple[str, ...]:
    """Remarks about settings of CUDA that affect times."""
    if not device.startswith("cuda"):
        return ()
    tf32 = f"TF32 {'on' if torch.backends.cudnn.allow_tf32 else 'off'}"
    search = f"cudnn.benchmark {'on' if torch.backends.cudnn.benchmark else 'off'}"
    return (f"{device}: {tf32}, {search}; the L2 cache is not flushed between calls.",)


def _reference_probe(device: torch.device) -> tuple[Callable[[], object], float]:
    """A square matrix product of 1 ms or more, and the FLOP/s that it reaches."""
    clock = clock_for(device, 2)
    for size in PROBE_SIZES:
        a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)

        def product(a: torch.Tensor = a, b: torch.Tensor = b) -> object:
            return a @ b

        seconds = probe_seconds(product, clock)
        if seconds >= MIN_PROBE_S:
            break
    return product, FLOPS_PER_MAC * size**3 / seconds

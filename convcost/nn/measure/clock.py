"""The clock: candidates timed next to each other, in blocks of calls.

1. Freed memory stays with the process, since page faults can cost ten times the arithmetic.
2. All candidates run in turn, A B C, C B A, so that a slow phase of the machine affects all alike.
3. A block lasts 20 ms, after one untimed call, since the caches hold the data of the previous candidate.
4. A block during which another program took the processor is run again.
5. A fixed matrix product, the probe, runs before each round, so that slow phases of the machine are recognised.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol

import torch

from convcost.timing.statistics import OVERHEAD_S, QUEUED_OVERHEAD_S, Sample, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BLOCK_S: Final = 0.020
MIN_CALLS: Final = 6
LONG_CALL_S: Final = 0.005
MIN_LONG_CALLS: Final = 2
WARM_UP_S: Final = 0.050
WARM_UP_CALLS: Final = 3
RETRIES: Final = 3
MAX_STOLEN: Final = 0.03
"""Share of the wall time without processor time beyond which another program had the processor, with one thread."""
WATCH_S: Final = 0.5
"""Minimum seconds between two calls of the watcher, which takes time from the timing."""
PROBE_CALLS: Final = 3
WANTED_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the clock.

    Attributes:
        wall_s: Seconds since an arbitrary start.
        cpu_s: Processor time of this process, seconds; None where it does not show preemption.
        preemptions: Number of involuntary context switches so far; None where unknown.
        faults: Number of minor page faults so far; None where unknown.
    """

    wall_s: float
    cpu_s: float | None
    preemptions: int | None
    faults: int | None


class Clock(Protocol):
    """A clock that reads the time after all started work has finished."""

    def read(self) -> Reading:
        """Wait for the device, then read."""


class CpuClock:
    """The clock of the CPU, on which torch's functions have finished when they return.

    Args:
        threads: Threads of torch; processor time shows preemption only with one thread. None for those of each reading.
    """

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        try:
            import resource
        except ImportError:
            self._usage: Callable[[], tuple[int, int]] | None = None
        else:

            def usage() -> tuple[int, int]:
                used = resource.getrusage(resource.RUSAGE_SELF)
                return used.ru_nivcsw, used.ru_minflt

            self._usage = usage

    def read(self) -> Reading:
        """Read the wall clock last, so that little of the reading itself is timed."""
        preemptions, faults = self._usage() if self._usage else (None, None)
        cpu = time.process_time() if (self._threads or torch.get_num_threads()) == 1 else None
        return Reading(time.perf_counter(), cpu, preemptions, faults)


class AcceleratorClock:
    """The clock of an accelerator: it waits for the queued work before it reads.

    Args:
        device: A cuda or mps device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def read(self) -> Reading:
        """Synchronize, then read."""
        torch.accelerator.synchronize(self._device)
        return Reading(time.perf_counter(), None, None, None)


def clock_for(device: torch.device, threads: int | None) -> Clock:
    """The clock of this device; the threads are as for `CpuClock`."""
    return CpuClock(threads) if device.type == "cpu" else AcceleratorClock(device)


class Watcher(Protocol):
    """Function that is called during a timing."""

    def __call__(self, series: Mapping[str, Series], probes: Mapping[int, float], line: str) -> None:
        """Take the partial results and a line of progress."""


@dataclass(slots=True)
class _Candidate:
    name: str
    call: Callable[[], object]
    threads: int | None = None
    one_thread_s: float | None = None
    first_s: float = 0.0
    call_s: float = 0.0
    calls: int = 1
    samples: list[Sample] = field(default_factory=list)
    dropped: int = 0

    def series(self, clock: Clock) -> Series:
        samples, threads = tuple(self.samples), self.threads or 1
        overhead_s = QUEUED_OVERHEAD_S if isinstance(clock, AcceleratorClock) else OVERHEAD_S
        return Series(self.first_s, samples, self.dropped, threads, self.one_thread_s, overhead_s)

    def use_threads(self) -> None:
        """Set the candidate's threads, if it has its own."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)


def interleave(  # noqa: PLR0913 - the parts of a timing session, in which the protocol runs
    candidates: Mapping[str, Callable[[], object]],
    probe: Callable[[], object],
    clock: Clock,
    budget_s: float,
    watch: Watcher | None = None,
    *,
    compiles: bool = False,
    threads: Mapping[str, int] | None = None,
) -> tuple[dict[str, Series], dict[int, float]]:
    """Time candidates next to each other until the budget is spent, warm-up included.

    Args:
        candidates: Calls by name; threads and inference mode are set already.
        probe: Fixed work of 1 to 2 ms, to recognise slow phases of the machine.
        clock: Clock of the device.
        budget_s: Seconds for all candidates together.
        watch: Called after each step.
        compiles: Whether first calls compile, so that they are not part of the budget.
        threads: Threads of torch for each candidate on the CPU; None to leave them as they are.

    Returns:
        The series of each candidate, and the seconds of the probe by round. Every candidate has at least one sample,
        even if the budget allows only its first call.
    """
    timed = [_Candidate(name, call, (threads or {}).get(name)) for name, call in candidates.items()]
    probes: dict[int, float] = {}
    for one in timed if compiles else ():
        if watch is not None:
            watch({}, probes, f"compiling {one.name} ...")
        one.use_threads()
        one.first_s = seconds_of(one.call, clock)
    start = clock.read().wall_s
    deadline = start + budget_s
    watched = -WATCH_S

    def report(what: str, *, now: bool = False) -> None:
        nonlocal watched
        moment = clock.read().wall_s
        if watch is not None and (now or moment - watched >= WATCH_S):
            watched = moment
            left = max(0.0, deadline - moment)
            watch({one.name: one.series(clock) for one in timed if one.samples}, probes, f"{what}, {left:.0f} s left")

    for one in timed:
        report(f"warming up {one.name}", now=True)
        _warm_up(one, clock, start + budget_s / 2, tries_one_thread=not compiles)
    _plan(timed, deadline - clock.read().wall_s)
    number = 0
    while _fits(timed, number, deadline - clock.read().wall_s):
        if threads:
            torch.set_num_threads(min(threads.values()))  # others disturb few threads the least
        probes[number] = probe_seconds(probe, clock)
        for one in timed if number % 2 == 0 else reversed(timed):
            _block(one, number, clock, deadline)
        number += 1
        report(f"timed {number} rounds")
    return {one.name: one.series(clock) for one in timed}, probes


def _warm_up(one: _Candidate, clock: Clock, latest: float, *, tries_one_thread: bool) -> None:
    """Make 3 calls, fewer if the later ones take 50 ms, then 2 with one thread; none if others need the time."""
    one.use_threads()
    spent = 0.0
    for number in range(WARM_UP_CALLS):
        one.call_s = seconds_of(one.call, clock)
        one.first_s = one.first_s or one.call_s
        spent += one.call_s if number else 0.0
        if clock.read().wall_s > latest or spent > WARM_UP_S:
            break
    if tries_one_thread and (one.threads or 1) > 1 and clock.read().wall_s + 2 * one.call_s < latest:
        torch.set_num_threads(1)
        one.one_thread_s = min(seconds_of(one.call, clock) for _ in range(2))


def seconds_of(call: Callable[[], object], clock: Clock) -> float:
    """Seconds of one call."""
    before = clock.read().wall_s
    call()
    return clock.read().wall_s - before


def _plan(timed: list[_Candidate], left_s: float) -> None:
    """Set the number of calls in a block: 20 ms of them, fewer if the budget allows too few rounds."""
    share = left_s / (WANTED_ROUNDS * max(1, len(timed)))
    for one in timed:
        seconds = max(one.call_s, 1e-7)
        few = MIN_CALLS if seconds <= LONG_CALL_S else MIN_LONG_CALLS
        wanted = max(few, ceil(BLOCK_S / seconds))
        one.calls = max(1, min(wanted, int(share / seconds) - 1))


def _fits(timed: list[_Candidate], number: int, left_s: float) -> bool:
    """Whether one more round ends within the budget; the first round always runs."""
    return number == 0 or left_s >= sum((one.calls + 1) * one.call_s for one in timed)


def probe_seconds(probe: Callable[[], object], clock: Clock) -> float:
    """Seconds of the fastest of three calls, after an untimed one."""
    probe()
    return min(seconds_of(probe, clock) for _ in range(PROBE_CALLS))


def _block(one: _Candidate, number: int, clock: Clock, deadline: float) -> None:
    """Time one block of calls after an untimed call; after 3 retries a disturbed block is kept."""
    one.use_threads()
    for attempt in range(1 + RETRIES):
        now = clock.read().wall_s
        if one.samples and now + (one.calls + 1) * one.call_s > deadline:
            return
        rushed = not one.samples and now + one.call_s > deadline
        calls = 1 if rushed else one.calls
        if not rushed:
            one.call()
        sample = _timed(one.call, calls, number, clock)
        one.call_s = min(one.call_s, sample.seconds)
        last = attempt == RETRIES or clock.read().wall_s + (calls + 1) * sample.seconds > deadline
        if sample.clean or last:
            one.samples.append(sample)
            return
        one.dropped += 1


def _timed(call: Callable[[], object], calls: int, number: int, clock: Clock) -> Sample:
    before = clock.read()
    for _ in range(calls):
        call()
    after = clock.read()
    wall = after.wall_s - before.wall_s
    stolen = False
    if before.cpu_s is not None and after.cpu_s is not None:
        stolen = wall - (after.cpu_s - before.cpu_s) > MAX_STOLEN * wall
    faults = None if before.faults is None or after.faults is None else (after.faults - before.faults) / calls
    return Sample(number, wall / calls, calls, not stolen and before.preemptions == after.preemptions, faults)

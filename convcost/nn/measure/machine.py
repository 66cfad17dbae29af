"""The calibration of a machine: roofs of compute and memory, overhead of a call, noise between processes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.nn.measure.clock import clock_for
from convcost.nn.measure.device import free_memory, laid_out, resolve_device, resolve_threads
from convcost.nn.measure.noise import MIN_NOISE_TIME_S, measure_noise
from convcost.nn.measure.session import LOOK_S, MAX_LOAD, timing_settings
from convcost.nn.measure.this_machine import cache_sizes, identity
from convcost.system.processor import other_load, pin_allocator
from convcost.text.units import number_of
from convcost.timing.bound import MAX_SPREAD
from convcost.timing.machine import Level, Machine, Overhead, Peak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from convcost.nn.measure.clock import Clock

    Report = Callable[[str, float], None]

DTYPES: Final = ("float32", "bfloat16", "float16", "float64")
GEMMS: Final = (128, 512, 1024, 2048)
"""Sizes of the square matrix products that are measured for the compute roof of a CPU."""
LARGE_GEMMS: Final = (1024, 2048, 4096, 8192)
"""The same for an accelerator: an H200 reaches 20 % more at 8192 than at 2048."""
CONVOLUTIONS: Final = ((16, 3, 14), (64, 3, 56), (256, 3, 28), (512, 3, 14), (256, 1, 28))
"""Channels (in and out), kernel size and image size of the convolutions that are measured for the compute roof."""
LARGE_BATCH: Final = 64
"""Samples of these convolutions on an accelerator; a CPU gets one."""
KERNELS: Final = len(GEMMS) + len(CONVOLUTIONS)
SAMPLE_S: Final = 0.004
MIN_EACH_S: Final = 0.005
"""Minimum seconds for one kernel."""
MIN_NOISE_S: Final = 25.0
"""Minimum seconds for a calibration that measures the noise between processes, after the import of torch."""
NOISE_SHARE: Final = 0.45
MIN_ROOM: Final = 8
"""Minimum of free memory, as a multiple of a convolution's input."""
MAX_SLOW: Final = 4
"""Maximum time of a kernel, as a multiple of its share of the budget."""
MIN_SAMPLES: Final = 2
LATE: Final = 1.5
"""Maximum time of a step, as a multiple of its share; what it still lacks is left out then."""
TOP: Final = 5
"""Number of fastest samples whose range is the spread."""
MEMORY_BYTES: Final = (1 << 26, 1 << 28)
FOOTPRINTS: Final = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Fastest:
    """The fastest sample of a call.

    Attributes:
        seconds: Seconds of that sample.
        spread: Difference between this sample and the next few, as a share.
    """

    seconds: float
    spread: float


def calibrate(device: str, seconds: float, report: Report) -> tuple[Machine, tuple[str, ...]]:
    """Measure a device.

    Args:
        device: Name of the device, as for `resolve_device`.
        seconds: Seconds for the whole calibration.
        report: Called with the name of a step and the finished share.

    Returns:
        The machine, and reasons not to trust the calibration.

    Raises:
        ConvcostError: A missing device, or a process that fails to measure the noise.
    """
    start = time.perf_counter()
    where = resolve_device(device)
    report("checking the load of the machine", 0.0)
    busy = [_busy()]
    on_cpu = where.type == "cpu"
    if on_cpu:
        pin_allocator()
    counts = tuple(dict.fromkeys((1, resolve_threads("all")))) if on_cpu else (1,)
    noise_s = max(MIN_NOISE_TIME_S, seconds * NOISE_SHARE) if on_cpu and seconds >= MIN_NOISE_S else 0.0
    end = start + seconds - LOOK_S
    measured, skipped = _measure(list(_steps(where, counts)), where, (start, end - noise_s, start + seconds), report)
    left = end - time.perf_counter()
    noise = None
    if noise_s:
        noise = measure_noise(left, lambda share: report("noise between processes", 1 - left * (1 - share) / seconds))
    if time.perf_counter() <= end:
        busy.append(_busy())
    report("done", 1.0)
    machine = Machine(
        identity(where),
        datetime.now(tz=UTC).astimezone().date().isoformat(),
        tuple(with_more_threads([one for one in measured if isinstance(one, Peak)])),
        tuple(monotone([one for one in measured if isinstance(one, Level)])),
        min((one for one in measured if isinstance(one, Overhead)), key=lambda one: one.convolution_call_s),
        noise,
    )
    late = (f"no time was left for {', '.join(skipped)}: raise seconds.",) if skipped else ()
    return machine, (*dict.fromkeys(filter(None, busy)), *late, *_uncertain(machine))


def _measure(
    steps: Sequence[_Step], where: torch.device, times: tuple[float, float, float], report: Report
) -> tuple[list[Peak | Level | Overhead], list[str]]:
    """The figures of the steps, and the names of those without time: dtypes other than float32.

    Args:
        steps: Steps in the order of their importance.
        where: Device.
        times: Start and end of the steps, and end of the calibration.
        report: Called with the name of a step and the finished share.
    """
    begin, end, last = times
    results: list[Peak | Level | Overhead] = []
    skipped = []
    parts = sum(step.parts for step in steps)
    for step in steps:
        now = time.perf_counter()
        report(step.name, (now - begin) / (last - begin))
        if now >= end and not step.needed:
            skipped.append(step.name)
            continue
        each = max(MIN_EACH_S, (end - now) / parts)
        parts -= step.parts
        with timing_settings(step.threads):
            clock = clock_for(where, step.threads)
            result = step.run(where, clock, each)
            if isinstance(result, Peak) and _is_beaten(result, results):  # by fewer threads: others disturbed it
                result = max(result, step.run(where, clock, each) or result, key=_rate)
        results += [] if result is None else [result]
    return results, skipped


def _uncertain(machine: Machine) -> tuple[str, ...]:
    """A warning about figures whose fastest samples differ too much."""
    names = [f"{one.dtype} of {number_of('thread', one.threads)}" for one in machine.peaks if one.spread > MAX_SPREAD]
    names += [f"{one.name} of {number_of('thread', one.threads)}" for one in machine.levels if one.spread > MAX_SPREAD]
    return (f"the fastest samples differ by over {MAX_SPREAD:.0%}: {', '.join(names)}.",) if names else ()


def _rate(one: object) -> float:
    return one.flop_per_s if isinstance(one, Peak) else 0.0


def _is_beaten(peak: Peak, results: Sequence[object]) -> bool:
    """Whether a peak of fewer threads is higher."""
    return any(one.dtype == peak.dtype and one.flop_per_s > peak.flop_per_s for one in results if isinstance(one, Peak))


def _busy() -> str | None:
    """A warning if other programs keep the machine so busy that its figures are too low."""
    load = other_load(LOOK_S)
    if load is None or load <= MAX_LOAD:
        return None
    return "other programs keep processors busy: the figures may be too low; close them and calibrate again."


@dataclass(frozen=True)
class _Step:
    """The measurement of one figure.

    Attributes:
        name: Name for the progress.
        parts: Number of equal shares of the time that it takes.
        threads: Threads of torch.
        run: Function that measures the figure, given the device, the clock and the seconds of a share.
        needed: Whether it is measured even if no time is left.
    """

    name: str
    parts: int
    threads: int
    run: Callable[[torch.device, Clock, float], Peak | Level | Overhead | None]
    needed: bool = True


def _steps(device: torch.device, counts: Sequence[int]) -> Iterator[_Step]:
    yield _Step("overhead of a call", 2, 1, _overhead)
    for dtype in DTYPES[:1]:
        yield from (_peak_step(dtype, threads) for threads in counts)
    for threads in counts:
        inside = 0
        for name, capacity in (*cache_sizes(device, threads), ("memory", None)):
            sizes = MEMORY_BYTES if capacity is None else tuple(int(capacity * part) for part in FOOTPRINTS)
            kept = tuple(size for size in sizes if size > inside) or sizes[-1:]
            words = f"{name} bandwidth, {number_of('thread', threads)}"
            yield _Step(words, 5 * len(kept), threads, _level_of(name, capacity, kept, threads))
            inside = capacity or inside
    for dtype in DTYPES[1:]:
        yield from (replace(_peak_step(dtype, threads), needed=False) for threads in counts)
    yield _Step("overhead of a call, again", 2, 1, _overhead)  # a slow phase of the processor spoils one of them


def _peak_step(dtype: str, threads: int) -> _Step:
    name = f"{dtype} peak, {number_of('thread', threads)}"
    return _Step(name, KERNELS, threads, _peak_of(dtype, threads))


def fastest(call: Callable[[], object], clock: Clock, seconds: float) -> Fastest:
    """The fastest sample of a repeated call; a sample lasts a few milliseconds.

    At least two samples are taken, since other programs may disturb one.
    """
    call()
    once = max(_sample(call, clock, 1), 1e-7)
    calls = max(1, int(SAMPLE_S / once))
    samples = [once, _sample(call, clock, 1)] if once > seconds else []
    end = clock.read().wall_s + seconds
    while once <= seconds and (len(samples) < MIN_SAMPLES or clock.read().wall_s < end):
        samples.append(_sample(call, clock, calls))
    best = sorted(samples)[:TOP]
    return Fastest(best[0], best[-1] / best[0] - 1)


def _sample(call: Callable[[], object], clock: Clock, calls: int) -> float:
    before = clock.read().wall_s
    for _ in range(calls):
        call()
    return (clock.read().wall_s - before) / calls


def _peak_of(dtype: str, threads: int) -> Callable[[torch.device, Clock, float], Peak | None]:
    def run(device: torch.device, clock: Clock, each_s: float) -> Peak | None:
        kind = getattr(torch, dtype)
        rates: dict[str, tuple[float, float]] = {}
        gemm, end = 0.0, clock.read().wall_s + LATE * KERNELS * each_s
        for family in (_gemms(kind, device), _convolutions(kind, device)):
            rate = 0.0
            for name, flops, call in family:
                slow = rate and flops / rate > MAX_SLOW * each_s  # without units for this dtype it takes seconds
                if slow or (gemm and clock.read().wall_s > end):
                    break
                try:
                    one = fastest(call, clock, each_s)
                except RuntimeError:  # the device does not have this arithmetic
                    continue
                reached = flops / one.seconds
                rates[name] = reached, one.spread
                rate = max(rate, reached)
                if name.startswith("matrix"):
                    gemm = max(gemm, reached)
        if not gemm:
            return None
        best = max(rates, key=lambda name: rates[name][0])
        tf32 = device.type == "cuda" and dtype == "float32" and torch.backends.cudnn.allow_tf32
        what = f"{best}{', convolutions with TF32' if tf32 else ''}"
        how = f"fastest of {len(rates)} kernels, {what}; each the fastest sample of {each_s:.2g} s"
        return Peak(dtype, threads, gemm, *rates[best], how)

    return run


def _gemms(kind: torch.dtype, device: torch.device) -> Iterator[tuple[str, int, Callable[[], object]]]:
    for size in GEMMS if device.type == "cpu" else LARGE_GEMMS:
        a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
        yield f"matrix product {size}", FLOPS_PER_MAC * size**3, partial(torch.matmul, a, b)


def _convolutions(kind: torch.dtype, device: torch.device) -> Iterator[tuple[str, int, Callable[[], object]]]:
    batch, free = 1 if device.type == "cpu" else LARGE_BATCH, free_memory(device)
    for channels, kernel, size in CONVOLUTIONS:
        if free is not None and free < MIN_ROOM * batch * channels * size**2 * kind.itemsize:
            continue
        conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False, device=device, dtype=kind)
        data = torch.randn(batch, channels, size, size, device=device).to(kind)
        data = data.contiguous(memory_format=torch.channels_last)
        flops = FLOPS_PER_MAC * batch * channels**2 * kernel**2 * size**2
        name = f"convolution {channels}→{channels} {kernel}×{kernel} @{size}"
        yield name, flops, partial(laid_out(conv, torch.channels_last), data)


def _level_of(
    name: str, capacity: int | None, footprints: Sequence[int], threads: int
) -> Callable[[torch.device, Clock, float], Level | None]:
    def run(device: torch.device, clock: Clock, each_s: float) -> Level | None:
        best, spread, how = 0.0, 0.0, ""
        end = clock.read().wall_s + LATE * 5 * len(footprints) * each_s
        for footprint in footprints:
            if best and clock.read().wall_s > end:
                break
            free = free_memory(device)
            if free is not None and 2 * footprint > free:
                continue
            for kind, moved, call in _streams(footprint, device):
                one = fastest(call, clock, each_s)
                if moved / one.seconds > best:
                    best, spread = moved / one.seconds, one.spread
                    how = f"{kind} of {footprint} bytes; the fastest of {len(footprints)} sizes and 5 kernels"
        return Level(name, threads, capacity, best, spread, how) if best else None

    return run


def _streams(footprint: int, device: torch.device) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Kernels on arrays of this total size in bytes: name, bytes read and written, and call."""
    count = max(64, footprint // 4)
    whole, half, other = (torch.zeros(n, device=device) for n in (count, count // 2, count // 2))
    repeats = max(1, (1 << 22) // count)
    again = whole.expand(repeats, count)  # the same bytes, read again and again in one call
    yield "add in place", 8 * count, lambda: whole.add_(1.0)
    yield "copy", 4 * count, lambda: half.copy_(other)
    yield "fill", 4 * count, lambda: whole.fill_(1.0)
    yield "sum", 4 * count, whole.sum
    yield "repeated sum", 4 * count * repeats, lambda: again.sum(1)


def with_more_threads(peaks: Sequence[Peak]) -> Iterator[Peak]:
    """The peaks, each at least as high as that of one thread, since other threads may stay idle.

    The spread of a peak that is raised is at least the difference, as its own measurement was disturbed.
    """
    for peak in peaks:
        alone = next(one for one in peaks if one.dtype == peak.dtype)
        if alone.flop_per_s > peak.flop_per_s:
            how = f"as {number_of('thread', alone.threads)}, which is no slower"
            gemm = max(peak.gemm_flop_per_s, alone.gemm_flop_per_s)
            spread = max(alone.spread, alone.flop_per_s / peak.flop_per_s - 1)
            yield Peak(peak.dtype, peak.threads, gemm, alone.flop_per_s, spread, how)
        else:
            yield peak


def monotone(levels: list[Level]) -> Iterator[Level]:
    """The levels, each at least as fast as slower levels and as the same level with fewer threads.

    The spread of a level that is raised is at least the difference, as its own measurement was disturbed.
    """
    names = list(dict.fromkeys(level.name for level in levels))
    for level in levels:
        within = names[names.index(level.name) :]
        slower = [one for one in levels if one.threads <= level.threads and one.name in within]
        best = max(slower, key=lambda one: (one.byte_per_s, one.threads))
        if best.byte_per_s == level.byte_per_s:
            yield level
        else:
            how = f"as {best.name} of {number_of('thread', best.threads)}, which is no slower"
            spread = max(best.spread, best.byte_per_s / level.byte_per_s - 1)
            yield replace(level, byte_per_s=best.byte_per_s, spread=spread, how=how)


def _overhead(device: torch.device, clock: Clock, each_s: float) -> Overhead:
    empty = nn.Identity()
    data = torch.randn(1, 1, 1, 1, device=device)
    tiny = [nn.Conv2d(channels, channels, 1, bias=False, device=device) for channels in (1, 16)]
    inputs = [torch.randn(1, conv.in_channels, 1, 1, device=device) for conv in tiny]
    nothing = fastest(partial(empty, data), clock, each_s)
    calls = [fastest(partial(c, x), clock, each_s) for c, x in zip(tiny, inputs, strict=True)]
    best = min(calls, key=lambda one: one.seconds)
    how = "Identity, and the faster of two 1×1 convolutions of one pixel; fastest samples"
    return Overhead(nothing.seconds, best.seconds, best.spread, how)

"""Blocks timed as real torch modules on one device: candidates made, conditions set and put back."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.nn.build.tree_module import build
from convcost.nn.measure.clock import clock_for, interleave, probe_seconds
from convcost.nn.measure.device import cpu_name, other_load, pin_allocator, refusal, resolve_device, resolve_threads
from convcost.text.errors import ConvcostError
from convcost.text.units import human_time
from convcost.timing.statistics import RUN_TO_RUN, Conditions, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from convcost.comparison.request import Request, TimingOptions
    from convcost.comparison.rows import Placed
    from convcost.timing.statistics import Series, Timing

    Watch = Callable[["Measured", str], None]

__all__ = [
    "LOOK_S",
    "MOST_LOAD",
    "Look",
    "Measured",
    "conditions_for",
    "look_at_machine",
    "machine_notes",
    "measure",
    "reference_probe",
    "timing_settings",
]

LOOK_S: Final = 0.5
MOST_LOAD: Final = 0.25
SEED: Final = 0
PROBE_SIZES: Final = (256, 384, 512, 768, 1024, 2048, 4096)
PROBE_S: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Measured:
    """What was timed on one device.

    Attributes:
        conditions: of all timings.
        timings: by block.
        refused: blocks that were not timed, with the reason.
        notes: about the machine.
    """

    conditions: Conditions
    timings: Mapping[str, Timing]
    refused: Mapping[str, str]
    notes: tuple[str, ...]


def measure(  # noqa: PLR0913, PLR0917 - what a timing depends on
    blocks: Sequence[Placed],
    request: Request,
    device: str,
    budget_s: float,
    watch: Watch,
    run_to_run: float = RUN_TO_RUN,
) -> Measured:
    """Time blocks on one device by the protocol of `convcost.nn.measure.clock`.

    Args:
        blocks: on one input shape; the first of a name counts.
        request: baseline, dtype, memory format, threads, compilation and allocator.
        device: as the user named it.
        budget_s: seconds, warm-up included.
        watch: is called with what is known so far and a line of progress.
        run_to_run: standard deviation of a speed-up between processes, as a share.

    Raises:
        ConvcostError: a device or a number of threads that this machine does not have, or a module that torch cannot
            run under these conditions.
    """
    where = resolve_device(device)
    conditions, pinned = conditions_for(request, device)
    nothing = Measured(conditions, {}, {}, ())
    watch(nothing, "looking at the machine ...")
    notes = machine_notes(request, where, conditions.threads, pinned=pinned)
    with timing_settings(conditions.threads):
        probe, flop_per_s = reference_probe(where)
        fitting, refused = _choose(blocks, where, flop_per_s, budget_s)
        calls = _calls(fitting, request, where)
        if not calls:
            return replace(nothing, refused=refused, notes=notes)

        def result(series: Mapping[str, Series], probes: Mapping[int, float]) -> Measured:
            timings = summarise(series, probes, request.baseline, pinned=pinned, run_to_run=run_to_run)
            return Measured(conditions, timings, refused, notes)

        def tell(series: Mapping[str, Series], probes: Mapping[int, float], line: str) -> None:
            watch(result(series, probes) if probes else nothing, line)

        spent = LOOK_S if where.type == "cpu" else 0.0
        clock, left = clock_for(where, conditions.threads), max(0.01, budget_s - spent)
        return result(*interleave(calls, probe, clock, left, tell, compiles=request.compiled))


def conditions_for(request: Request | TimingOptions, device: str) -> tuple[Conditions, bool]:
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


def machine_notes(
    request: Request | TimingOptions, device: torch.device, threads: int, *, pinned: bool
) -> tuple[str, ...]:
    """What to know about the machine, each with the next step."""
    return look_at_machine(request, device, threads, pinned=pinned).notes


def look_at_machine(request: Request | TimingOptions, device: torch.device, threads: int, *, pinned: bool) -> Look:
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


def _choose(
    blocks: Sequence[Placed], device: torch.device, flop_per_s: float, budget_s: float
) -> tuple[list[Placed], dict[str, str]]:
    """The blocks that fit the device and the budget; why the others do not."""
    fitting: list[Placed] = []
    refused: dict[str, str] = {}
    weights = 0
    for placed in {placed.block.name: placed for placed in blocks}.values():
        element = placed.cost.traffic_bytes  # inputs, weights and outputs of every stage
        reason = refusal(weights + 2 * element, device)
        least_s = placed.cost.flops / flop_per_s
        if reason is None and least_s > budget_s:
            reason = f"not timed: a call takes {human_time(least_s)} or more; raise --time-budget"
        if reason is None:
            fitting.append(placed)
            weights += element
        else:
            refused[placed.block.name] = reason
    return fitting, refused


def _calls(blocks: Sequence[Placed], request: Request, device: torch.device) -> dict[str, Callable[[], object]]:
    """One call of each block, with fresh modules and one input for all."""
    if not blocks:
        return {}
    dtype = getattr(torch, request.dtype)
    layout = torch.channels_last if request.memory_format == "channels_last" else torch.contiguous_format
    data = torch.randn(*blocks[0].spec.input.sizes, device=device, dtype=dtype).to(memory_format=layout)
    calls: dict[str, Callable[[], object]] = {}
    for placed in blocks:
        module = build(placed.tree, placed.spec.input, device=device, dtype=dtype)
        module = module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks this keyword
        runnable = torch.compile(module) if request.compiled else module

        def call(runnable: Callable[[torch.Tensor], object] = runnable, name: str = placed.block.name) -> object:
            try:
                return runnable(data)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                step = "leave out --compile" if request.compiled else "change --dtype or --device"
                msg = f"{name} could not run on {device} in {request.dtype}: {reason}; {step}."
                raise ConvcostError(msg) from error

        calls[placed.block.name] = call
    return calls

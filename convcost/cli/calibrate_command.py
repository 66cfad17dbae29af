"""`convcost calibrate`."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer evaluates the annotations at run time
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from convcost.cli.output import say, write_out
from convcost.cli.progress import progress_bar
from convcost.system.terminal import is_terminal
from convcost.text.errors import ConvcostError, as_text
from convcost.workflows.calibrate import calibrate

if TYPE_CHECKING:
    from convcost.timing.machine import Machine

MIN_S = 2.0
MAX_S = 600.0
LATE = 1.2
"""Longest time of a calibration, as a multiple of its seconds, without a note."""
NOISE_S = 30.0
"""Minimum seconds for a calibration that measures the noise between processes."""


def calibrate_command(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Machine file to write; by default CONVCOST_MACHINE, else a file in the user's cache folder.",
            metavar="FILE",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(help=f"Seconds for the whole calibration; measuring the noise takes {NOISE_S:g} or more.")
    ] = 60.0,
    device: Annotated[str, typer.Option(help="Device to calibrate: cpu, cuda, cuda:1, mps or auto.")] = "auto",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a better calibration of the same machine and versions too.")
    ] = False,
) -> int:
    """Measure this machine: peak arithmetic, cache and memory bandwidth, overhead of a call, and noise.

    Example: convcost calibrate --seconds 60
    """
    if not MIN_S <= seconds <= MAX_S:
        raise ConvcostError(f"seconds (={seconds:g}) must be from {MIN_S:g} to {MAX_S:g}; 60 measures everything.")
    if out is not None and out.suffix not in {"", ".toml"}:
        raise ConvcostError(f"out (={as_text(out)}) must be the name of a TOML file; write it as {out.stem}.toml.")
    start = perf_counter()
    with progress_bar(shown=is_terminal(sys.stderr)) as progress:
        path, machine, doubts = calibrate(out, seconds, device, force=force, progress=progress, show=_print)
    say([f"{path}: written"], "note")
    if (took := perf_counter() - start) > LATE * seconds:
        say(
            [f"it took {took:.0f} s: --seconds {seconds:g} is less than its least, which torch's import is part of."],
            "note",
        )
    say(doubts, "warning")
    if machine.noise is None:
        step = "give --seconds 60" if seconds < NOISE_S else "other programs took the time for it; calibrate again"
        why = step if machine.identity.device == "cpu" else "it is measured on CPUs only"
        say([f"the noise between processes was not measured: {why}."], "note")
    return 0


def _print(machine: Machine) -> None:
    write_out("".join(f"{line}\n" for line in machine.lines))

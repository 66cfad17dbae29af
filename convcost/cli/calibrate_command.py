"""`convcost calibrate`."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads it from the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from convcost.cli.output import is_terminal, say, write_out
from convcost.cli.progress import progress_bar
from convcost.text.errors import ConvcostError
from convcost.workflows.calibrate import calibrate

if TYPE_CHECKING:
    from convcost.timing.machine import Machine

LEAST_S = 2.0
MOST_S = 600.0
NOISE_S = 30.0


def calibrate_command(
    out: Annotated[
        Path | None,
        typer.Option(help="The machine file; else CONVCOST_MACHINE, else the user's cache folder.", metavar="FILE"),
    ] = None,
    seconds: Annotated[
        float, typer.Option(help=f"For everything together; the noise needs {NOISE_S:g} or more.")
    ] = 60.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = "auto",
) -> int:
    """Measure this machine: peak arithmetic, cache and memory bandwidth, overhead of a call, its own noise.

    Example: convcost calibrate --seconds 60
    """
    if not LEAST_S <= seconds <= MOST_S:
        raise ConvcostError(f"seconds (={seconds:g}) must be from {LEAST_S:g} to {MOST_S:g}; 60 measures everything.")
    with progress_bar(shown=is_terminal(sys.stderr)) as progress:
        path, machine, doubts = calibrate(out, seconds, device, progress=progress, show=_print)
    say([f"{path}: written"], "note")
    say(doubts, "warning")
    if machine.noise is None:
        spare = "give --seconds 60" if seconds < NOISE_S else "other programs took the time for it; calibrate again"
        why = spare if machine.identity.device == "cpu" else "only a CPU's is"
        say([f"the noise between processes was not measured: {why}."], "note")
    return 0


def _print(machine: Machine) -> None:
    write_out("".join(f"{line}\n" for line in machine.lines))

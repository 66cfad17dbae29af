"""Whole processes timed in turn, so that slow phases of the machine affect both sides of a ratio."""

from __future__ import annotations

import os
import pty
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Run:
    """One process: its wall time, its processor time and its peak memory."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def in_a_pipe(command: Sequence[str]) -> Run:
    """Run with stdout in a pipe."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.read()
        return _finish(process.pid, start)


def on_a_terminal(command: Sequence[str]) -> Run:
    """Run with a terminal of 120 columns as stdin, stdout and stderr."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        os.execv(command[0], command)
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(terminal)
    return _finish(pid, start)


def _finish(pid: int, start: float) -> Run:
    _, _, usage = os.wait4(pid, 0)
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def in_turn(commands: Mapping[str, Sequence[str]], runs: int, *, terminal: bool = False) -> dict[str, list[Run]]:
    """A B A B ..., after one run each that is not counted."""
    start = on_a_terminal if terminal else in_a_pipe
    done: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            run = start(command)
            if number:
                done[name].append(run)
    return done


def ratio(above: list[Run], below: list[Run]) -> str:
    """Median and range of the pairwise ratios of processor time."""
    ratios = sorted(a.cpu_s / b.cpu_s for a, b in zip(above, below, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


PYTHON = sys.executable
CONVCOST = [PYTHON, "-m", "convcost"]
EXAMPLE = [*CONVCOST, "compare", "--c", "3", "--o", "64", "--k", "3"]

"""`convcost calibrate`: measure this machine and write its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.timing.machine import Machine


__all__ = ["calibrate"]


def calibrate(
    out: Path | str | None = None,
    seconds: float = 60.0,
    device: str = "auto",
    *,
    tell: Callable[[str, float], None] = lambda name, share: None,  # noqa: ARG005 - nobody watches
    show: Callable[[Machine], None] = lambda _: None,
) -> tuple[Path, Machine, tuple[str, ...]]:
    """Measure this machine and write its file, which timings then use for bounds and for their noise.

    Args:
        out: the file; None for CONVCOST_MACHINE, else the user's cache folder.
        seconds: for everything together; the noise between processes needs 30 or more.
        device: cpu, cuda, cuda:1, mps or auto.
        tell: is called with what is being measured and the share of the time that is spent.
        show: is called with the machine before its file is written.

    Returns:
        The path that was written, the machine, and why not to trust it.

    Raises:
        ConvcostError: a device that is not there, or a folder that cannot be written; before anything is measured.
    """
    import time

    start = time.perf_counter()  # importing torch is part of the time
    from convcost.nn.measure.device import resolve_device
    from convcost.nn.measure.machine import calibrate as measure_machine
    from convcost.system.whole_files import require_writable
    from convcost.timing.machine_file import default_path, machine_text, parse_machine, save_machine

    path = Path(out) if out is not None else default_path(resolve_device(device).type)
    require_writable(path, what="machine", make_folder=out is None)
    machine, doubts = measure_machine(device, seconds - (time.perf_counter() - start), tell)
    machine = parse_machine(machine_text(machine).encode(), str(path))  # as who reads the file will have it
    try:
        show(machine)
    finally:
        save_machine(path, machine)
    return path, machine, doubts

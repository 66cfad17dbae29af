"""`convcost calibrate`: measure this machine and write its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.timing.machine import Machine


def calibrate(
    out: Path | str | None = None,
    seconds: float = 60.0,
    device: str = "auto",
    *,
    tell: Callable[[str, float], None] = lambda _, __: None,
    show: Callable[[Machine], None] = lambda _: None,
) -> tuple[Path, Machine, tuple[str, ...]]:
    """Measure this machine and write its file, from which timings take their bounds and their noise.

    Args:
        out: The file; None for CONVCOST_MACHINE, else the user's cache folder.
        seconds: Time for the whole calibration; the noise between processes needs 30 or more.
        device: cpu, cuda, cuda:1, mps or auto.
        tell: Called with the measurement that runs and the share of the time that is spent.
        show: Called with the machine before its file is written.

    Returns:
        The file's path, the machine, and reasons not to trust it.

    Raises:
        ConvcostError: An unknown device, or a folder that cannot be written; raised before anything is measured.
    """
    import time

    start = time.perf_counter()  # the time includes the import of torch
    from convcost.nn.measure.device import resolve_device
    from convcost.nn.measure.machine import calibrate as measure_machine
    from convcost.system.whole_files import require_writable
    from convcost.timing.machine_file import default_path, machine_text, parse_machine, save_machine

    path = Path(out) if out is not None else default_path(resolve_device(device).type)
    require_writable(path, what="machine", make_folder=out is None)
    machine, doubts = measure_machine(device, seconds - (time.perf_counter() - start), tell)
    machine = parse_machine(machine_text(machine).encode(), str(path))  # exactly what a reader of the file gets
    try:
        show(machine)
    finally:
        save_machine(path, machine)
    return path, machine, doubts

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
    progress: Callable[[str, float], None] = lambda _, __: None,
    show: Callable[[Machine], None] = lambda _: None,
) -> tuple[Path, Machine, tuple[str, ...]]:
    """Measure this machine and write its machine file, which gives timings their bounds and run-to-run noise.

    Args:
        out: Path of the machine file; None for CONVCOST_MACHINE, else the user's cache folder.
        seconds: Seconds for the whole calibration; the noise between processes needs 30 or more.
        device: Name of the device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        progress: Called with the name of a step and the share of the time that is spent.
        show: Called with the machine before its file is written.

    Returns:
        The path of the file, the machine, and reasons not to trust the calibration.

    Raises:
        ConvcostError: An unknown device, or a folder that cannot be written; raised before anything is measured.
    """
    import time

    start = time.perf_counter()  # the time includes the import of torch
    from convcost.nn.measure.device import resolve_device
    from convcost.nn.measure.machine import calibrate as measure_machine
    from convcost.system.signals import interrupts_held
    from convcost.system.whole_files import require_writable
    from convcost.timing.machine_file import default_path, machine_text, parse_machine, save_machine

    path = Path(out) if out is not None else default_path(resolve_device(device).type)
    require_writable(path, what="machine", make_folder=out is None)
    machine, doubts = measure_machine(device, seconds - (time.perf_counter() - start), progress)
    machine = parse_machine(machine_text(machine).encode(), str(path))  # the rounded values of the file
    with interrupts_held():  # a minute's work is not lost
        try:
            show(machine)
        finally:
            save_machine(path, machine)
    return path, machine, doubts

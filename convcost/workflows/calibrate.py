"""`convcost calibrate`: measure this machine and write its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.timing.machine import Machine


def calibrate(  # noqa: PLR0913 - the options of the command, and the two views of its progress
    out: Path | str | None = None,
    seconds: float = 60.0,
    device: str = "auto",
    *,
    force: bool = False,
    progress: Callable[[str, float], None] = lambda _, __: None,
    show: Callable[[Machine], None] = lambda _: None,
) -> tuple[Path, Machine, tuple[str, ...]]:
    """Measure this machine and write its machine file, which gives timings their bounds and run-to-run noise.

    Args:
        out: Path of the machine file; None for CONVCOST_MACHINE, else the user's cache folder.
        seconds: Seconds for the whole calibration; the noise between processes needs 30 or more.
        device: Name of the device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        force: Whether to replace a better calibration of the same machine and versions.
        progress: Called with the name of a step and the share of the time that is spent.
        show: Called with the machine before its file is written.

    Returns:
        The path of the file, the machine, and reasons not to trust the calibration.

    Raises:
        ConvcostError: An unknown device, or a folder that cannot be written; raised before anything is measured.
            Figures that cannot be, or a file with better ones; raised after the machine is shown.
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
            _require_better(machine, path, force=force)
            save_machine(path, machine)
    return path, machine, doubts


def _require_better(machine: Machine, path: Path, *, force: bool) -> None:
    """Refuse figures that cannot be, and those that are worse than the figures of the file."""
    from convcost.text.errors import ConvcostError
    from convcost.timing.machine import impossible_figures, losses
    from convcost.timing.machine_file import read_machine

    if wrong := impossible_figures(machine):
        msg = f"a calibration must have possible figures, and {'; '.join(wrong)}: close other programs and try again."
        raise ConvcostError(msg)
    try:
        old = None if force or not path.exists() else read_machine(path)
    except ConvcostError:  # a damaged file is no better one
        old = None
    if old is not None and old.identity == machine.identity and (lost := losses(machine, old)):
        step = "close other programs and try again, or turn force on"
        msg = f"machine (={path}) holds a better calibration, and this one is {' and '.join(lost)}; {step}."
        raise ConvcostError(msg)

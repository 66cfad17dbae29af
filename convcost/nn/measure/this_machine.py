"""This machine: what its times depend on beside the requested conditions, its identity, and its calibration."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from convcost._version import __version__
from convcost.nn.measure.device import resolve_device, resolve_threads
from convcost.system.processor import cpu_name
from convcost.text.errors import ConvcostError
from convcost.timing.conditions import Setup
from convcost.timing.machine import Identity, Machine, misfits
from convcost.timing.machine_file import MACHINE_VARIABLE, default_path, read_machine

if TYPE_CHECKING:
    from collections.abc import Iterator


PREFIXES: Final = (
    "ATEN_CPU_CAPABILITY", "CUBLAS_", "CUDNN_", "DNNL_", "GLIBC_TUNABLES", "GOMP_", "KMP_", "LD_PRELOAD", "MALLOC_",
    "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_", "PYTORCH_", "TORCHINDUCTOR_",
)  # fmt: skip
"""Prefixes of environment variables that choose kernels, threads or the allocator."""
NO_SWITCH: Final = ("_DIR", "_PATH", "_FILE")
"""Suffixes of environment variables that only hold a path."""


def fingerprint(device: str) -> Setup:
    """The setup that a timing on this device depends on.

    Args:
        device: Name of the device.

    Raises:
        ConvcostError: A missing device.
    """
    where = resolve_device(device)
    return Setup(
        processors=resolve_threads("all"),
        isa=torch.backends.cpu.get_cpu_capability(),
        system=f"{platform.system()} {platform.machine()}",
        accelerator=_accelerator(where),
        runtime=_runtime(where),
        settings=" ".join([*_switches(where), *_variables()]),
        convcost_version=__version__,
        python_version=platform.python_version(),
    )


def machine_here(name: str) -> str:
    """The name of the machine for a device by its name, also for a missing one."""
    try:
        return machine_name(resolve_device(name))
    except ConvcostError:
        return f"{machine_name(torch.device('cpu'))}, without {name}"


def machine_name(device: torch.device) -> str:
    """The name of the machine for a device: the processor with its cores, or the accelerator."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {resolve_threads('all')} cores" + ("" if device.type == "cpu" else f", {device.type}")


def _accelerator(device: torch.device) -> str | None:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return None if device.type == "cpu" else f"{device.type} {platform.processor()}"


def _runtime(device: torch.device) -> str | None:
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]  # untyped in torch
        return f"CUDA {torch.version.cuda or torch.version.hip}, cuDNN {cudnn}"
    return None if device.type == "cpu" else f"{platform.system()} {platform.release()}"


def _switches(device: torch.device) -> Iterator[str]:
    """Torch's switches that are not at their defaults; on CUDA all switches that choose convolution kernels."""
    precision = torch.get_float32_matmul_precision()
    if precision != "highest":
        yield f"float32_matmul_precision={precision}"
    if torch.are_deterministic_algorithms_enabled():
        yield "deterministic_algorithms"
    if not torch.backends.mkldnn.enabled:
        yield "mkldnn=off"
    if device.type == "cuda":
        cudnn = torch.backends.cudnn
        for name in ("enabled", "allow_tf32", "benchmark", "deterministic"):
            yield f"cudnn.{name}={getattr(cudnn, name)}"


def _variables() -> list[str]:
    return [
        f"{name}={value}".encode(errors="backslashreplace").decode()  # the environment may hold any bytes
        for name, value in sorted(os.environ.items())
        if name.startswith(PREFIXES) and not name.endswith(NO_SWITCH)
    ]


_CACHE_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def identity(device: torch.device) -> Identity:
    """The identity of this machine, for calibrations."""
    version = torch.__version__.partition("+")[0]
    if device.type != "cpu":
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu_name()} GPU"
        return Identity(name, device.type, 0, "", version, "")
    isa = torch.backends.cpu.get_cpu_capability()
    return Identity(cpu_name(), "cpu", resolve_threads("all"), isa, version, _onednn_version())


def _onednn_version() -> str:
    """The version of oneDNN in this build of torch; empty for a build without it."""
    match = re.search(r"MKL-DNN v([\d.]+)|oneDNN v([\d.]+)", torch.__config__.show())
    return next(filter(None, match.groups()), "") if match else ""


def cache_sizes(device: torch.device, threads: int) -> tuple[tuple[str, int], ...]:
    """The data caches, the fastest first, each with its size in bytes for this number of threads together.

    Empty if the system does not report them; memory is then the only level.
    """
    if device.type == "cuda":
        size = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)
        return (("L2", int(size)),) if size else ()
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return ()
    sizes: dict[str, int] = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size, shared = (
            (folder / name).read_text(encoding="ascii").strip() for name in ("type", "level", "size", "shared_cpu_list")
        )
        match = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind in {"Data", "Unified"} and match:
            copies = -(-threads // _members(shared))
            sizes[f"L{level}"] = int(match[1]) * _CACHE_UNITS[match[2]] * copies
    return tuple(sorted(sizes.items()))


def _members(listed: str) -> int:
    """The number of processors in a list such as `0-3,8`."""
    ranges = (part.partition("-") for part in listed.split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


def calibration_for(device: torch.device, dtype: str, threads: int) -> tuple[Machine | None, str]:
    """The calibration that is valid for a timing, and a note about it.

    Returns:
        The calibration and a note; None if it is missing or stale, with a note on the reason and the next step.

    Raises:
        ConvcostError: The file is damaged, or CONVCOST_MACHINE names a missing file or that of another machine.
    """
    path, named = default_path(device.type), os.environ.get(MACHINE_VARIABLE)
    if not path.exists() and not named:
        return None, "no bound is shown: this machine is not calibrated; run convcost calibrate (a minute)."
    machine = read_machine(path)
    here = identity(device)
    if reasons := misfits(machine, here, dtype, threads):
        why = "; ".join(reasons)
        if named and machine.identity.device == here.device and machine.identity.name != here.name:
            msg = f"{MACHINE_VARIABLE} (={named}) must be of this machine: {why}; measure it: convcost calibrate."
            raise ConvcostError(msg)
        return (
            None,
            f"no bound is shown: the calibration of {machine.date} is not of this: {why}; run convcost calibrate.",
        )
    return machine, machine.note

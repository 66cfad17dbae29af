"""What decides a time beside the conditions that were asked for: machine, versions and switches."""

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


__all__ = ["cache_sizes", "calibration_for", "fingerprint", "identity"]

PREFIXES: Final = (
    "ATEN_CPU_CAPABILITY", "CUBLAS_", "CUDNN_", "DNNL_", "GLIBC_TUNABLES", "GOMP_", "KMP_", "LD_PRELOAD", "MALLOC_",
    "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_", "PYTORCH_", "TORCHINDUCTOR_",
)  # fmt: skip
"""Environment variables that choose kernels, threads or the allocator."""
NO_SWITCH: Final = ("_DIR", "_PATH", "_FILE")
"""Ends of variables that only say where something lies."""


def fingerprint(device: str) -> Setup:
    """What a timing made now on this device depends on.

    Args:
        device: as the user named it.

    Raises:
        ConvcostError: a device that is not there.
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


def _accelerator(device: torch.device) -> str | None:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return None if device.type == "cpu" else f"{device.type} {platform.processor()}"


def _runtime(device: torch.device) -> str | None:
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]  # torch has no types here
        return f"CUDA {torch.version.cuda or torch.version.hip}, cuDNN {cudnn}"
    return None if device.type == "cpu" else f"{platform.system()} {platform.release()}"


def _switches(device: torch.device) -> Iterator[str]:
    """Torch's own switches that are not at their defaults; on CUDA all that choose a convolution."""
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


UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def identity(device: torch.device) -> Identity:
    """The machine's name and what else its speeds depend on."""
    version = torch.__version__.partition("+")[0]
    if device.type != "cpu":
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu_name()} GPU"
        return Identity(name, device.type, 0, "", version, "")
    isa = torch.backends.cpu.get_cpu_capability()
    return Identity(cpu_name(), "cpu", resolve_threads("all"), isa, version, _onednn_version())


def _onednn_version() -> str:
    """Of the library in this build of torch; empty for a build without it."""
    found = re.search(r"MKL-DNN v([\d.]+)|oneDNN v([\d.]+)", torch.__config__.show())
    return next(filter(None, found.groups()), "") if found else ""


def cache_sizes(device: torch.device, threads: int) -> tuple[tuple[str, int], ...]:
    """The data caches, the fastest first, with the bytes that so many threads hold in them together.

    Empty where the system does not tell: then memory is the only level.
    """
    if device.type == "cuda":
        size = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)
        return (("L2", int(size)),) if size else ()
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return ()
    found: dict[str, int] = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size, shared = (
            (folder / name).read_text(encoding="ascii").strip() for name in ("type", "level", "size", "shared_cpu_list")
        )
        match = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind in {"Data", "Unified"} and match:
            copies = -(-threads // _members(shared))
            found[f"L{level}"] = int(match[1]) * UNITS[match[2]] * copies
    return tuple(sorted(found.items()))


def _members(listed: str) -> int:
    """How many processors a list such as `0-3,8` names."""
    ranges = (part.partition("-") for part in listed.split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


def calibration_for(device: torch.device, dtype: str, threads: int) -> tuple[Machine | None, str]:
    """The calibration that holds for a timing, and what the reader should know about it.

    Returns:
        None where there is none, or where it is stale; the text then says why, and how to get one.

    Raises:
        ConvcostError: the file is damaged, or CONVCOST_MACHINE names one that is not there or is of another machine.
    """
    path, named = default_path(device.type), os.environ.get(MACHINE_VARIABLE)
    if not path.exists() and not named:
        return None, "no bound is shown: this machine is not calibrated; run convcost calibrate (a minute)."
    machine = read_machine(path)
    here = identity(device)
    if reasons := misfits(machine, here, dtype, threads):
        said = "; ".join(reasons)
        if named and machine.identity.device == here.device and machine.identity.name != here.name:
            msg = f"{MACHINE_VARIABLE} (={named}) must be of this machine: {said}; measure it: convcost calibrate."
            raise ConvcostError(msg)
        return (
            None,
            f"no bound is shown: the calibration of {machine.date} is not of this: {said}; run convcost calibrate.",
        )
    return machine, machine.note

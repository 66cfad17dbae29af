"""What decides a time beside the conditions that were asked for: machine, versions and switches."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Final

import torch

from convcost._version import __version__
from convcost.archive.session import Setup
from convcost.nn.measure.device import resolve_device, resolve_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fingerprint"]

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

"""What ran in a call, as parts of its time: from oneDNN's primitives and ATen's operators, or from a GPU's kernels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from convcost.timing.account import Part
from convcost.timing.reorders import roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from convcost.timing.onednn_lines import Primitive

__all__ = ["cpu_kernels", "gpu_kernels", "hidden_launches"]

ONEDNN_OPERATOR: Final = "mkldnn"
"""In the name of the ATen operators in which oneDNN's primitives run."""
TRANSPOSED_OPERATOR: Final = "aten::_convolution"
"""In which those of a transposed convolution run, without an operator of their own; it does nothing else."""
GPU_ROLES: Final = (
    ("reorder_input", re.compile(r"nchwToNhwc|nchw2nhwc", re.IGNORECASE)),
    ("reorder_output", re.compile(r"nhwcToNchw|nhwc2nchw", re.IGNORECASE)),
    ("convolution", re.compile(r"conv|fprop|winograd|xmma|cutlass|gemm|implicit|cudnn", re.IGNORECASE)),
)
"""What cuDNN's and ATen's kernel names begin or contain, the first that fits; anything else is native."""


def cpu_kernels(primitives: Sequence[Primitive], operators: Mapping[str, float], least_s: float) -> tuple[Part, ...]:
    """OneDNN's primitives by what they are for, and the operators outside oneDNN.

    Args:
        primitives: of one call, in order.
        operators: seconds of each ATen operator itself.
        least_s: an operator below this is no part of its own.
    """
    ran = [Part(role, one.seconds, one.kernel) for role, one in zip(roles(primitives), primitives, strict=True)]
    inside = {name for name in operators if ONEDNN_OPERATOR in name} or {TRANSPOSED_OPERATOR}
    outside = {name: s for name, s in operators.items() if not (primitives and name in inside)}
    largest_first = sorted(outside.items(), key=lambda item: -item[1])
    return (*ran, *(Part(_cpu_role(name), s, name) for name, s in largest_first if s >= least_s))


def _cpu_role(operator: str) -> str:
    """An operator of oneDNN whose primitives nobody could read is no native one."""
    return "convolution" if ONEDNN_OPERATOR in operator else "native"


def gpu_kernels(kernels: Iterable[tuple[str, float]]) -> tuple[Part, ...]:
    """A GPU's kernels by their names: name and seconds of each, in order."""
    return tuple(Part(_gpu_role(name), seconds, name) for name, seconds in kernels)


def _gpu_role(name: str) -> str:
    return next((role for role, pattern in GPU_ROLES if pattern.search(name)), "native")


def hidden_launches(empty_s: float, kernels: Iterable[Part]) -> float:
    """What is left of the launches as overhead: a GPU works on one call while the next is being launched.

    Args:
        empty_s: seconds of a call with next to no arithmetic, one after the other: the time of its launches.
        kernels: of the real call.
    """
    return max(0.0, empty_s - sum(part.seconds for part in kernels))

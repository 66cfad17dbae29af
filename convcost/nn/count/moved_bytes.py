"""Bytes that a call must move whatever its kernel.

Compulsory traffic (`traffic_bytes`) counts every tensor once. A lower bound may not: an embedding reads a few rows of
its table, a pooling with a stride skips pixels, and an operation in place has its input and output in the same bytes.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from convcost.convolution.windows import inside
from convcost.nn.build.conv_module import per_axis
from convcost.nn.count.tensors import PLAIN
from convcost.nn.load.meta_device import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

READS_ALL: Final = {f"torch.nn.modules.{name}" for name in ("activation", "batchnorm", "instancenorm", "normalization")}
"""Modules of torch whose classes read every element of their inputs and parameters."""
ENLARGES: Final = {"torch.nn.modules.padding", "torch.nn.modules.upsampling"}
"""Modules of torch whose classes allocate their output when it has more elements than the input."""
WINDOW_POOLS: Final = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
"""Poolings that read only the pixels in their windows."""
WHOLE_POOLS: Final = (
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.LPPool1d, nn.LPPool2d, nn.LPPool3d),
)
"""Poolings that read every pixel."""


def numel(tensor: torch.Tensor) -> int:
    """Elements of a tensor; 0 for a lazy parameter, which has no shape yet."""
    if type(tensor) not in PLAIN and is_lazy(tensor):
        return 0
    return int(tensor.numel())  # a tensor itself while torch.jit traces


def total_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of some tensors, each counted once."""
    seen: set[int] = set()
    total = 0
    for tensor in tensors:
        if id(tensor) not in seen:
            seen.add(id(tensor))
            is_plain = type(tensor) in PLAIN
            total += int(tensor.numel()) * tensor.itemsize if is_plain else numel(tensor) * tensor.dtype.itemsize
    return total


def parameters_of(module: nn.Module) -> list[torch.Tensor]:
    """The parameters of a module and its parts; those of a module without parts are gone through faster."""
    own = vars(module).get("_parameters")
    if isinstance(own, dict) and not vars(module)["_modules"]:
        return [tensor for tensor in own.values() if tensor is not None] if own else []
    return [tensor for part in parts_of(module).values() for tensor in part._parameters.values() if tensor is not None]  # noqa: SLF001 - `parameters` may be overridden


def certainly_read(
    module: nn.Module, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], whole: int, *, computes: bool
) -> int | None:
    """The bytes that a call must read, whatever its kernel.

    Args:
        module: The module that was called.
        inputs: Its input tensors.
        outputs: Its output tensors.
        whole: Bytes of its inputs and parameters.
        computes: Whether the call has MACs.

    Returns:
        None where that is unknown: for a user's class, or one that may return a view of its input.
    """
    defined_in = type(module).__module__
    if not defined_in.startswith("torch.nn.") or not inputs or not outputs:
        return None
    if isinstance(module, _ConvNd):
        return 0  # used only where the call does more than one plain convolution, and so reads unknown bytes
    if computes or defined_in in READS_ALL or isinstance(module, WHOLE_POOLS):
        return whole
    if isinstance(module, WINDOW_POOLS):
        return _bytes_in_windows(module, inputs[0], outputs[0])
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return total_bytes(inputs)
    return 0 if defined_in in ENLARGES and outputs[0].numel() > inputs[0].numel() else None


def _bytes_in_windows(module: nn.Module, data: torch.Tensor, output: torch.Tensor) -> int:
    """The bytes of the pixels that lie in some window of a pooling."""
    axes = int(type(module).__name__[-2])
    kernel, stride, padding, dilation = (
        per_axis(getattr(module, name, 1), axes) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    pixels = 1
    for axis in range(axes):
        k, d, before, size = kernel[axis], dilation[axis], padding[axis], int(data.shape[axis - axes])
        offsets = range(-before, k * d - before, d)
        pixels *= inside(int(output.shape[axis - axes]), stride[axis], offsets, size)[1]
    return pixels * prod(data.shape[:-axes]) * data.dtype.itemsize

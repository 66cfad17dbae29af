"""The bytes that a call of one of torch's own modules must move, whatever its kernel: what its bound may rest on.

Compulsory traffic (`traffic_bytes`) counts every tensor once. A bound may not: an embedding reads a few rows of its
table, a pooling with a stride skips pixels, and what works in place has its input and output in the same bytes.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from convcost.timing.least_work import seen_inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

__all__ = ["least_bytes"]

READ_WHOLE: Final = {
    f"torch.nn.modules.{name}" for name in ("activation", "batchnorm", "instancenorm", "normalization")
}
"""Where classes live that read every element of their inputs and parameters."""
WRITE_MORE: Final = {"torch.nn.modules.padding", "torch.nn.modules.upsampling"}
"""Where classes live that make a tensor of their own when they put out more elements than go in."""
WINDOWS: Final = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
)
WHOLE_POOLS: Final = (
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.LPPool1d, nn.LPPool2d, nn.LPPool3d),
)
"""Poolings that read every pixel."""


def least_bytes(
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    outputs: Sequence[torch.Tensor],
    *,
    made: int,
    computes: bool,
) -> int | None:
    """What a call must read and write.

    Args:
        module: whose forward ran.
        inputs: tensors that went in.
        outputs: tensors that came out.
        made: bytes of the outputs' storages that did not exist before; 0 for views and what works in place.
        computes: whether it has MACs.

    Returns:
        None where nobody can say: a class of the user's, or one that may only look at its input in another way.
    """
    if not type(module).__module__.startswith("torch.nn.") or not inputs or not outputs:
        return None
    if not made and not getattr(module, "inplace", False):
        return None
    read = _read(module, inputs, outputs[0], computes=computes)
    return None if read is None else read + min(made, _bytes(outputs))


def _read(module: nn.Module, inputs: Sequence[torch.Tensor], output: torch.Tensor, *, computes: bool) -> int | None:
    """The bytes that are read for certain; None where even the output may be no more than a look at the input."""
    home = type(module).__module__
    if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001 - the base of all convolutions
        return 0  # asked only of those whose sizes are not their input's: nobody knows here what they read
    if computes or home in READ_WHOLE or isinstance(module, WHOLE_POOLS):
        return _bytes(inputs) + _bytes(list(module.parameters()))
    if isinstance(module, WINDOWS):
        return _seen_by_windows(module, inputs[0], output)
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return _bytes(inputs)
    return 0 if home in WRITE_MORE and output.numel() > inputs[0].numel() else None


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    distinct = {id(tensor): tensor for tensor in tensors}
    return sum(tensor.numel() * tensor.element_size() for tensor in distinct.values())


def _seen_by_windows(module: nn.Module, data: torch.Tensor, output: torch.Tensor) -> int:
    """The bytes of the pixels that a window of a pooling lies on."""
    axes = int(type(module).__name__[-2])
    kernel, stride, padding, dilation = (
        _each(getattr(module, name, 1), axes) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    seen = 1
    for axis in range(axes):
        k, d, before, size = kernel[axis], dilation[axis], padding[axis], int(data.shape[axis - axes])
        offsets = range(-before, k * d - before, d)
        seen *= seen_inside(int(output.shape[axis - axes]), stride[axis], offsets, size)
    return seen * prod(data.shape[:-axes]) * data.element_size()


def _each(sizes: Any, axes: int) -> tuple[int, ...]:
    return tuple(sizes) if isinstance(sizes, (tuple, list)) and len(sizes) == axes else (*_one(sizes),) * axes


def _one(size: Any) -> tuple[int]:
    return (int(size[0]) if isinstance(size, (tuple, list)) else int(size),)

"""The bytes that a call of one of torch's own modules must move, whatever its kernel: what its bound may rest on.

Compulsory traffic (`traffic_bytes`) counts every tensor once. A bound may not: an embedding reads a few rows of its
table, a pooling with a stride skips pixels, and what works in place has its input and output in the same bytes.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy

from convcost.timing.bound import seen_inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = ["Memory", "least_bytes", "storage_key"]

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


def storage_key(tensor: torch.Tensor) -> int:
    """What two tensors have in common exactly when they share their storage."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - torch's own key for a storage


class Memory:
    """Follows the storages of activations.

    Args:
        weights: tensors that are no activations, parameters and buffers.
    """

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        self._weights = {storage_key(tensor) for tensor in weights if _has_storage(tensor)}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._now = 0
        self.peak = 0

    def see(self, tensors: Iterable[torch.Tensor]) -> list[tuple[int, int]]:
        """Take the outputs of an operator.

        Returns:
            Key and bytes of each storage that was not alive before.
        """
        for key in [key for key, (ref, _) in self._alive.items() if ref.expired()]:
            self._now -= self._alive.pop(key)[1]
        new = []
        for tensor in tensors:
            if not _has_storage(tensor):
                continue
            storage = tensor.untyped_storage()
            key = int(storage._cdata)  # noqa: SLF001 - torch's own key for a storage
            if key not in self._alive and key not in self._weights:
                size = int(storage.nbytes())
                self._alive[key] = (StorageWeakRef(storage), size)
                self._now += size
                new.append((key, size))
        self.peak = max(self.peak, self._now)
        return new


def _has_storage(tensor: torch.Tensor) -> bool:
    return not is_lazy(tensor) and tensor.layout == torch.strided and not tensor.is_nested

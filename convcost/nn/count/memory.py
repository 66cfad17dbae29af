"""Bytes of a forward pass: what a call must move whatever its kernel, and the activations that are alive.

Compulsory traffic (`traffic_bytes`) counts every tensor once. A lower bound may not: an embedding reads a few rows of
its table, a pooling with a stride skips pixels, and an operation in place has its input and output in the same bytes.
"""

from __future__ import annotations

import weakref
from math import prod
from threading import RLock
from typing import TYPE_CHECKING, Final

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from convcost.nn.build.conv_module import per_axis
from convcost.nn.count.packed_weights import is_packed_dtype
from convcost.nn.load.meta_device import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    _Source = weakref.ref[torch.Tensor]

_PLAIN: Final = frozenset({torch.Tensor, nn.Parameter})
"""The usual types of tensors, which are not lazy."""
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
    if type(tensor) not in _PLAIN and is_lazy(tensor):
        return 0
    return int(tensor.numel())  # a tensor itself while torch.jit traces


def total_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of some tensors, each counted once."""
    seen: dict[int, torch.Tensor] = {}
    total = 0
    for tensor in tensors:
        if id(tensor) not in seen:
            seen[id(tensor)] = tensor
            elements = int(tensor.numel()) if type(tensor) in _PLAIN else numel(tensor)
            total += elements * tensor.dtype.itemsize
    return total


def parameters_of(module: nn.Module) -> list[torch.Tensor]:
    """The parameters of a module and its parts; those of a module without parts are gone through faster."""
    own = vars(module).get("_parameters")
    if isinstance(own, dict) and not vars(module)["_modules"]:
        return [tensor for tensor in own.values() if tensor is not None] if own else []
    return [tensor for part in parts_of(module).values() for tensor in part._parameters.values() if tensor is not None]  # noqa: SLF001 - `parameters` may be overridden


def least_bytes(
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    outputs: Sequence[torch.Tensor],
    *,
    allocated: int,
    computes: bool,
) -> int | None:
    """The bytes that a call must read and write.

    Args:
        module: The module that was called.
        inputs: Its input tensors.
        outputs: Its output tensors.
        allocated: Bytes of the outputs' new storages; 0 for views and operations in place.
        computes: Whether the call has MACs.

    Returns:
        None where that is unknown: for a user's class, or one that may return a view of its input.
    """
    if not type(module).__module__.startswith("torch.nn.") or not inputs or not outputs:
        return None
    if not allocated and not getattr(module, "inplace", False):
        return None
    read = _read_bytes(module, inputs, outputs[0], computes=computes)
    return None if read is None else read + min(allocated, total_bytes(outputs))


def _read_bytes(
    module: nn.Module, inputs: Sequence[torch.Tensor], output: torch.Tensor, *, computes: bool
) -> int | None:
    """The bytes that a call certainly reads; None where its output may be a view of the input."""
    defined_in = type(module).__module__
    if isinstance(module, _ConvNd):
        return 0  # used only where the call does more than one plain convolution, and so reads unknown bytes
    if computes or defined_in in READS_ALL or isinstance(module, WHOLE_POOLS):
        return total_bytes(inputs) + total_bytes(parameters_of(module))
    if isinstance(module, WINDOW_POOLS):
        return _bytes_in_windows(module, inputs[0], output)
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return total_bytes(inputs)
    return 0 if defined_in in ENLARGES and output.numel() > inputs[0].numel() else None


def _bytes_in_windows(module: nn.Module, data: torch.Tensor, output: torch.Tensor) -> int:
    """The bytes of the pixels that lie in some window of a pooling."""
    from convcost.timing.bound import seen_inside

    axes = int(type(module).__name__[-2])
    kernel, stride, padding, dilation = (
        per_axis(getattr(module, name, 1), axes) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    pixels = 1
    for axis in range(axes):
        k, d, before, size = kernel[axis], dilation[axis], padding[axis], int(data.shape[axis - axes])
        offsets = range(-before, k * d - before, d)
        pixels *= seen_inside(int(output.shape[axis - axes]), stride[axis], offsets, size)
    return pixels * prod(data.shape[:-axes]) * data.dtype.itemsize


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """The one storage of a tensor; None if it is lazy, sparse, nested, or a wrapper without memory of its own."""
    if tensor.layout is not torch.strided or tensor.is_nested or (type(tensor) not in _PLAIN and is_lazy(tensor)):
        return None
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # a wrapper of torch.func, or a subclass of its own kind
        return None


def key_of(tensor: torch.Tensor) -> int | None:
    """The `storage_key` of a tensor's one storage."""
    storage = storage_of(tensor)
    return None if storage is None else storage_key(storage)


def storage_key(storage: torch.UntypedStorage) -> int:
    """A number that is the same for two tensors exactly when they share their storage, while it is alive."""
    return int(storage._cdata)  # noqa: SLF001 - torch's own key; a meta storage has no other address


class _Alive(weakref.ref[torch.UntypedStorage]):
    """A storage that is alive, without keeping it so.

    Attributes:
        key: Its `storage_key`.
        size: Its bytes.
    """

    __slots__ = ("key", "size")
    key: int
    size: int


class Memory:
    """The storages that are alive: those of the weights, and those of activations with their peak.

    Attributes:
        outside: Parameters that operators used, existed before, and are none of the model's.
        peak: Largest sum of the bytes of activations that were alive.
        multiplied: Packed buffers and plain tensors by which activations were multiplied, each with the path of a
            module that did so; without keeping them alive.

    Args:
        parameters: Parameters of the model.
        buffers: Its buffers; like parameters they are no activations.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], buffers: Iterable[torch.Tensor]) -> None:
        self._weights: dict[int, tuple[torch.Tensor, ...]] = {}
        self._held: list[torch.UntypedStorage | None] = []  # so that no other storage gets the key of a weight
        for tensor, is_parameter in [*((p, True) for p in parameters), *((b, False) for b in buffers)]:
            key = key_of(tensor)
            if key is not None:
                self._weights[key] = (*self._weights.get(key, ()), *((tensor,) if is_parameter else ()))
                self._held.append(storage_of(tensor))
        self._fixed = set(self._weights)
        self._constants: set[int] = set()
        self._sources: dict[int, tuple[_Source, ...]] = {}
        for buffer in buffers:
            if buffer.ndim and is_packed_dtype(buffer.dtype) and (key := key_of(buffer)) is not None:
                self._sources[key] = (weakref.ref(buffer),)
        self.multiplied: dict[_Source, str] = {}
        self.outside: list[torch.Tensor] = []
        self._alive: dict[int, _Alive] = {}
        self._lock = RLock()
        self._bytes = 0
        self.peak = 0

    def add(self, tensors: Iterable[torch.Tensor]) -> list[tuple[int, int]]:
        """Record an operator's outputs.

        Returns:
            Key and bytes of each storage that is new.
        """
        new = []
        for tensor in tensors:
            storage = storage_of(tensor)
            if storage is None:
                continue
            key = storage_key(storage)
            if key in self._alive or key in self._fixed:
                continue
            self._sources.pop(key, None)  # of an earlier storage at this address
            alive = _Alive(storage, self._forget)
            alive.key, alive.size = key, int(storage.nbytes())
            with self._lock:  # threads of the forward pass share the memory
                self._alive[key] = alive
                self._bytes += alive.size
                self.peak = max(self.peak, self._bytes)
            new.append((key, alive.size))
        return new

    def is_alive(self, key: int) -> bool:
        """Whether a storage is that of an input, or of what an operator made."""
        return key in self._alive

    def knows(self, key: int) -> bool:
        """Whether a storage is that of a weight or a constant, or alive since an operator made it."""
        return key in self._alive or key in self._fixed or key in self._constants

    def add_constants(self, tensors: Iterable[torch.Tensor]) -> None:
        """Record tensors that forward makes from numbers, which needs no operator on the meta device."""
        for tensor in tensors:
            key = key_of(tensor)
            if key is not None:
                self._hold(key, tensor)
                self._sources[key] = ()

    def _hold(self, key: int, constant: torch.Tensor) -> None:
        self._constants.add(key)
        self._held.append(storage_of(constant))

    def _forget(self, dead: _Alive) -> None:
        """Take off a storage that died."""
        with self._lock:
            del self._alive[dead.key]
            self._bytes -= dead.size
            self._weights.pop(dead.key, None)
            self._sources.pop(dead.key, None)

    def origin(self, tensor: torch.Tensor) -> tuple[tuple[torch.Tensor, ...] | None, tuple[_Source, ...] | None]:
        """What a tensor is a view of, or was computed from.

        Returns:
            Parameters, None if it comes from other values than parameters and buffers too; and packed buffers and plain
            tensors, None if it comes from activations too.
        """
        key = key_of(tensor)
        if key is None:
            return None, None
        weights = self._weights.get(key)
        if weights is None and key not in self._alive:
            weights = self._weights_outside(key, tensor)
        return weights, self._sources.get(key, None if weights is None else ())

    def _weights_outside(self, key: int, tensor: torch.Tensor) -> tuple[torch.Tensor, ...] | None:
        """The tensor itself if it is a parameter that no module of the model holds; None for a constant."""
        if key in self._constants or not (
            isinstance(tensor, nn.Parameter) or (tensor.requires_grad and tensor.is_leaf)
        ):
            if key not in self._constants:
                self._hold(key, tensor)  # and it stays one, also if forward makes a parameter of it
            is_number = not tensor.ndim or tensor.dtype == torch.bool
            self._sources.setdefault(key, () if is_number else (weakref.ref(tensor),))
            return None
        with self._lock:
            if key not in self._fixed:
                self._fixed.add(key)
                self._held.append(storage_of(tensor))
                self.outside.append(tensor)
                self._weights[key] = (tensor,)
        return self._weights[key]

    def mark(self, new: Iterable[tuple[int, int]], parameters: tuple[torch.Tensor, ...]) -> None:
        """Remember that new storages were computed from parameters alone."""
        for key, _ in new:
            self._weights[key] = parameters

    def mark_sources(
        self, new: Sequence[tuple[int, int]], outputs: Iterable[torch.Tensor], sources: tuple[_Source, ...] | None
    ) -> None:
        """Remember what outputs, in new storages or overwritten ones, were computed from; None for activations."""
        keys = [key for key, _ in new] or [key for key in map(key_of, outputs) if key is not None]
        for key in keys:
            if sources is not None:
                self._sources[key] = sources
            elif not new:
                self._sources.pop(key, None)

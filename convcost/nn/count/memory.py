"""The storages of a forward pass: those of weights, the activations that are alive, and what each was computed from."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from operator import attrgetter
from threading import RLock
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from convcost.nn.count.packed_weights import codes_in, is_packed_dtype, is_surely_code, may_be_code
from convcost.nn.count.storages import key_of, storage_key, storage_of
from convcost.nn.count.tensors import tensors_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from convcost.nn.count.packed_weights import Decoding
    from convcost.nn.count.row import Row

    _Source = weakref.ref[torch.Tensor]


class _Alive(weakref.ref[torch.UntypedStorage]):
    """A storage that is alive, without keeping it so.

    Attributes:
        key: Its `storage_key`.
        size: Its bytes.
        born: Number of calls that had ended before it was made; -1 for inputs.
    """

    __slots__ = ("born", "key", "size")
    key: int
    size: int
    born: int


@dataclass(frozen=True, slots=True)
class CallAtPeak:
    """The call during which most bytes were alive.

    Attributes:
        row: The call.
        number: Number of calls that had ended before it.
        inputs: Keys of the storages of its inputs.
        outputs: Keys of the storages of its outputs.
    """

    row: Row
    number: int
    inputs: frozenset[int | None]
    outputs: frozenset[int | None]


class Memory:
    """The storages that are alive: those of the weights, and those of activations with their peak.

    Attributes:
        outside: Parameters that operators used, existed before, and are none of the model's.
        at_peak: The first of the calls during which most bytes were alive; None before a call has ended.
        ended: The calls that have ended, in this order.
        multiplied: Packed buffers and plain tensors by which activations were multiplied, each with the path of a
            module that did so; without keeping them alive.

    Args:
        parameters: Parameters of the model.
        buffers: Its buffers; like parameters they are no activations.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], buffers: Iterable[torch.Tensor]) -> None:
        self._weights: dict[int, tuple[torch.Tensor, ...] | None] = {}  # None for a buffer that activations overwrote
        self._held: list[torch.UntypedStorage | None] = []  # so that no other storage gets the key of a weight
        for tensors, are_parameters in ((parameters, True), (buffers, False)):
            for tensor in tensors:
                storage = storage_of(tensor)
                if storage is not None:
                    own = (tensor,) if are_parameters else ()
                    number = storage_key(storage)
                    self._weights[number] = (*(self._weights.get(number) or ()), *own)
                    self._held.append(storage)
        self._fixed = set(self._weights)
        self._constants: set[int] = set()
        self._sources: dict[int, tuple[_Source, ...]] = {}
        self._undecoded: set[_Source] = set()  # buffers of integers that nothing shows to be quantised weights
        for buffer in buffers:
            if buffer.ndim and may_be_code(buffer.dtype) and (key := key_of(buffer)) is not None:
                self._sources[key] = (weakref.ref(buffer),)
                if not is_surely_code(buffer.dtype):
                    self._undecoded.add(weakref.ref(buffer))
        self.multiplied: dict[_Source, str] = {}
        self.outside: list[torch.Tensor] = []
        self._alive: dict[int, _Alive] = {}
        self._lock = RLock()
        self._bytes = 0
        self._high = 0  # the largest sum since the last call ended
        self._gone: list[_Alive] = []
        self.ended: list[Row] = []
        self.at_peak: CallAtPeak | None = None

    @property
    def peak(self) -> int:
        """Largest sum of the bytes of activations that were alive."""
        return max(self._high, 0 if self.at_peak is None else self.at_peak.row.alive_bytes)

    def end_call(self, row: Row, inputs: list[torch.Tensor], output: Any) -> None:
        """Note how much was alive during a call, which ends now.

        What was alive since the call before belongs to it too, such as the results of a call that raised.

        Args:
            row: The call.
            inputs: Its input tensors.
            output: What it returns.
        """
        with self._lock:
            self.ended.append(row)  # first, since Ctrl-C may come between any two of these lines
            row.alive_bytes = alive = max(self._high, self._bytes)
            self._high = 0
            if self.at_peak is None or alive > self.at_peak.row.alive_bytes:
                keys = frozenset(map(key_of, inputs)), frozenset(map(key_of, tensors_in(output)))
                self._gone.clear()
                self.at_peak = CallAtPeak(row, len(self.ended) - 1, *keys)

    def sizes_at_peak(self) -> list[tuple[int, int, int]]:
        """Key, bytes and `born` of each storage that was alive at the end of the call `at_peak`, oldest first."""
        last = -1 if self.at_peak is None else self.at_peak.number
        alive = [one for one in self._alive.values() if one.born <= last]
        return [(one.key, one.size, one.born) for one in sorted((*alive, *self._gone), key=attrgetter("born"))]

    def add(self, tensors: Iterable[torch.Tensor], *, are_inputs: bool = False) -> list[tuple[int, int]]:
        """Record an operator's outputs, or the inputs of the model.

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
            alive.key = key
            alive.size = size = int(storage.nbytes())
            alive.born = -1 if are_inputs else len(self.ended)
            with self._lock:  # threads of the forward pass share the memory
                self._alive[key] = alive
                self._bytes += size
                self._high = max(self._high, self._bytes)
            new.append((key, size))
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
            if self.at_peak is not None and dead.born <= self.at_peak.number:
                self._gone.append(dead)
            self._weights.pop(dead.key, None)
            self._sources.pop(dead.key, None)

    def trace(
        self,
        row: Row,
        tensors: list[torch.Tensor],
        outputs: list[torch.Tensor],
        new: list[tuple[int, int]],
        *,
        decoding: Decoding | None,
    ) -> dict[int, tuple[_Source, ...]]:
        """Remember which parameters an operator used, and what is computed from parameters or constants alone.

        Args:
            row: The row that the operator ran in.
            tensors: The tensors among its arguments.
            outputs: The tensors in its result, unless they are views.
            new: Key and bytes of each storage that it made.
            decoding: How it may decode quantised weights.

        Returns:
            What each constant tensor by its identity was computed from, if the operator has activations too.
        """
        used, are_weights, constants, are_constants = self._origins(tensors)
        row.used.update(used)
        if constants and decoding == "lookup":
            constants.update({id(one): codes_in(constants.get(id(one), ())) for one in tensors[1:]})
        if self._undecoded and decoding is not None and are_constants:
            self._note_decoding(tensors, constants, decoding)
        if are_constants or not new:
            keys = [key for key, _ in new] or [key for key in map(key_of, outputs) if key is not None]
            self._mark_sources(keys, constants if are_constants else None)
        if tensors and are_weights:
            self._weights.update(dict.fromkeys([key for key, _ in new], tuple(used.values())))
        elif tensors:
            row.has_activations = True
        return {} if are_constants else self._factors(tensors, constants) if self._undecoded else constants

    def _note_decoding(
        self, tensors: list[torch.Tensor], constants: dict[int, tuple[_Source, ...]], decoding: Decoding
    ) -> None:
        """Remember which integers are decoded: by bits, by looking up, or by something smaller that scales them."""
        for tensor in tensors[1:] if decoding == "lookup" else tensors:
            sources = constants.get(id(tensor), ())
            others = [one for one in tensors if constants.get(id(one), ()) != sources]
            if decoding != "scale" or any(one.numel() < tensor.numel() for one in others):
                self._undecoded.difference_update(sources)

    def _factors(
        self, tensors: list[torch.Tensor], constants: dict[int, tuple[_Source, ...]]
    ) -> dict[int, tuple[_Source, ...]]:
        """The constants without integers that are no weights; a parameter that such ones had a part in is none.

        Integers that an operator multiplies as they are, it decodes itself.
        """
        factors: dict[int, tuple[_Source, ...]] = {}
        for tensor in tensors:
            sources = constants.get(id(tensor))
            if sources is not None:
                is_whole = is_packed_dtype(tensor.dtype)
                known = sources if is_whole else tuple(one for one in sources if one not in self._undecoded)
                if known or not sources or not self._origin(tensor)[0]:
                    factors[id(tensor)] = known
        return factors

    def _origins(
        self, tensors: list[torch.Tensor]
    ) -> tuple[dict[int, torch.Tensor], bool, dict[int, tuple[_Source, ...]], bool]:
        """What tensors are views of, or were computed from.

        Returns:
            Parameters by identity, and whether there are no other values than parameters and buffers; what each
            constant tensor by its identity comes from, and whether there are no activations.
        """
        used: dict[int, torch.Tensor] = {}
        constants: dict[int, tuple[_Source, ...]] = {}
        are_weights = are_constants = True
        for tensor in tensors:
            weights, sources = self._origin(tensor)
            if weights is None:
                are_weights = False
            else:
                for weight in weights:
                    used[id(weight)] = weight
            if sources is None:
                are_constants = False
            elif sources or weights == ():
                constants[id(tensor)] = sources
        return used, are_weights, constants, are_constants

    def _origin(self, tensor: torch.Tensor) -> tuple[tuple[torch.Tensor, ...] | None, tuple[_Source, ...] | None]:
        """What a tensor is a view of, or was computed from.

        Returns:
            Parameters, None if it comes from other values than parameters and buffers too; and packed buffers and plain
            tensors, None if it comes from activations too.
        """
        key = key_of(tensor)
        if key is None:
            return None, None
        weights = self._weights.get(key)
        if weights is None and key not in self._alive and key not in self._weights:
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

    def _mark_sources(self, keys: list[int], constants: dict[int, tuple[_Source, ...]] | None) -> None:
        """Remember what storages, new or overwritten ones, were computed from; None for activations."""
        if constants is None:
            for key in keys:
                self._sources.pop(key, None)
                if self._weights.get(key) == ():
                    self._weights[key] = None
        else:
            sources = tuple(dict.fromkeys(source for one in constants.values() for source in one))
            self._sources.update(dict.fromkeys(keys, sources))

"""The file of an exported program: its graph as JSON, its weights and constants as tensors; nothing is unpickled."""

from __future__ import annotations

import io
import json
import mmap
import struct
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import torch
from torch import nn

from convcost.nn.load.model_file import compressed_member, kind_of_archive, load_tensors
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_GRAPH_BYTES: Final = 2**28
"""Size of the largest graph and the largest list of weights that are read."""
_LENGTHS: Final = 26
"""Where the header of a member has the lengths of its name and of its extra field, before these and the data."""
_ALIGNMENT: Final = 16
"""Divisor of the addresses of elements; torch writes members so."""
_DTYPES_FROM_1: Final = (
    *("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
    *("complex32", "complex64", "complex128", "bool", "bfloat16"),
)
_DTYPES_FROM_28: Final = (
    *("uint16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("uint32", "uint64"),
)
SCALAR_TYPES: Final = dict(enumerate(_DTYPES_FROM_1, 1)) | dict(enumerate(_DTYPES_FROM_28, 28))
"""Names of dtypes by their numbers in the file."""


class ProgramFile:
    """The members of a program's archive, without those that only a pickle can restore."""

    def __init__(self, file: BinaryIO) -> None:
        self._archive = zipfile.ZipFile(file)
        if (member := compressed_member(self._archive)) is not None:
            raise ConvcostError(f"{member} in it is compressed")
        self._file = file
        self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._names = {name.partition("/")[2] or name: name for name in self._archive.namelist()}
        self._storages: dict[str, torch.Tensor] = {}

    def document(self, *names: str) -> Any:
        """The first of these members that is there, from JSON."""
        name = next(one for one in names if one in self._names)
        return json.loads(self._data(name, MAX_GRAPH_BYTES))

    def _data(self, name: str, limit: int | None = None) -> bytes:
        member = self._archive.getinfo(self._names[name])
        if limit is not None and member.file_size > limit:
            raise ConvcostError(f"{name} in it is larger than {limit} bytes")
        return self._archive.read(member)

    def tensors(self, kind: str, older: str) -> dict[str, torch.Tensor]:
        """Weights or constants: raw bytes since torch 2.9, before that what `torch.save` writes."""
        for name in (f"data/{kind}/model.pt", f"{older}.pt", f"{older}.json"):
            if name in self._names:
                return _saved_tensors(self._data(name))
        listed = self.document(f"data/{kind}/model_{kind}_config.json")["config"]
        tied: dict[str, torch.Tensor] = {}
        tensors = {}
        for name, entry in listed.items():
            if entry["use_pickle"] or entry["tensor_meta"] is None:
                raise ConvcostError(f"{name} in it is a pickle, which runs any code when it is read")
            tensors[name] = tied.setdefault(json.dumps(entry), self._tensor(f"data/{kind}/{entry['path_name']}", entry))
        return tensors

    def _tensor(self, member: str, entry: Mapping[str, Any]) -> torch.Tensor:
        """One tensor, on the meta device if it was exported without values."""
        meta = entry["tensor_meta"]
        sizes, strides = ([one["as_int"] for one in meta[key]] for key in ("sizes", "strides"))
        dtype: torch.dtype = getattr(torch, SCALAR_TYPES[meta["dtype"]])
        place = self._archive.getinfo(self._names[member])
        if place.file_size == 0:
            tensor = torch.empty_strided(sizes, strides, dtype=dtype, device="meta")
        else:
            if member not in self._storages:
                self._file.seek(place.header_offset + _LENGTHS)
                start = place.header_offset + _LENGTHS + 4 + sum(struct.unpack("<HH", self._file.read(4)))
                flat = torch.frombuffer(self._mapped, dtype=torch.uint8, count=place.file_size, offset=start)
                self._storages[member] = flat if start % _ALIGNMENT == 0 else flat.clone()
            flat = self._storages[member].view(dtype)
            tensor = torch.as_strided(flat, sizes, strides, meta["storage_offset"]["as_int"])
        return nn.Parameter(tensor, meta["requires_grad"]) if entry["is_param"] else tensor


def _saved_tensors(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors in the bytes of `torch.save`, by name; nothing that they name is called.

    Raises:
        Exception: Whatever torch raises for bytes that hold more than tensors.
    """
    if not data:
        return {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if kind_of_archive(archive.namelist()) != "pickle" or compressed_member(archive) is not None:
            raise ConvcostError("its tensors are not as torch.save writes them")
    tensors = load_tensors(io.BytesIO(data))
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise ConvcostError("its tensors have no names, or it holds other objects")
    return tensors

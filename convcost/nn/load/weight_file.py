"""Files that hold weights without a model: a `state_dict` of torch.save, or safetensors. No code of theirs is run."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path
from pickle import UnpicklingError  # an exception; nothing is unpickled with it
from typing import TYPE_CHECKING, Any, Final

import torch

from convcost.nn.load.program_file import kind_of
from convcost.text.errors import ConvcostError, MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["StoredTensor", "is_weight_file", "read_weights", "same"]

SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")

_HOW: Final = "the weights with torch.save(model.state_dict(), ...) of torch 1.6 or later, or as safetensors."

StoredTensor = tuple[str, tuple[int, ...], "Callable[[], torch.Tensor]"]
"""Name, shape, and what reads the tensor when it is needed."""


def is_weight_file(target: str) -> bool:
    """Whether a target is a file of weights, which the other targets are not.

    Raises:
        ConvcostError: a path that looks like one and is not there, or a pickle, which is not opened.
    """
    path = Path(target)
    if not path.is_file():
        if path.suffix in SUFFIXES and ":" not in target:
            msg = f"target (={target}) must be a file that is there; check the path."
            raise ConvcostError(msg)
        return False
    if path.suffix in {".toml", ".py"}:
        return False
    kind = kind_of(path)
    if kind == "pickle" and not zipfile.is_zipfile(path):
        msg = f"target (={target}) must be no pickle, which could run any code when opened; save {_HOW}"
        raise ConvcostError(msg)
    if kind == "unknown" and path.suffix in SUFFIXES:
        msg = f"target (={target}) must hold weights, and this file holds something else, or is cut off; save {_HOW}"
        raise ConvcostError(msg)
    return kind in {"pickle", "safetensors"}


def same(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that is in memory, or mapped into it, already."""
    return tensor


def read_weights(path: Path) -> Iterator[StoredTensor]:
    """The tensors of a file, each read only when it is asked for.

    Raises:
        ConvcostError: a file that holds more than weights, or that cannot be read.
        MissingPackageError: safetensors is not installed.
    """
    if kind_of(path) == "safetensors":
        return _from_safetensors(path)
    _refuse_packed(path)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:  # torch's own text advises to run the file
        msg = f"target (={path}) must hold weights alone; it names other objects, which could run any code: save {_HOW}"
        raise ConvcostError(msg) from error
    except Exception as error:  # torch raises of every kind for a file that is no state_dict
        why = " ".join(str(error).split("\n")[0].split())[:160] or type(error).__name__
        msg = f"target (={path}) must be a whole file of weights: {why}; save {_HOW}"
        raise ConvcostError(msg) from error
    return _from_mapping(held, "")


def _refuse_packed(path: Path) -> None:
    """Refuse an archive that grows when it is read: torch.save packs nothing.

    Raises:
        ConvcostError: a member that is compressed.
    """
    with zipfile.ZipFile(path) as archive:
        packed = [member.filename for member in archive.infolist() if member.compress_type != zipfile.ZIP_STORED]
    if packed:
        msg = f"target (={path}) must be as torch.save writes it, and {packed[0]} in it is compressed; save {_HOW}"
        raise ConvcostError(msg)


def _require_stored(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, if the file holds each of its numbers.

    Raises:
        ConvcostError: numbers that stand once in the file and many times in the tensor.
    """
    if tensor.layout is torch.strided and tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        msg = f"tensor (={name}) must hold its own numbers, and it is larger than its storage; save {_HOW}"
        raise ConvcostError(msg)
    return tensor


def _from_mapping(held: Any, prefix: str) -> Iterator[StoredTensor]:
    """The tensors of a state_dict, also of one within another, as checkpoints have it."""
    if not isinstance(held, dict):
        return
    for key, value in held.items():
        name = f"{prefix}{key}"
        if isinstance(value, torch.Tensor):
            yield name, tuple(value.shape), partial(_require_stored, name, value)
        else:
            yield from _from_mapping(value, f"{name}.")


def _from_safetensors(path: Path) -> Iterator[StoredTensor]:
    try:
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - only for those who name such a file
    except ModuleNotFoundError as error:
        msg = f"target (={path}) needs safetensors, which is not installed; pip install 'convcost[safetensors]'."
        raise MissingPackageError(msg) from error
    try:
        file: Any = safe_open(path, framework="pt")  # open as long as a tensor of it can be asked for
        for name in file.keys():  # noqa: SIM118 - safetensors' file is no mapping
            yield name, tuple(file.get_slice(name).get_shape()), partial(file.get_tensor, name)
    except (SafetensorError, OSError) as error:
        why = " ".join(str(error).split())[:160]
        msg = f"target (={path}) must be a whole safetensors file: {why}; save it again."
        raise ConvcostError(msg) from error

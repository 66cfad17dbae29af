"""What a file of a model or of weights holds, from its first bytes and the names in its archive; none of it runs."""

from __future__ import annotations

import warnings
import zipfile
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import torch

from convcost.text.errors import ConvcostError
from convcost.text.input_file import require_regular

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
Kind = Literal["pt2", "compiled", "torchscript", "pickle", "safetensors", "unknown"]


def kind_of(path: Path) -> Kind:
    """What a file holds, without running any of it.

    Raises:
        ConvcostError: The file cannot be read, or is no regular file.
    """
    require_regular(path, "target")
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start == ZIP:
            with zipfile.ZipFile(path) as archive:
                return kind_of_archive(archive.namelist())
    except Exception as error:  # zipfile raises any exception for a damaged archive: NotImplementedError, struct.error
        msg = f"target (={path}) must be a file that can be read: {error}; write it again, or give another path."
        raise ConvcostError(msg) from error
    if start[:2] in _PICKLE:
        return "pickle"
    return "safetensors" if path.suffix == ".safetensors" else "unknown"


def kind_of_archive(names: Collection[str]) -> Kind:
    """What an archive holds, by the names of its members."""
    inner = {name.partition("/")[2] for name in names}
    if "models/model.json" in inner or "serialized_exported_program.json" in names:
        return "pt2"
    if any(name.startswith("data/aotinductor/") for name in inner):
        return "compiled"
    if "constants.pkl" in inner:
        return "torchscript"
    return "pickle" if "data.pkl" in inner else "unknown"


def compressed_member(archive: zipfile.ZipFile) -> str | None:
    """The first compressed member of an archive, which could grow without limit when read; torch compresses none."""
    return next((one.filename for one in archive.infolist() if one.compress_type != zipfile.ZIP_STORED), None)


def load_tensors(file: Path | IO[bytes], *, mmap: bool = False) -> Any:
    """What `torch.save` wrote, if it is tensors and plain values alone; warnings about how stay here.

    Raises:
        Exception: Whatever torch raises for anything else, before it is called.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)

"""Files that hold a model: told apart by what is in them, without running any of it."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any, Final

import torch

from convcost.text.errors import ConvcostError
from convcost.text.inputs import DTYPES, Input

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["kind_of", "load_exported", "refuse_code"]

_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_REFUSALS: Final = {
    "torchscript": (
        "is a TorchScript archive, which runs the code that it holds; "
        "give the Python that makes the model, as file.py:callable, or export it with torch.export to a .pt2 file."
    ),
    "pickle": (
        "is a pickle, which runs any code when it is read (or holds weights without a model); "
        "give the Python that makes the model, as file.py:callable."
    ),
    "safetensors": "holds weights without a model; give the Python that makes the model, as file.py:callable.",
    "unknown": "must be a .toml, a .pt2 (torch.export) or PYTHON_FILE:CALLABLE; give one of these.",
}


def kind_of(path: Path) -> str:
    """What a file holds: `pt2`, or one of the kinds that are refused; the suffix alone decides for safetensors.

    Raises:
        ConvcostError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start == _ZIP:
            with zipfile.ZipFile(path) as archive:
                return _kind_of_archive(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        msg = f"target (={path}) must be a file that can be read: {error}; write it again, or give another path."
        raise ConvcostError(msg) from error
    if start[:2] in _PICKLE:
        return "pickle"
    return "safetensors" if path.suffix == ".safetensors" else "unknown"


def _kind_of_archive(names: list[str]) -> str:
    inner = {name.partition("/")[2] for name in names}
    if "models/model.json" in inner or "serialized_exported_program.json" in names:
        return "pt2"
    if "constants.pkl" in inner:
        return "torchscript"
    return "pickle" if "data.pkl" in inner else "unknown"


def refuse_code(path: Path) -> None:
    """Refuse every file that is no exported program, with the reason.

    Raises:
        ConvcostError: TorchScript, a pickle, weights alone, or anything else.
    """
    kind = kind_of(path)
    if kind != "pt2":
        msg = f"target (={path}) {_REFUSALS[kind]}"
        raise ConvcostError(msg)


def load_exported(path: Path) -> tuple[torch.nn.Module, tuple[Input, ...]]:
    """The module of an exported program, on the device it was exported on, and the inputs it was exported with.

    Its graph was fixed when it was exported, so its `.eval()` raises and is not needed.

    Raises:
        ConvcostError: torch cannot read the file.
    """
    try:
        program = torch.export.load(path)
        module = program.module()
    except Exception as error:  # torch raises of every kind for a file from another version
        why = " ".join(str(error).split())[:200] or type(error).__name__
        msg = f"target (={path}) must be a program of this torch's export: {why}; export it again with torch.export."
        raise ConvcostError(msg) from error
    return module, _examples(program)


def _examples(program: torch.export.ExportedProgram) -> tuple[Input, ...]:
    """The inputs of the export; none when one of them is no tensor, for then the user has to say."""
    args, kwargs = program.example_inputs or ((), {})
    named: list[tuple[str | None, Any]] = [*((None, value) for value in args), *kwargs.items()]
    if not all(isinstance(value, torch.Tensor) for _, value in named):
        return ()
    dtypes = [str(value.dtype).removeprefix("torch.") for _, value in named]
    if not all(dtype in DTYPES for dtype in dtypes):
        return ()
    return tuple(Input(tuple(value.shape), dtype, name) for (name, value), dtype in zip(named, dtypes, strict=True))

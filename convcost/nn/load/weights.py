"""Files that hold weights without a model: a `state_dict` of torch.save, or safetensors. No code of theirs is run."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path
from pickle import UnpicklingError  # an exception; nothing is unpickled with it
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn

from convcost.convolution.conv import Conv
from convcost.nn.build.conv_module import TiedConv, conv_of
from convcost.nn.load.spectrum import ConvWeights
from convcost.nn.load.target import kind_of, load_real
from convcost.text.errors import ConvcostError, MissingPackageError
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


__all__ = ["StoredTensor", "convolutions_of", "is_weight_file", "read_weights", "same"]

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
        from safetensors import SafetensorError, safe_open
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


IMAGE_AXES: Final = 2
CONVOLUTIONS: Final = (nn.modules.conv._ConvNd, TiedConv)  # noqa: SLF001 - the base of all convolutions
UNTRAINED: Final = ("network:", "torchvision:", "timm:")


def convolutions_of(target: str, args: Mapping[str, Any]) -> tuple[list[ConvWeights], tuple[str, ...]]:
    """The convolutions over two axes with K > 1 of a target or of a file of weights, and what there is to say.

    Args:
        target: as for `convcost model`, or a state_dict (.pt, .pth, .bin) or .safetensors file.
        args: for the callable.

    Raises:
        ConvcostError: a target that does not load, a pickle, or one without a convolution with K > 1.
    """
    notes: tuple[str, ...]
    if is_weight_file(target):
        if args:
            msg = f"arg {next(iter(args))} goes nowhere: {target} is a file of weights; leave the arg out."
            raise ConvcostError(msg)
        found, notes = _stored(read_weights(Path(target))), (_ASSUMED,)
    else:
        loaded = load_real(target, args)
        found, notes = _of_module(loaded.module)
        notes += () if loaded.note is None else (loaded.note,)
        if target.startswith(UNTRAINED):
            notes += (f"{target} has no trained weights: these are as it makes them; name a file of weights.",)
        if not found and isinstance(loaded.module, fx.GraphModule):
            found = _of_graph(loaded.module)
        if not found:
            held = loaded.module.state_dict().items()
            found = _stored((name, tuple(tensor.shape), partial(same, tensor)) for name, tensor in held)
            notes += (_ASSUMED,) if found else ()
    if not found:
        msg = f"target (={target}) must have a convolution over two axes with a kernel above 1x1; it has none."
        raise ConvcostError(msg)
    return found, notes


_ASSUMED: Final = (
    "weights alone tell neither groups nor stride, nor whether a convolution is transposed: taken as 1, as depthwise "
    "where a filter has one channel, and as not transposed; name the model to have them right."
)


def _stored(tensors: Iterable[StoredTensor]) -> list[ConvWeights]:
    """Weights with four axes of which the last two are no 1×1."""
    found = []
    for name, shape, read in tensors:
        if len(shape) != IMAGE_AXES + 2 or not name.endswith("weight") or shape[2:] == (1, 1) or 0 in shape:
            continue
        outputs, inputs = shape[:2]
        groups = outputs if inputs == 1 else 1
        conv = Conv(inputs * groups, outputs, shape[2:], groups=groups)
        found.append(ConvWeights(name.removesuffix("weight").rstrip(".") or name, None, conv, read))
    return found


def _of_module(module: nn.Module) -> tuple[list[ConvWeights], tuple[str, ...]]:
    found, others, known = [], 0, set[int]()
    for name, part in module.named_modules():
        if not isinstance(part, CONVOLUTIONS):
            continue
        kind = type(part).__name__
        if nn.parameter.is_lazy(part.weight):
            msg = f"layer (={name or kind}) must have weights: it is lazy and has not run; give it its channels."
            raise ConvcostError(msg)
        conv, weight = _bank(part), id(part.weight)
        if len(conv.kernel_size) != IMAGE_AXES:
            others += 1
        elif conv.kernel_size != (1, 1):
            found.append(ConvWeights(name or kind, kind, conv, partial(getattr, part, "weight"), weight in known))
        known.add(weight)
    return found, tuple(filter(None, (_axes_note(others), _functional_note(module) if found else None)))


def _axes_note(count: int) -> str | None:
    if not count:
        return None
    return f"{number_of('convolution', count)} over one or three axes are left out: a pair of K×1 and 1×K needs two."


def _functional_note(module: nn.Module) -> str | None:
    """What a module may convolve with by a function: weights of four axes that belong to no convolution of torch's."""
    names = [
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if not isinstance(part, CONVOLUTIONS)
        for name, weight in part.named_parameters(recurse=False)
        if weight.dim() == IMAGE_AXES + 2 and tuple(weight.shape[2:]) != (1, 1)
    ]
    if not names or _is_parametrized(module):
        return None
    return f"weights of no convolution module are left out, whatever is done with them: {', '.join(names[:3])}."


def _is_parametrized(module: nn.Module) -> bool:
    """Whether weights are made of other parameters: those are no weights of their own."""
    return any(nn.utils.parametrize.is_parametrized(part) for part in module.modules())


def _held(module: Any, path: str) -> Any:
    """What a module holds under a path."""
    for step in path.split("."):
        module = getattr(module, step)
    return module


def _of_graph(module: fx.GraphModule) -> list[ConvWeights]:
    """The convolutions of an exported program, whose calls hold groups and stride, and whether they are transposed."""
    found = []
    for node in module.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or "conv" not in schema.name:
            continue
        given: dict[str, Any] = {
            argument.name: argument.default_value if argument.has_default_value() else None
            for argument in schema.arguments
        }
        given |= dict(zip(given, node.args, strict=False)) | node.kwargs
        weight = given.get("weight")
        if not isinstance(weight, fx.Node) or weight.op != "get_attr":
            continue
        name, tensor = str(weight.target), _held(module, str(weight.target))
        if tensor.dim() != IMAGE_AXES + 2 or tuple(tensor.shape[2:]) == (1, 1):
            continue
        transposed = bool(given.get("transposed", "transpose" in schema.name))
        groups, stride = int(given["groups"]), tuple(given["stride"])
        first, second = int(tensor.shape[0]), int(tensor.shape[1]) * groups
        inputs, outputs = (first, second) if transposed else (second, first)
        stride = stride * IMAGE_AXES if len(stride) == 1 else stride
        conv = Conv(inputs, outputs, tuple(tensor.shape[2:]), stride, groups=groups, transposed=transposed)
        found.append(
            ConvWeights(name.removesuffix(".weight"), schema.name.removeprefix("aten::"), conv, partial(same, tensor))
        )
    return found


def _bank(part: nn.Module) -> Conv:
    """The convolution without bias; of a tied one, the one group whose bank all share."""
    conv = conv_of(part)
    groups = conv.groups if conv.tied else 1
    return Conv(
        conv.in_channels // groups,
        conv.out_channels // groups,
        conv.kernel_size,
        conv.stride,
        groups=1 if conv.tied else conv.groups,
        transposed=conv.transposed,
    )

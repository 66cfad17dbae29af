"""The convolutions whose weights a kernel analysis reads: of a target, or of a file of weights, which runs no code."""

from __future__ import annotations

import zipfile
from functools import partial
from operator import attrgetter
from pathlib import Path
from pickle import UnpicklingError  # an exception; nothing is unpickled with it
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from convcost.convolution.conv import Conv
from convcost.nn.build.conv_module import TiedConv, conv_of, per_axis
from convcost.nn.load.model_file import compressed_member, kind_of, load_tensors
from convcost.nn.load.spectrum import ConvWeights
from convcost.nn.load.target import load_real
from convcost.text.errors import ConvcostError, MissingPackageError, first_line
from convcost.text.input_file import is_file
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_HOW: Final = "the weights with torch.save(model.state_dict(), ...) of torch 1.6 or later, or as safetensors."
_ASSUMED: Final = (
    "weights alone tell neither groups nor stride, nor whether a convolution is transposed: taken as 1, as depthwise "
    "where a filter has one channel, and as not transposed; name the model to have them right."
)
UNTRAINED: Final = ("network:", "torchvision:", "timm:")
"""Prefixes of targets that come without trained weights."""
CONVOLUTIONS: Final = (_ConvNd, TiedConv)
IMAGE_AXES: Final = 2
StoredTensor = tuple[str, tuple[int, ...], "Callable[[], torch.Tensor]"]
"""Name and shape of a tensor, and a function that reads it."""


def convolutions_of(target: str, args: Mapping[str, Any]) -> tuple[list[ConvWeights], tuple[str, ...]]:
    """The convolutions over two axes with K > 1 of a target or of a file of weights, with notes for the user.

    Args:
        target: As for `convcost model`, or a state_dict (.pt, .pth, .bin) or .safetensors file.
        args: Arguments of the callable.

    Raises:
        ConvcostError: A target that does not load, a pickle, or one without a convolution with K > 1.
    """
    notes: tuple[str, ...] = ()
    if _is_weight_file(target):
        if args:
            msg = f"arg {next(iter(args))} goes nowhere: {target} is a file of weights; leave the arg out."
            raise ConvcostError(msg)
        layers, notes = _of_tensors(_read_weights(Path(target))), (_ASSUMED,)
    else:
        loaded = load_real(target, args)
        layers, notes = _of_module(loaded.module)
        notes += () if loaded.note is None else (loaded.note,)
        if target.startswith(UNTRAINED):
            notes += (f"{target} has no trained weights: these are as it makes them; name a file of weights.",)
        if not layers and isinstance(loaded.module, fx.GraphModule):
            layers = _of_graph(loaded.module)
        if not layers:
            tensors = loaded.module.state_dict().items()
            layers = _of_tensors((name, tuple(tensor.shape), tensor.detach) for name, tensor in tensors)
            notes += (_ASSUMED,) if layers else ()
    if not layers:
        msg = f"target (={target}) must have a convolution over two axes with a kernel above 1x1; it has none."
        raise ConvcostError(msg)
    return layers, notes


def _is_weight_file(target: str) -> bool:
    """Whether a target is a file of weights.

    Raises:
        ConvcostError: The path of such a file that does not exist, or a pickle, which is not opened.
    """
    path = Path(target)
    if not is_file(path):
        if path.suffix in SUFFIXES and ":" not in target:
            raise ConvcostError(f"target (={target}) must be a file that is there; check the path.")
        return False
    if path.suffix in {".toml", ".py"}:
        return False
    kind = kind_of(path)
    if kind == "pickle" and not zipfile.is_zipfile(path):
        raise ConvcostError(f"target (={target}) must be no pickle, which could run any code when opened; save {_HOW}")
    if kind == "unknown" and path.suffix in SUFFIXES:
        msg = f"target (={target}) must hold weights, and this file holds something else, or is cut off; save {_HOW}"
        raise ConvcostError(msg)
    return kind in {"pickle", "safetensors"}


def _read_weights(path: Path) -> Iterator[StoredTensor]:
    """The tensors of a file, none of them read yet.

    Raises:
        ConvcostError: A file that holds more than weights, or that cannot be read.
        MissingPackageError: safetensors is not installed.
    """
    if kind_of(path) == "safetensors":
        return _from_safetensors(path)
    _refuse_compressed(path)
    try:
        state = load_tensors(path, mmap=True)
    except UnpicklingError as error:  # torch's own text advises to run the file
        msg = f"target (={path}) must hold weights alone; it names other objects, which could run any code: save {_HOW}"
        raise ConvcostError(msg) from error
    except Exception as error:  # torch raises any exception for a file that is no state_dict
        msg = f"target (={path}) must be a whole file of weights: {first_line(error)}; save {_HOW}"
        raise ConvcostError(msg) from error
    return _from_mapping(state)


def _refuse_compressed(path: Path) -> None:
    """Refuse an archive that could grow without limit when read; torch.save compresses nothing."""
    with zipfile.ZipFile(path) as archive:
        member = compressed_member(archive)
    if member is not None:
        msg = f"target (={path}) must be as torch.save writes it, and {member} in it is compressed; save {_HOW}"
        raise ConvcostError(msg)


def _require_stored(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, unless strides of 0 repeat the numbers of a small storage many times."""
    if tensor.layout is torch.strided and tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        msg = f"tensor (={name}) must hold its own numbers, and it is larger than its storage; save {_HOW}"
        raise ConvcostError(msg)
    return tensor


def _from_mapping(state: Any) -> Iterator[StoredTensor]:
    """The tensors of a state_dict, and of those inside it, as in checkpoints; one that contains itself is read once."""
    found, mappings = [("", state)], set()
    while found:
        name, value = found.pop()
        if isinstance(value, torch.Tensor) and name:
            yield name, tuple(value.shape), partial(_require_stored, name, value)
        elif isinstance(value, dict) and id(value) not in mappings:
            mappings.add(id(value))
            found += [(f"{name}.{key}" if name else f"{key}", inner) for key, inner in reversed(value.items())]


def _from_safetensors(path: Path) -> Iterator[StoredTensor]:
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        msg = f"target (={path}) needs safetensors, which is not installed; pip install safetensors."
        raise MissingPackageError(msg) from error
    try:
        file: Any = safe_open(path, framework="pt")  # stays open, for its tensors to be read
        names = file.keys()
        for name in names:
            yield name, tuple(file.get_slice(name).get_shape()), partial(file.get_tensor, name)
    except (SafetensorError, OSError) as error:
        msg = f"target (={path}) must be a whole safetensors file: {first_line(error)}; save it again."
        raise ConvcostError(msg) from error


def _is_image_kernel(shape: Sequence[int]) -> bool:
    """Whether a weight of this shape convolves over two axes with K > 1."""
    return len(shape) == IMAGE_AXES + 2 and tuple(shape[2:]) != (1, 1) and 0 not in shape


def _of_tensors(tensors: Iterable[StoredTensor]) -> list[ConvWeights]:
    """Named weights as convolutions, with groups and stride assumed."""
    layers = []
    for name, shape, read in tensors:
        if name.endswith("weight") and _is_image_kernel(shape):
            outputs, inputs = shape[:2]
            groups = outputs if inputs == 1 else 1
            conv = Conv(inputs * groups, outputs, shape[2:], groups=groups)
            layers.append(ConvWeights(name.removesuffix("weight").rstrip(".") or name, None, conv, read))
    return layers


def _of_module(module: nn.Module) -> tuple[list[ConvWeights], tuple[str, ...]]:
    """The convolution modules with K > 1 over two axes, and notes on weights that are left out."""
    layers, others, seen = [], 0, set[int]()
    for name, part in module.named_modules():
        if not isinstance(part, CONVOLUTIONS):
            continue
        kind = type(part).__name__
        if nn.parameter.is_lazy(part.weight):
            msg = f"layer (={name or kind}) must have weights: it is lazy and has not run; give it its channels."
            raise ConvcostError(msg)
        conv, weight = _one_bank(part), id(part.weight)
        if len(conv.kernel_size) != IMAGE_AXES:
            others += 1
        elif conv.kernel_size != (1, 1):
            layers.append(ConvWeights(name or kind, kind, conv, partial(getattr, part, "weight"), weight in seen))
        seen.add(weight)
    notes = []
    if others:
        left_out = f"{number_of('convolution', others)} over one or three axes are left out"
        notes.append(f"{left_out}: a pair of K×1 and 1×K needs two.")
    if layers and (names := _functional_weights(module)):
        left_out = "weights of no convolution module are left out, whatever is done with them"
        notes.append(f"{left_out}: {', '.join(names[:3])}.")
    return layers, tuple(notes)


def _functional_weights(module: nn.Module) -> list[str]:
    """Weights that a forward may pass to a convolution function: of four axes, in no convolution module.

    Empty for a parametrized module, whose parameters are not the weights themselves.
    """
    if any(nn.utils.parametrize.is_parametrized(part) for part in module.modules()):
        return []
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if not isinstance(part, CONVOLUTIONS)
        for name, weight in part.named_parameters(recurse=False)
        if _is_image_kernel(weight.shape)
    ]


def _of_graph(module: fx.GraphModule) -> list[ConvWeights]:
    """The convolutions of an exported program, whose calls hold groups and stride."""
    layers = []
    for node in module.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or "conv" not in schema.name:
            continue
        call: dict[str, Any] = {
            argument.name: argument.default_value if argument.has_default_value() else None
            for argument in schema.arguments
        }
        call |= dict(zip(call, node.args, strict=False)) | node.kwargs
        weight = call.get("weight")
        if not isinstance(weight, fx.Node) or weight.op != "get_attr":
            continue
        path = str(weight.target)
        tensor = attrgetter(path)(module)
        if not _is_image_kernel(tensor.shape):
            continue
        transposed = bool(call.get("transposed", "transpose" in schema.name))
        groups = int(call["groups"])
        first, second = int(tensor.shape[0]), int(tensor.shape[1]) * groups
        inputs, outputs = (first, second) if transposed else (second, first)
        stride = per_axis(call["stride"], IMAGE_AXES)
        conv = Conv(inputs, outputs, tuple(tensor.shape[2:]), stride, groups=groups, transposed=transposed)
        op = schema.name.removeprefix("aten::")
        layers.append(ConvWeights(path.removesuffix(".weight"), op, conv, tensor.detach))
    return layers


def _one_bank(part: nn.Module) -> Conv:
    """A module's convolution without bias; of a tied one, a single group, since all share one filter bank."""
    conv = conv_of(part)
    shared = conv.groups if conv.tied else 1
    sizes = (conv.in_channels // shared, conv.out_channels // shared, conv.kernel_size, conv.stride)
    return Conv(*sizes, groups=conv.groups // shared, transposed=conv.transposed)

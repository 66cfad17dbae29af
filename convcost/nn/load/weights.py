"""The convolutions of a network with their weights, one after the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch import fx, nn

from convcost.convolution.conv import Conv
from convcost.nn.build.conv_module import TiedConv, conv_of
from convcost.nn.load.spectrum import ConvWeights
from convcost.nn.load.target import load_real
from convcost.nn.load.weight_file import is_weight_file, read_weights, same
from convcost.text.errors import ConvcostError
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from convcost.nn.load.weight_file import StoredTensor

__all__ = ["convolutions_of"]

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

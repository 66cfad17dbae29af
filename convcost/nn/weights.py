"""The convolutions of a network with their weights, one after the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from convcost.conv import Conv
from convcost.errors import ConvcostError
from convcost.nn.load import load_real
from convcost.nn.mirror import TiedConv, conv_of
from convcost.nn.spectrum import ConvWeights
from convcost.nn.weight_files import is_weight_file, read_weights, same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from convcost.nn.weight_files import StoredTensor

__all__ = ["convolutions_of"]

IMAGE_AXES: Final = 2
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
        if not found:
            held = loaded.module.state_dict().items()
            found = _stored((name, tuple(tensor.shape), partial(same, tensor)) for name, tensor in held)
            notes += (_ASSUMED,) if found else ()
    if not found:
        msg = f"target (={target}) must have a convolution over two axes with a kernel above 1x1; it has none."
        raise ConvcostError(msg)
    return found, notes


_ASSUMED: Final = (
    "weights alone tell neither groups nor stride: taken as 1, and as depthwise where a filter has one channel; "
    "name the model to have them right."
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
    found, others = [], 0
    for name, part in module.named_modules():
        if not isinstance(part, (nn.modules.conv._ConvNd, TiedConv)):  # noqa: SLF001 - the base of all convolutions
            continue
        if nn.parameter.is_lazy(part.weight):
            msg = f"layer (={name}) must have weights: it is lazy and has not run; give it its channels."
            raise ConvcostError(msg)
        conv = _bank(part)
        if len(conv.kernel_size) != IMAGE_AXES:
            others += 1
        elif conv.kernel_size != (1, 1):
            found.append(
                ConvWeights(name or type(part).__name__, type(part).__name__, conv, partial(getattr, part, "weight"))
            )
    left_out = f"{others} convolutions over one or three axes are left out: a pair of K×1 and 1×K needs two."
    return found, (left_out,) if others else ()


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

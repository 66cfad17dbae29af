"""One convolution as a torch module, and a torch module as a `Conv`."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain as flattened
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from convcost.convolution.conv import Conv
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from convcost.convolution.conv import Pairs

_Key: TypeAlias = tuple[int, bool]
"""Number of spatial axes, and whether the convolution is transposed."""
_CONVS: Final[dict[_Key, Callable[..., _ConvNd]]] = {
    (1, False): nn.Conv1d,
    (2, False): nn.Conv2d,
    (3, False): nn.Conv3d,
    (1, True): nn.ConvTranspose1d,
    (2, True): nn.ConvTranspose2d,
    (3, True): nn.ConvTranspose3d,
}
_FUNCTIONS: Final[dict[_Key, Callable[..., torch.Tensor]]] = {
    (1, False): torch.conv1d,
    (2, False): torch.conv2d,
    (3, False): torch.conv3d,
    (1, True): torch.conv_transpose1d,
    (2, True): torch.conv_transpose2d,
    (3, True): torch.conv_transpose3d,
}


def per_axis(sizes: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """The sizes of a window for each axis, from torch's size for all axes or its sizes for each."""
    given = (sizes,) if isinstance(sizes, int) else tuple(map(int, sizes))
    return given if len(given) == axes else given[:1] * axes


def is_plain(module: nn.Module) -> bool:
    """Whether a module is exactly one convolution that pads with zeros; a user's subclass may do more."""
    return type(module) in {TiedConv, *_CONVS.values()} and getattr(module, "padding_mode", "zeros") == "zeros"


class Pad(nn.Module):
    """Pads zeros before and after each spatial axis, for a convolution whose padding differs between the sides.

    Args:
        pairs: Padding (before, after) of each spatial axis, in torch's order (depth, height, width).
    """

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.pairs = pairs
        self.sizes = list(flattened.from_iterable(reversed(pairs)))  # torch's pad takes the last axis first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad an input (N, C, *spatial)."""
        return nn.functional.pad(x, self.sizes)


class TiedConv(nn.Module):
    """A grouped convolution whose groups share one filter bank, expanded to all groups when it runs.

    The weight is (O / g, C / g, *kernel), of a transposed convolution (C / g, O / g, *kernel); the bias O / g values.

    Args:
        conv: Tied convolution with explicit padding, equal before and after each axis.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
    """

    def __init__(self, conv: Conv, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.conv = conv
        sizes = {name: getattr(conv, name) // conv.groups for name in ("in_channels", "out_channels", "groups")}
        bank = _plain(replace(conv, **sizes, tied=False), device, dtype)
        self.weight, self.bias = bank.weight, bank.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve an input (N, C, *spatial) with the bank repeated for every group."""
        conv, groups = self.conv, self.conv.groups
        weight = self.weight.repeat(groups, *(1,) * (self.weight.ndim - 1))
        bias = None if self.bias is None else self.bias.repeat(groups)
        function = _FUNCTIONS[len(conv.kernel_size), conv.transposed]
        sizes = (conv.stride, tuple(before for before, _ in _explicit(conv)))
        if conv.transposed:
            return function(x, weight, bias, *sizes, conv.output_padding, groups, conv.dilation)
        return function(x, weight, bias, *sizes, conv.dilation, groups)


def build_conv(conv: Conv, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> nn.Module:
    """The torch module of one convolution: nn.ConvNd or `TiedConv`, after a `Pad` if the padding differs between sides.

    Raises:
        ConvcostError: The padding is "same", whose sizes depend on the input.
    """
    pairs = _explicit(conv)
    if any(before != after for before, after in pairs):
        unpadded = replace(conv, padding=((0, 0),) * len(pairs))
        return nn.Sequential(Pad(pairs), build_conv(unpadded, device=device, dtype=dtype))
    return TiedConv(conv, device, dtype) if conv.tied else _plain(conv, device, dtype)


def conv_of(module: nn.Module) -> Conv:
    """The `Conv` of a convolution module: the inverse of `build_conv`.

    Args:
        module: Module of torch.nn from Conv1d to ConvTranspose3d or of a subclass, a `TiedConv`, or one after a `Pad`.

    Raises:
        ConvcostError: The module is none of these.
    """
    match [*module] if isinstance(module, nn.Sequential) else module:
        case TiedConv(conv=conv):
            return conv
        case _ConvNd() as convolution:
            return _value(convolution)
        case [Pad(pairs=outer), padded]:
            inner = conv_of(padded)
            pairs = zip(outer, _explicit(inner), strict=True)
            return replace(inner, padding=tuple((a + before, b + after) for (a, b), (before, after) in pairs))
    msg = f"module (={type(module).__name__}) must be a convolution of torch.nn; give nn.Conv1d to nn.ConvTranspose3d."
    raise ConvcostError(msg)


def _value(module: _ConvNd) -> Conv:
    kernel, dilation = module.kernel_size, module.dilation
    if isinstance(module.padding, tuple):
        padding = tuple((size, size) for size in module.padding)
    else:  # torch's "same" has stride 1 and puts the odd pixel at the end; "valid" pads nothing
        reach = [d * (k - 1) * (module.padding == "same") for k, d in zip(kernel, dilation, strict=True)]
        padding = tuple((total // 2, total - total // 2) for total in reach)
    return Conv(
        module.in_channels,
        module.out_channels,
        kernel,
        module.stride,
        padding,
        dilation,
        module.groups,
        module.bias is not None,
        transposed=module.transposed,
        output_padding=module.output_padding,
    )


def _explicit(conv: Conv) -> Pairs:
    if conv.padding == "same":
        msg = "padding (=same) must be worked out for an input size first; place the convolution in a Layer."
        raise ConvcostError(msg)
    return conv.padding


def _plain(conv: Conv, device: torch.device | str | None, dtype: torch.dtype | None) -> _ConvNd:
    sizes: dict[str, Any] = {
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": tuple(before for before, _ in _explicit(conv)),
        "dilation": conv.dilation,
        "groups": conv.groups,
        "bias": conv.bias,
        **({"output_padding": conv.output_padding} if conv.transposed else {}),
    }
    module = _CONVS[len(conv.kernel_size), conv.transposed]
    return module(conv.in_channels, conv.out_channels, **sizes, device=device, dtype=dtype)

"""Fresh modules and inputs under the conditions of a timing, as calls without arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from convcost.nn.build.conv_module import build_conv
from convcost.nn.build.tree_module import build
from convcost.nn.measure.device import resolve_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.convolution.conv import Conv
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.timing.conditions import Conditions

__all__ = ["Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What modules are built for.

    Attributes:
        device: of parameters and input.
        dtype: of every element.
        channels_last: the memory format of both; else contiguous.
        contiguous_input: whether the input is contiguous all the same, as the first of a channels_last model may be.
    """

    device: torch.device
    dtype: torch.dtype
    channels_last: bool
    contiguous_input: bool = False

    @classmethod
    def of(cls, conditions: Conditions) -> Setting:
        """The setting of a timing."""
        dtype = getattr(torch, conditions.dtype)
        return cls(resolve_device(conditions.device), dtype, conditions.memory_format == "channels_last")

    def in_format(self, *, channels_last: bool) -> Setting:
        """The same in the other memory format."""
        return replace(self, channels_last=channels_last, contiguous_input=False)

    def tree_call(self, tree: Node, shape: Shape) -> Callable[[], object]:
        """A call of the module of a tree on random input of this shape."""
        return self._call(build(tree, shape, device=self.device, dtype=self.dtype), shape)

    def conv_call(self, conv: Conv, shape: Shape) -> Callable[[], object]:
        """A call of one convolution with explicit padding."""
        return self._call(build_conv(conv, device=self.device, dtype=self.dtype).eval(), shape)

    def packed_call(self, conv: Conv, shape: Shape) -> Callable[[], object]:
        """A call of one convolution whose weights oneDNN has laid out once, as torch.compile does when it freezes.

        Raises:
            RuntimeError: this torch cannot, or the convolution is no plain one on height and width.
        """
        module = build_conv(conv, device=self.device, dtype=self.dtype)
        if type(module) is not nn.Conv2d:
            msg = "only a plain nn.Conv2d is packed"
            raise RuntimeError(msg)
        pack: Any = getattr(torch._C._nn, "mkldnn_reorder_conv2d_weight", None)  # noqa: SLF001 - torch's own compiler calls it
        run: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
        if pack is None or run is None:
            msg = "this torch has no packed convolution"
            raise RuntimeError(msg)
        sizes = (module.padding, module.stride, module.dilation, module.groups)
        weight, data = pack(module.weight.detach().to_mkldnn(), *sizes), self.random(shape)
        return lambda: run(data, weight, module.bias, *sizes, "none", [], "")

    def random(self, shape: Shape) -> torch.Tensor:
        """Random values of this shape."""
        data = torch.randn(*shape.sizes, device=self.device, dtype=self.dtype)
        return data if self.contiguous_input else data.to(memory_format=self._layout)

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def _call(self, module: nn.Module, shape: Shape) -> Callable[[], object]:
        laid_out = module.to(memory_format=self._layout)  # type: ignore[call-overload]  # torch's stub lacks this keyword
        data = self.random(shape)
        return lambda: laid_out(data)

"""Calls of new modules on new inputs, under the conditions of a timing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from convcost.nn.build.conv_module import build_conv
from convcost.nn.build.tree_module import build
from convcost.nn.measure.device import LAYOUTS, laid_out, resolve_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.convolution.conv import Conv
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.timing.conditions import Conditions


@dataclass(frozen=True, slots=True)
class FreshCalls:
    """Makes calls, without arguments, of new modules on new inputs.

    Attributes:
        device: Device of the parameters and the input.
        dtype: Data type of every element.
        layout: Memory format of the parameters and the input.
        contiguous_input: Whether the input is contiguous in any case, as the input of a channels_last model may be.
    """

    device: torch.device
    dtype: torch.dtype
    layout: torch.memory_format
    contiguous_input: bool = False

    @classmethod
    def under(cls, conditions: Conditions) -> FreshCalls:
        """Calls under the conditions of a timing."""
        dtype, layout = getattr(torch, conditions.dtype), LAYOUTS[conditions.memory_format]
        return cls(resolve_device(conditions.device), dtype, layout)

    def tree_call(self, tree: Node, shape: Shape) -> Callable[[], object]:
        """A call of the module of a tree on random input of this shape."""
        return self._call(build(tree, shape, device=self.device, dtype=self.dtype), shape)

    def conv_call(self, conv: Conv, shape: Shape) -> Callable[[], object]:
        """A call of one convolution with explicit padding."""
        return self._call(build_conv(conv, device=self.device, dtype=self.dtype).eval(), shape)

    def packed_call(self, conv: Conv, shape: Shape) -> Callable[[], object]:
        """A call of one convolution with weights packed for oneDNN beforehand, as torch.compile does when freezing.

        Raises:
            RuntimeError: This version of torch cannot pack weights, or the convolution is not a plain nn.Conv2d.
        """
        module = build_conv(conv, device=self.device, dtype=self.dtype)
        if type(module) is not nn.Conv2d:
            raise RuntimeError("only a plain nn.Conv2d is packed")
        pack: Any = getattr(torch._C._nn, "mkldnn_reorder_conv2d_weight", None)  # noqa: SLF001 - there is no public function; torch.compile calls this one
        run: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
        if pack is None or run is None:
            raise RuntimeError("this torch has no packed convolution")
        sizes = (module.padding, module.stride, module.dilation, module.groups)
        weight, data = pack(module.weight.detach().to_mkldnn(), *sizes), self.random(shape)
        return lambda: run(data, weight, module.bias, *sizes, "none", [], "")

    def random(self, shape: Shape) -> torch.Tensor:
        """Random values of this shape."""
        data = torch.randn(*shape.sizes, device=self.device, dtype=self.dtype)
        return data if self.contiguous_input else data.to(memory_format=self.layout)

    def _call(self, module: nn.Module, shape: Shape) -> Callable[[], object]:
        return partial(laid_out(module, self.layout), self.random(shape))

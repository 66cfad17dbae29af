"""Formulas for MACs, by the qualified name of an operator.

They read shapes only, and the number of non-zeros of sparse tensors. A name of another library costs nothing until that
library is loaded. Complex numbers are left out here: an operator's cost (`convcost.nn.count.operators`) has them.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from convcost.convolution.conv import Conv
from convcost.convolution.cost import macs
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.nn.build.conv_module import per_axis
from convcost.nn.count.layouts import broadcast
from convcost.nn.count.tensors import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MATRIX_AXES: Final = 2
COMPRESSED: Final = frozenset({torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc})
NUMBERS_PER_ELEMENT: Final = {"torch.float4_e2m1fn_x2": 2}
"""Numbers in one element, for dtypes that hold several."""


class OperatorCall(NamedTuple):
    """One call of an operator.

    Attributes:
        name: Qualified name, such as `aten::mm`.
        arguments: All arguments in the operator's order, defaults included, by name.
        out: The result.
    """

    name: str
    arguments: Mapping[str, Any]
    out: Any

    def leading(self, count: int, skip: int = 0) -> tuple[Any, ...]:
        """The first arguments after those skipped."""
        return tuple(self.arguments.values())[skip : skip + count]

    def get(self, name: str, default: Any) -> Any:
        """An argument, or a default where the operator has none of this name."""
        return self.arguments.get(name, default)


if TYPE_CHECKING:
    Formula = Callable[[OperatorCall], int | None]

FORMULAS: Final[dict[str, Formula]] = {}
"""MACs of a call by the operator's qualified name; None where the shapes do not tell."""


def _formula(*names: str) -> Callable[[Formula], Formula]:
    """Give operators a formula; a name without a library is one of `aten`."""

    def remember(formula: Formula) -> Formula:
        for name in names:
            FORMULAS[name if "::" in name else f"aten::{name}"] = formula
        return formula

    return remember


def _elements(tensor: torch.Tensor) -> int:
    """Number of elements that are stored: of a sparse tensor its non-zeros."""
    if tensor.layout is torch.sparse_coo:
        return tensor._values().numel()  # noqa: SLF001 - `values()` refuses what is not coalesced
    if tensor.layout in COMPRESSED:
        return tensor.values().numel()
    return tensor.numel() * NUMBERS_PER_ELEMENT.get(str(tensor.dtype), 1)


def _product(a: torch.Tensor, b: torch.Tensor) -> int | None:
    """Every stored element of `a` times every column of `b`; of a sparse `b`, every row of `a` times its non-zeros."""
    if a.is_nested or b.is_nested:
        return None
    if is_sparse(a) and is_sparse(b):
        return None  # it depends on where the non-zeros are
    if is_sparse(b):
        return int(a.shape[-2] if a.dim() > 1 else 1) * _elements(b)
    return _elements(a) * (b.shape[-1] if b.dim() > 1 else 1)


def is_sparse(tensor: torch.Tensor) -> bool:
    """Whether the tensor keeps its non-zeros alone."""
    return tensor.layout in {torch.sparse_coo, *COMPRESSED}


@_formula("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "_scaled_mm", "_scaled_mm_v2")
@_formula("hspmm", "_sparse_mm_reduce_impl")
def _plain_product(call: OperatorCall) -> int | None:
    return _product(*call.leading(2))


@_formula("linalg_vecdot")
def _products_of_vectors(call: OperatorCall) -> int:
    """All elements, which are multiplied and summed along one axis, as in a single `dot`."""
    return prod(broadcast(*(tuple(tensor.shape) for tensor in call.leading(2))) or ())


@_formula("addmm", "baddbmm", "addmv", "addbmm", "_addmm_activation", "_sparse_addmm", "sspaddmm")
def _added_product(call: OperatorCall) -> int | None:
    """The product alone, since the addition is fused."""
    return _product(*call.leading(2, skip=1))


@_formula("sparse_sampled_addmm")
def _sampled_product(call: OperatorCall) -> int:
    """A row times a column, of K products, for each non-zero of the pattern."""
    pattern, a = call.leading(2)
    return _elements(pattern) * int(a.shape[-1])


@_formula("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2")
def _grouped_product(call: OperatorCall) -> int:
    """M·K·N of all groups, along which one of the three is cut."""
    a, b = call.leading(2)
    per_element = NUMBERS_PER_ELEMENT.get(str(a.dtype), 1)
    batch = a.shape[0] if a.dim() == b.dim() > MATRIX_AXES else 1
    return int(batch * a.shape[-2] * a.shape[-1] * per_element * b.shape[-1])


@_formula("_foreach_mm")
def _listed_products(call: OperatorCall) -> int | None:
    products = [_product(a, b) for a, b in zip(*call.leading(2), strict=True)]
    return None if None in products else sum(n for n in products if n is not None)


@_formula("linear", "mkldnn_linear", "_mixed_dtypes_linear", "_dyn_quant_matmul_4bit", "_weight_int8pack_mm")
@_formula("_weight_int4pack_mm", "_weight_int4pack_mm_for_cpu", "_weight_int4pack_mm_with_scales_and_zeros")
def _packed_product(call: OperatorCall) -> int:
    """Every element of the input times the outputs, since packed weights have shapes of their own."""
    return int(call.leading(1)[0].numel() * call.out.shape[-1])


@_formula("_trilinear")
def _bilinear(call: OperatorCall) -> int:
    """N·O·(I₁·I₂ + I₂): the weight times the first input, then times the second."""
    x, weight = call.leading(2)
    samples = max(x.numel() // x.shape[-1], 1) if x.dim() else 1
    outputs, first, second = weight.shape[-3:]
    return int(samples * outputs * (first * second + second))


@_formula("_cdist_forward", "_euclidean_dist", "_pdist_forward")
def _pairwise_distances(call: OperatorCall) -> int:
    """B·P·R·M: one product and sum for each pair of points and coordinate, however torch computes it."""
    return int(call.out.numel() * call.leading(1)[0].shape[-1])


@_formula("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "_lstm_mps")
def _fused_rnn(call: OperatorCall) -> int:
    """T·N times the matrices of all layers and directions: (gates·H)·(I + H) each, and a projection if there is one."""
    x = call.leading(1)[0]
    weights = call.get("weight", call.get("params", call.leading(2, skip=1)))
    return int(prod(x.shape[:-1]) * sum(w.numel() for w in weights if w.dim() == MATRIX_AXES))


@_formula("_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention")
@_formula("_scaled_dot_product_cudnn_attention", "_scaled_dot_product_flash_attention_for_cpu")
@_formula("_scaled_dot_product_fused_attention_overrideable", "_scaled_dot_product_attention_math_for_mps")
@_formula("_triton_scaled_dot_attention", "higher_order::flex_attention")
def _attention(call: OperatorCall) -> int | None:
    """B·h·L·S·(E + E_v), whatever the mask."""
    q, k, v = call.leading(3)
    if q.is_nested or k.is_nested:
        return None
    return int(prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]))


_NATTEN: Final = ("", "reference_", "hopper_", "blackwell_", "flash_")


_NEIGHBOURHOOD: Final = tuple(f"{k}na{axes}d{end}" for k in _NATTEN for axes in "123" for end in ("", "_forward"))
_SCORES: Final = tuple(f"na{axes}d_qk{end}" for axes in "123" for end in ("", "_forward"))
_VALUES: Final = tuple(f"na{axes}d_av{end}" for axes in "123" for end in ("", "_forward"))
_HEADS_LAST: Final = tuple(f"{kind}fmha_forward" for kind in _NATTEN)
ATTENTION: Final = frozenset({*_NEIGHBOURHOOD, *_SCORES, *_VALUES, *_HEADS_LAST})
"""Names of operators of NATTEN, all of which are attention or half of it."""


@_formula(*(f"natten::{name}" for name in _NEIGHBOURHOOD))
def _neighbourhood_attention(call: OperatorCall) -> int:
    """B·h·L·k·(E + E_v): each query sees a window of k keys. Tensors are (B, *spatial, h, E)."""
    q, _, v = call.leading(3)
    axes = next(int(letter) for letter in call.name if letter.isdigit())
    window = per_axis(call.arguments["kernel_size"], axes)
    return int(prod(q.shape[:-1]) * prod(window) * (q.shape[-1] + v.shape[-1]))


@_formula(*(f"natten::{name}" for name in _SCORES))
def _neighbourhood_scores(call: OperatorCall) -> int:
    """B·h·L·k·E, into (B, h, *spatial, k)."""
    return int(call.out.numel() * call.leading(1)[0].shape[-1])


@_formula(*(f"natten::{name}" for name in _VALUES))
def _neighbourhood_values(call: OperatorCall) -> int:
    """B·h·L·k·E_v, from (B, h, *spatial, k)."""
    scores, v = call.leading(2)
    return int(scores.numel() * v.shape[-1])


@_formula(*(f"natten::{name}" for name in _HEADS_LAST))
def _heads_last_attention(call: OperatorCall) -> int | None:
    """B·L·h·S·(E + E_v), of tensors (B, L, h, E); None where sequences of several lengths share one."""
    q, k, v = call.leading(3)
    if call.get("cumulative_seqlen_Q", None) is not None:
        return None
    return int(prod(q.shape[:-1]) * k.shape[-3] * (q.shape[-1] + v.shape[-1]))


@_formula("_native_multi_head_attention", "_triton_multi_head_attention")
def _fused_attention(call: OperatorCall) -> int | None:
    """Three projections of the inputs, attention, one projection of the output."""
    q, k, _, embed = call.leading(4)
    if q.is_nested:
        return None
    batch, length, source = q.shape[0], q.shape[1], k.shape[1]
    projections = batch * embed * embed * (2 * length + 2 * source)
    return int(projections + batch * length * source * 2 * embed)


@_formula("_transformer_encoder_layer_fwd")
def _fused_encoder_layer(call: OperatorCall) -> int | None:
    """The attention and the two layers of the feed-forward network."""
    x, embed = call.leading(2)
    if x.is_nested:
        return None
    batch, length = x.shape[0], x.shape[1]
    weights = sum(call.arguments[f"{name}_weight{end}"].numel() for name, end in _ENCODER_WEIGHTS)
    return int(batch * length * weights + batch * length * length * 2 * embed)


_ENCODER_WEIGHTS: Final = (("qkv", ""), ("proj", ""), ("ffn", "_1"), ("ffn", "_2"))

_CONVOLUTIONS: Final = """
    _conv_depthwise2d _convolution _mps_convolution _mps_convolution_transpose _nnpack_spatial_convolution
    _slow_conv2d_forward conv_depthwise3d conv_tbc convolution convolution_overrideable cudnn_convolution
    cudnn_convolution_add_relu cudnn_convolution_relu cudnn_convolution_transpose miopen_convolution
    miopen_convolution_add_relu miopen_convolution_relu miopen_convolution_transpose miopen_depthwise_convolution
    mkldnn_convolution slow_conv3d_forward slow_conv_dilated2d slow_conv_dilated3d slow_conv_transpose2d
    slow_conv_transpose3d
"""
CONVOLUTIONS: Final = frozenset({*(f"aten::{name}" for name in _CONVOLUTIONS.split()), "torchvision::deform_conv2d"})
"""Operators that are a convolution of their first argument with their second."""


def convolution(call: OperatorCall) -> tuple[int, Conv]:
    """The MACs and the convolution of a call of one of `CONVOLUTIONS`."""
    values = [
        shape_of(value) if isinstance(value, torch.Tensor) else tuple(value) if isinstance(value, list) else value
        for value in call.arguments.values()
    ]
    return _convolution(call.name, tuple(call.arguments), tuple(values))


@lru_cache(maxsize=4096)
def _convolution(name: str, names: tuple[str, ...], values: tuple[Any, ...]) -> tuple[int, Conv]:
    """A network has few different convolutions, and each is worked out once.

    Args:
        name: Qualified name of the operator.
        names: Names of its arguments.
        values: The arguments, with the shapes of tensors in their place.
    """
    call = OperatorCall(name, dict(zip(names, values, strict=True)), None)
    shape, weights = call.leading(2)
    if name == "aten::conv_tbc":  # time × batch × channels, and kernel × in × out
        (time, batch, channels), (kernel, _, outputs) = shape, weights
        conv = Conv(channels, outputs, (kernel,), padding=(int(call.get("pad", 0)),), bias=True)
        return _placed(conv, (batch, channels, time))
    if len(weights) > len(shape):  # oneDNN's weights of a grouped convolution have an axis of groups
        weights = (weights[0] * weights[1], *weights[2:])
    kernel = weights[2:]
    if len(shape) == len(kernel) + 1:
        shape = (1, *shape)
    transposed = bool(call.get("transposed", "transpose" in name))
    groups = int(call.get("groups", shape[1] if "conv_depthwise" in name else 1))
    conv = Conv(
        shape[1],
        weights[1] * groups if transposed else weights[0],
        kernel,
        _window(call, "stride", kernel, 1),
        _window(call, "padding", kernel, 0),
        _window(call, "dilation", kernel, 1),
        groups,
        call.get("bias", None) is not None,
        transposed=transposed,
        output_padding=_window(call, "output_padding", kernel, 0) if transposed else 0,
    )
    return _placed(conv, shape)


def _window(call: OperatorCall, name: str, kernel: tuple[int, ...], default: int) -> tuple[int, ...]:
    """A size of the window for each axis; torchvision has an argument for each axis, such as `pad_h`."""
    short = name.replace("padding", "pad")
    if f"{short}_h" in call.arguments:
        return int(call.arguments[f"{short}_h"]), int(call.arguments[f"{short}_w"])
    return per_axis(call.get(name, default), len(kernel))


def _placed(conv: Conv, shape: tuple[int, ...]) -> tuple[int, Conv]:
    if 0 in shape:
        return 0, conv
    batch, channels, *spatial = shape
    return macs(Layer("", conv, Shape(batch, channels, tuple(spatial)))).value, conv

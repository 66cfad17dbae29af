"""MACs of torch's operators: by a formula, 0 by convention, or unknown.

A formula takes the arguments and the output of an ATen operator, into which torch's dispatcher splits a model.
Convolutions have none here: they become a `Layer` (see `convcost.nn.count.trace`). On meta tensors, the outputs of
common operators are made here too, much faster than by torch's meta kernels.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._ops import OpOverloadPacket
from torch.utils.flop_counter import flop_registry

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Formula = Callable[..., int]

aten = torch.ops.aten
FORMULAS: Final[dict[Any, Formula]] = {}
"""Formulas by overload packet; each returns MACs from the operator's arguments and the keyword `out`."""

_CONVOLUTIONS: Final = {"convolution", "_convolution", "mkldnn_convolution", "convolution_overrideable"}
_FREE: Final = re.compile(
    r"""_?(
    .*(view|reshape|expand|permute|transpose|squeeze|unflatten|flatten|slice|select|split|chunk|unbind|narrow|diagonal|movedim)(_.*)?
    |t|numpy_T|mT|alias|detach|as_strided|unfold|im2col|col2im|pixel_(un)?shuffle|channel_shuffle|roll|flip|rot90|tile|repeat.*
    |(new_)?(empty|zeros|ones|full|arange|linspace|logspace|eye|scalar_tensor|rand|randn|randint|randperm|tri[ul](_indices)?)(_.*)?
    |.*(copy|clone|lift_fresh|to_copy|contiguous|cat|stack|pad.*|pad_enum|constant_pad_nd|index|gather|scatter|embedding|take|put|masked|where|one_hot|bucketize|searchsorted|nonzero|unique|sort|topk|argmax|argmin|argsort|kthvalue|mode|median)(_.*|\d.*)?
    |(sum|mean|prod|std|var|var_mean|std_mean|amax|amin|aminmax|max|min|any|all|norm|linalg_vector_norm|logsumexp|cum.*|count_nonzero|nan.*|histc|bincount)(_.*)?
    |.*(softmax|norm|dropout|pool|upsample|grid_sampler.*|interpolate|affine_grid.*|rms_norm|batch_norm.*|rnn_.*cell|fused_(lstm|gru)_cell)(.*)?
    |uniform|normal|bernoulli|exponential|multinomial|poisson|random|geometric|cauchy
    |item|local_scalar_dense|is_.*|equal|allclose|isin|size|stride|numel|dim|storage_offset|sym_.*|assert.*|functional_assert.*
    |real|imag|view_as_(real|complex)|complex|polar|conj.*|resolve_.*|neg_view|meshgrid|block_diag|broadcast.*|combinations|cartesian_prod
    |glu|prelu|rrelu.*|.*loss.*|cross_entropy.*|cosine_similarity|pairwise_distance|(p|c)dist.*|normalize|lerp|addc(mul|div)|fill.*|zero|set.*|resize.*
    |fake_quantize.*|pin_memory|record_stream|prelu_kernel|safe_softmax|to_cpu|nested.*
    )_?""",
    re.VERBOSE,
)
_COSTLY: Final = re.compile(
    r"_?(fft_.*|linalg_.*|cholesky.*|svd.*|qr|lu_.*|eig.*|inverse|triangular_solve|sparse_.*|matrix_exp|pinverse"
    r"|(log|slog)?det|i?stft)"
)
"""Arithmetic beyond one pass over the elements, without a formula."""
_FREE_DESPITE_NAME: Final = {"_linalg_check_errors", "linalg_vector_norm"}
MATRIX_AXES: Final = 2


def register(op: Any) -> Callable[[Formula], Formula]:
    """Give an operator a formula for its MACs.

    Args:
        op: The operator with all its overloads, such as `torch.ops.mylib.myop`.

    Returns:
        A decorator for a function of the operator's arguments and the keyword `out` that returns MACs.

    Raises:
        ConvcostError: Not an operator, or one that has a formula. A module that is imported again, such as that of
            another revision, may register its formulas again.
    """
    packet = getattr(op, "overloadpacket", op)
    if not isinstance(packet, OpOverloadPacket):
        raise ConvcostError(f"op (={op}) must be an operator of torch.ops; give torch.ops.library.name.")

    def remember(formula: Formula) -> Formula:
        if packet in FORMULAS and not _is_stale(FORMULAS[packet]):
            raise ConvcostError(f"op (={packet}) has a formula; register each operator once.")
        FORMULAS[packet] = formula
        return formula

    return remember


def _is_stale(formula: Formula) -> bool:
    """Whether the module that defined a formula is no longer loaded, or was loaded again."""
    module = sys.modules.get(formula.__module__)
    return hasattr(formula, "__globals__") and (module is None or vars(module) is not formula.__globals__)


@contextmanager
def saved_formulas() -> Iterator[None]:
    """Restore all formulas afterwards."""
    before = dict(FORMULAS)
    try:
        yield
    finally:
        FORMULAS.clear()
        FORMULAS.update(before)


@cache
def is_convolution(packet: Any) -> bool:
    """Whether the operator takes torch's arguments of a convolution: input, weight, bias, stride, ..."""
    library, _, name = str(packet).partition(".")
    return library == "aten" and name in _CONVOLUTIONS


@cache
def is_free(func: Any) -> bool:
    """Whether the operator is 0 MACs by convention: views, copies, elementwise, reductions, norms, pooling ..."""
    library, _, name = str(func.overloadpacket).partition(".")
    if library == "profiler" or name in _FREE_DESPITE_NAME:
        return True
    if library not in {"aten", "prims", "prim"} or _COSTLY.fullmatch(name):
        return False
    return torch.Tag.pointwise in func.tags or _FREE.fullmatch(name) is not None


def has_formula(packet: Any) -> bool:
    """Whether the operator has a formula here or in torch's registry."""
    return packet in FORMULAS or packet in flop_registry


def macs_of(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """MACs of one call of an operator, by its formula or torch's."""
    if packet in FORMULAS:
        return int(FORMULAS[packet](*args, **kwargs, out=out))
    return int(flop_registry[packet](*args, **kwargs, out_val=out)) // FLOPS_PER_MAC


def _formula(*packets: str) -> Callable[[Formula], Formula]:
    def remember(formula: Formula) -> Formula:
        for name in packets:
            if hasattr(aten, name):
                FORMULAS[getattr(aten, name)] = formula
        return formula

    return remember


@_formula("mm", "bmm", "mv", "dot", "vdot")
def _product(a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
    """Every element of `a` times every column of `b`."""
    return a.numel() * (b.shape[-1] if b.dim() > 1 else 1)


@_formula("addmm", "baddbmm", "addmv", "addbmm")
def _added_product(_: Any, a: torch.Tensor, b: torch.Tensor, *__: Any, **___: Any) -> int:
    """The product alone, since the addition is fused."""
    return _product(a, b)


@_formula("_trilinear")
def _bilinear(x: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> int:
    """N·O·(I₁·I₂ + I₂): the weight times the first input, then times the second."""
    samples = max(x.numel() // x.shape[-1], 1) if x.dim() else 1
    outputs, first, second = weight.shape[-3:]
    return samples * outputs * (first * second + second)


@_formula("mkldnn_rnn_layer")
def _fused_rnn(x: torch.Tensor, input_weight: torch.Tensor, hidden_weight: torch.Tensor, *_: Any, **__: Any) -> int:
    """T·N·(gates·H)·(I + H) of one layer and direction."""
    return x.shape[0] * x.shape[1] * (input_weight.numel() + hidden_weight.numel())


@_formula("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math")
def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **__: Any) -> int:
    """B·h·L·S·(E + E_v)."""
    return prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


@_formula("_native_multi_head_attention")
def _fused_attention(q: torch.Tensor, k: torch.Tensor, _: torch.Tensor, embed: int, *__: Any, **___: Any) -> int:
    """Three projections of the inputs, attention, one projection of the output."""
    batch, length, source = q.shape[0], q.shape[1], k.shape[1]
    projections = batch * embed * embed * (2 * length + 2 * source)
    return projections + batch * length * source * 2 * embed


@_formula("_transformer_encoder_layer_fwd")
def _fused_encoder_layer(src: torch.Tensor, embed: int, *rest: Any, **_: Any) -> int:
    """The attention and the two layers of the feed-forward network, whose weights are the only other matrices."""
    batch, length = src.shape[0], src.shape[1]
    matrices = [w for w in rest if isinstance(w, torch.Tensor) and w.dim() == MATRIX_AXES]
    weights = sum(w.numel() for w in matrices if embed in w.shape and w.is_floating_point())
    return batch * length * weights + batch * length * length * 2 * embed


_ELEMENTWISE: Final = ("relu", "sigmoid", "tanh", "silu", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu")
_LIKE_INPUT: Final = {getattr(aten, name).default for name in (*_ELEMENTWISE, "gelu")}
_IN_PLACE: Final = {getattr(aten, f"{name}_").default for name in _ELEMENTWISE}
_BINARY: Final = {aten.add.Tensor, aten.mul.Tensor, aten.sub.Tensor}
_NORMS: Final = {getattr(aten, name).default for name in ("native_batch_norm", "_native_batch_norm_legit_no_training")}


def meta_output(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The output of an operator on meta tensors.

    NotImplemented wherever the output may not be like the input, or torch may refuse the arguments.
    """
    data = args[0] if args else None
    if not isinstance(data, torch.Tensor) or data.device.type != "meta" or not data.is_floating_point():
        return NotImplemented
    if func in _LIKE_INPUT:
        return torch.empty_like(data)
    if func in _IN_PLACE:
        return data
    if func in _BINARY and not kwargs and _are_alike(data, args[1]):
        return torch.empty_like(data)
    if func in _NORMS and (func is not aten.native_batch_norm.default or args[5] is False):
        channels = data.shape[1] if data.dim() > 1 else None
        if all(tensor is None or tuple(tensor.shape) == (channels,) for tensor in args[1:5]):
            return torch.empty_like(data), data.new_empty(0), data.new_empty(0)
    return NotImplemented


def _are_alike(data: torch.Tensor, other: object) -> bool:
    return (
        isinstance(other, torch.Tensor)
        and other.device.type == "meta"
        and other.shape == data.shape
        and other.dtype == data.dtype
        and other.stride() == data.stride()
    )

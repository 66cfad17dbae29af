"""Autocast for the CPU on meta tensors, where torch does not apply it: the same dtypes as a run on the CPU."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch._C import _dispatch_has_kernel, _dispatch_has_kernel_for_dispatch_key, _functorch

from convcost.nn.count.tensors import tensors_in

if TYPE_CHECKING:
    from typing import TypeAlias

    Policy: TypeAlias = Literal["lower", "float32", "widest"]

aten = torch.ops.aten
_LOWER: Final = frozenset(
    {
        *("convolution", "_convolution", "mm", "bmm", "addmm", "baddbmm", "addbmm", "_addmm_activation"),
        *(
            "linalg_vecdot",
            "conv_tbc",
            "mkldnn_rnn_layer",
            "_prelu_kernel",
            "_native_multi_head_attention",
            "flex_attention",
        ),
        *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math"),
    }
)
"""Operators that run in the lower precision: the parts of torch's own list (conv2d, linear, matmul ...)."""
_LOWER_FUNCTIONS: Final = frozenset(
    {
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("linear", "matmul", "prelu", "scaled_dot_product_attention", "lstm"),
    }
)
"""Functions that run in the lower precision, with the operators above as their parts."""
_OPERATORS: Final = {"cross_entropy": "cross_entropy_loss", "grid_sample": "grid_sampler"}
"""Functions of Python with another name than the composite operator that they call."""
_WIDEST: Final = frozenset({"cat", "stack", "index_copy"})
"""Operators whose inputs are cast to the widest dtype among them."""


class Autocast:
    """Casts arguments as autocast for the CPU does; one for each recorder.

    Attributes:
        is_on: Whether the user's autocast is on, as far as `look` saw.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._lower: torch.dtype | None = None
        self._cached: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def look(self) -> None:
        """Read the user's autocast, outside of operators: while a dispatch mode runs one, torch says that it is off."""
        self.is_on = torch.is_autocast_enabled("cpu")
        if self.is_on:
            self._lower = torch.get_autocast_dtype("cpu")
        else:
            self._lower = None
            if self._cached and not _depth():
                self._cached.clear()  # as torch does at the end of the outermost context

    def for_function(self, name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments of a function such as `conv2d` as autocast passes them on; its casts are recorded like others.

        Functions are cast before operators, since some compare the dtypes of their arguments.
        """
        is_off = self._lower is None or _is_in_vmap() or (name == "lstm" and not _is_one_operator(args))
        policy = None if is_off else _function_policy(name)
        return (
            (args, kwargs) if policy is None else (self._placed(args, policy, None), self._placed(kwargs, policy, None))
        )

    def for_operator(self, func: Any, args: Any) -> tuple[Any, list[torch.Tensor]]:
        """The positional arguments of an operator as autocast passes them on, and the tensors made for that."""
        policy = None if self._lower is None else _policy(func)
        made: list[torch.Tensor] = []
        if policy is None:
            return args, made
        if policy == "widest" and torch.float32 not in {tensor.dtype for tensor in tensors_in(args)}:
            return args, made
        return self._placed(args, policy, made), made

    def _placed(self, value: Any, policy: Policy, made: list[torch.Tensor] | None) -> Any:
        """A value with the tensors in it cast: those that torch casts on the CPU.

        Args:
            value: Arguments.
            policy: The precision that they get.
            made: List for the casts of an operator's arguments; None for those of a function.
        """
        if isinstance(value, list | tuple):
            return type(value)(self._placed(item, policy, made) for item in value)
        if isinstance(value, dict):
            return {name: self._placed(item, policy, made) for name, item in value.items()}
        wanted = self._lower if self._lower is not None and policy == "lower" else torch.float32
        is_eligible = isinstance(value, torch.Tensor) and value.device.type == "meta" and value.is_floating_point()
        if not is_eligible or value.dtype in {wanted, torch.float64}:
            return value
        return self._cast_weight(value, wanted, made) if policy == "lower" else _to(value, wanted, made)

    def _cast_weight(self, tensor: torch.Tensor, dtype: torch.dtype, made: list[torch.Tensor] | None) -> torch.Tensor:
        """The cast of a tensor; that of a parameter is kept until autocast ends, as torch does, and that of no view.

        A transposed parameter is one that an operator such as `gru` passes to `linear`, which torch casts before.
        """
        base = tensor if tensor._base is None else tensor._base  # noqa: SLF001 - torch has no public name for it
        is_kept = (
            base.requires_grad and base.is_leaf and base.dtype is torch.float32 and torch.is_autocast_cache_enabled()
        )
        if not is_kept or not (tensor is base or (made is not None and _is_transposed(tensor, base))):
            return _to(tensor, dtype, made)
        if id(base) not in self._cached:
            self._cached[id(base)] = (base, _to(base, dtype, made))
        whole = self._cached[id(base)][1]
        if tensor is base:
            return whole
        view: torch.Tensor = aten.as_strided.default(whole, tensor.shape, tensor.stride(), tensor.storage_offset())
        return view


def _is_transposed(tensor: torch.Tensor, base: torch.Tensor) -> bool:
    """Whether a matrix is another one transposed."""
    return tensor.ndim == 2 and (tensor.shape, tensor.stride()) == (base.shape[::-1], base.stride()[::-1])  # noqa: PLR2004 - axes of a matrix


def _is_one_operator(args: tuple[Any, ...]) -> bool:
    """Whether the CPU runs an LSTM by oneDNN: without projections, and not of a packed sequence."""
    states = args[1]
    return not isinstance(states, torch.Tensor) and states[0].shape[-1] == states[1].shape[-1]


def _is_in_vmap() -> bool:
    """Whether vmap takes functions apart before autocast."""
    top = _functorch.peek_interpreter_stack()
    return top is not None and top.key() == _functorch.TransformType.Vmap


def _depth() -> int:
    """The number of autocast contexts around; torch tells it only to who opens or closes one."""
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


def _to(tensor: torch.Tensor, dtype: torch.dtype, made: list[torch.Tensor] | None) -> torch.Tensor:
    cast: torch.Tensor = aten._to_copy.default(tensor, dtype=dtype)  # noqa: SLF001 - the operator behind `Tensor.to`
    if made is not None:
        made.append(cast)
    return cast


@cache
def _policy(func: Any) -> Policy | None:
    """The precision that autocast gives an operator; None for one that it leaves alone."""
    name = getattr(func, "overloadpacket", func).__name__
    if name in _LOWER:
        return "lower"
    if name in _WIDEST:
        return "widest"
    if not func.name().startswith("aten::"):
        return None
    return "float32" if _dispatch_has_kernel_for_dispatch_key(func.name(), "AutocastCPU") else None


@cache
def _function_policy(name: str) -> Policy | None:
    """The precision that autocast gives a function; None for one whose operators it sees, or leaves alone."""
    name = name.strip("_")
    if name in _LOWER or name in _LOWER_FUNCTIONS:
        return "lower"
    name = _OPERATORS.get(name, name)
    packet = getattr(aten, name, None)
    overloads = () if packet is None else [getattr(packet, one).name() for one in packet.overloads()]
    keys = ("AutocastCPU", "CompositeImplicitAutograd")
    is_cast = any(
        all(_dispatch_has_kernel_for_dispatch_key(one, key) for key in keys)
        for one in overloads
        if _dispatch_has_kernel(one)  # not one that torch.jit alone knows
    )
    return "float32" if is_cast or (packet is not None and name.endswith("_loss")) else None

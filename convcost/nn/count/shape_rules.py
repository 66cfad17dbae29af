"""Shape rules: what the common operators of torch return on meta tensors, without torch's own meta kernels.

Those kernels are written in Python; the first one that runs imports sympy and torch's compiler, 800 modules. A rule
returns an empty tensor of the same shape, strides and dtype, or the input itself for an operator in place. Wherever a
rule is not certain, such as for arguments that torch may refuse, it gives up, and torch's kernel runs and decides.

`CONVCOST_TRACER=meta` in the environment switches all rules off.
"""

from __future__ import annotations

import gc
import os
import sys
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import Parameter

from convcost.nn.count import (
    arithmetic_rules,
    creation_rules,
    image_rules,
    movement_rules,
    product_rules,
    reduction_rules,
)
from convcost.nn.count.rule_table import UnsureError
from convcost.text.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable

RULES: Final = (
    arithmetic_rules.RULES
    | product_rules.RULES
    | reduction_rules.RULES
    | movement_rules.RULES
    | image_rules.RULES
    | creation_rules.RULES
)
_DTYPES: Final = frozenset({
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.complex64, torch.complex128),
})  # fmt: skip
_NEEDS_NONE: Final = frozenset({
    *("clone", "_unsafe_view", "_to_copy", "constant_pad_nd", "detach_", "t_", "transpose_", "squeeze_", "unsqueeze_"),
    *("empty", "new_empty", "empty_strided", "new_empty_strided", "zeros", "new_zeros", "ones", "new_ones", "full"),
    *("new_full", "rand", "bernoulli", "resize_"),
})  # fmt: skip
"""Operators without a rule whose meta kernels import nothing."""
_ORDINARY: Final = frozenset({int, float, bool, complex, str, type(None), torch.dtype, torch.device})
_NOT_PLAIN: Final = (Tensor, torch.SymInt, torch.SymFloat, torch.SymBool)
_COMPILER: Final = "torch._dynamo"
_log = getLogger(__name__)


def meta_output(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The output of an operator on meta tensors, or NotImplemented where no rule is certain of it."""
    rule = RULES.get(func.name())
    if rule is None:
        if isinstance(func, OpOverload) and not func.is_view and func.overloadpacket.__name__ not in _NEEDS_NONE:
            _log.debug("no shape rule: %s", func)
        return NotImplemented
    if torch._C._len_torch_dispatch_stack():  # noqa: SLF001 - another mode, such as that of `make_fx`, must see the operator
        return NotImplemented
    with torch._C.DisableTorchFunction():  # noqa: SLF001 - a tensor's attributes are read without a TorchFunctionMode
        if _are_plain(args) and (not kwargs or _are_plain(kwargs.values())):
            try:
                return rule(*args, **kwargs)
            except (UnsureError, ShapeError, TypeError, AttributeError, ValueError, IndexError):
                pass  # arguments that the rule does not expect, and that torch refuses or knows better
    _log.debug("the shape rule is not certain: %s", func)
    return NotImplemented


def kernel_output(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The output of an operator by torch's own kernel.

    The first one may import torch's compiler, and the frames of that import keep all tensors around alive, in a cycle.
    """
    is_imported = _COMPILER in sys.modules
    out = func(*args, **kwargs)
    if not is_imported and _COMPILER in sys.modules:
        gc.collect()
    return out


def is_switched_off() -> bool:
    """Whether the environment switches the rules off."""
    return os.environ.get("CONVCOST_TRACER") == "meta"


def _are_plain(values: Iterable[Any]) -> bool:
    """Whether all values are no tensors, or ordinary ones of the meta device with at least one element."""
    for value in values:
        kind = type(value)
        if kind in _ORDINARY:
            continue
        if kind is Tensor or kind is Parameter:
            if not (value.is_meta and value.dtype in _DTYPES and value.layout is torch.strided and value.numel() > 0):
                return False
        elif isinstance(value, (list, tuple)):
            if not _are_plain(value):
                return False
        elif isinstance(value, _NOT_PLAIN):
            return False
    return True

"""Weights that are no parameters of torch: packed by quantisation, or kept as integers."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import torch

from convcost.nn.count.formulas import NUMBERS_PER_ELEMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

_PLAIN: Final = frozenset({bool, int, float, str, tuple, list, dict, set, type(None), OrderedDict})
"""Types of most attributes of a module, which hold no weights."""


def packed_weights(parts: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """A note on the weights whose number torch's parameters do not give; empty where there are none.

    Args:
        parts: The model and its parts by path.
    """
    holders = {name: size for name, part in parts.items() if (size := _packed_in(part)) is not None}
    if not holders:
        return ()
    first = next(iter(holders)).removesuffix("._packed_params") or type(parts[""]).__name__
    where = first if len(holders) == 1 else f"{first} and {len(holders) - 1} more"
    verb = "holds" if len(holders) == 1 else "hold"
    total = sum(holders.values())
    amount = f"{total:,} " if all(holders.values()) else f"at least {total:,} " if total else ""
    return (f"{where} {verb} {amount}packed weights: params and weight_bytes are not obtained.",)


def _packed_in(part: nn.Module) -> int | None:
    """The number of weights in the packed attributes of a part itself, 0 if unknown; None if it has none."""
    if isinstance(part, torch.jit.ScriptModule):
        is_frozen = not part._c.hasattr("training")  # noqa: SLF001 - the script itself; `train` sets it on its wrapper
        return 0 if is_frozen else None  # a frozen script has its weights as constants
    if any(tensor is not None and _is_integer(tensor) for tensor in part._parameters.values()):  # noqa: SLF001 - as below
        return 0  # several may share an integer
    attributes = {name: value for name, value in vars(part).items() if type(value) not in _PLAIN}
    attributes |= part._buffers  # noqa: SLF001 - the part's own, not those of its parts
    if not attributes:
        return None
    tensors = [v for name, v in attributes.items() if isinstance(v, torch.Tensor) and _is_packed(name, v)]
    if any(isinstance(value, torch.ScriptObject) for value in attributes.values()):
        unpack = getattr(part, "_weight_bias", None)
        tensors += [] if unpack is None else [value for value in unpack() if value is not None]
        return sum(tensor.numel() for tensor in tensors)
    return sum(tensor.numel() for tensor in tensors) if tensors else None


def _is_packed(name: str, tensor: torch.Tensor) -> bool:
    return tensor.is_quantized or ("weight" in name and _is_integer(tensor))


def _is_integer(tensor: torch.Tensor) -> bool:
    """Whether the elements are integers, or hold several numbers each."""
    dtype = tensor.dtype
    is_plain = dtype.is_floating_point or dtype.is_complex or dtype == torch.bool
    return not is_plain or str(dtype) in NUMBERS_PER_ELEMENT

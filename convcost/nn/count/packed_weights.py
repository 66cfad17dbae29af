"""Weights that are no parameters of torch: packed by quantisation, kept as integers, or in plain tensors."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import torch
from torch.utils._pytree import tree_leaves

from convcost.nn.count.formulas import NUMBERS_PER_ELEMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from weakref import ref

    from torch import nn

    Decoding: TypeAlias = Literal["lookup", "bits", "scale"]

_PLAIN: Final = frozenset({bool, int, float, str, tuple, list, dict, set, type(None), OrderedDict})
"""Types of most attributes of a module, which hold no weights."""


_LOOKUPS: Final = frozenset(
    {
        *("embedding", "embedding_bag", "embedding_bag_forward_only", "gather", "index", "index_select", "take"),
        "unsafe_index",
    }
)
_BITS: Final = frozenset({"and", "or", "rshift", "lshift", "irshift", "ilshift", "remainder", "fmod", "floor_divide"})
_SCALINGS: Final = frozenset({"mul", "div", "sub", "rsub"})
"""Names of operators, without the underscores around."""
MAX_CODE_BYTES: Final = 2
"""Bytes of an integer that may be a code of a quantised weight; longer ones are positions."""


def packed_weights(parts: Mapping[str, nn.Module], multiplied: Iterable[torch.Tensor] = ()) -> dict[str, int]:
    """The weights whose number torch's parameters do not give: how many each part holds, by its path; 0 if unknown.

    Args:
        parts: The model and its parts by path.
        multiplied: Tensors that are weights by their use.
    """
    used = {id(tensor) for tensor in multiplied if is_packed_dtype(tensor.dtype)}
    held = ((name, _packed_in(part, used)) for name, part in parts.items())
    return {name.removesuffix("._packed_params"): size for name, size in held if size is not None}


def packed_note(packed: Mapping[str, int], model: str) -> tuple[str, ...]:
    """A note on packed weights; empty where there are none.

    Args:
        packed: The weights, by the path of the part that holds them.
        model: Class of the model.
    """
    if not packed:
        return ()
    first = next(iter(packed)) or model
    where = first if len(packed) == 1 else f"{first} and {len(packed) - 1} more"
    verb = "holds" if len(packed) == 1 else "hold"
    total = sum(packed.values())
    amount = f"{total:,} " if all(packed.values()) else f"at least {total:,} " if total else ""
    return (f"{where} {verb} {amount}packed weights: params and weight_bytes are not obtained.",)


def _packed_in(part: nn.Module, used: set[int]) -> int | None:
    """The number of weights in the packed attributes of a part itself, 0 if unknown; None if it has none."""
    if isinstance(part, torch.jit.ScriptModule):
        is_frozen = not part._c.hasattr("training")  # noqa: SLF001 - the script itself; `train` sets it on its wrapper
        return 0 if is_frozen else None  # a frozen script has its weights as constants
    parameters, buffers = part._parameters, part._buffers  # noqa: SLF001 - the part's own, not those of its parts
    if parameters and any(tensor is not None and _is_integer(tensor.dtype) for tensor in parameters.values()):
        return 0  # several may share an integer
    are_plain = _PLAIN.issuperset(map(type, vars(part).values()))
    attributes = {} if are_plain else {name: one for name, one in vars(part).items() if type(one) not in _PLAIN}
    attributes |= buffers
    if not attributes:
        return None
    own = {name: value for name, value in attributes.items() if isinstance(value, torch.Tensor)}
    tensors = [value for name, value in own.items() if _is_packed(name, value)]
    tensors = tensors or [value for value in own.values() if id(value) in used]
    if any(isinstance(value, torch.ScriptObject) for value in attributes.values()):
        unpack = getattr(part, "_weight_bias", None)
        unpacked = [] if unpack is None else tree_leaves(unpack())
        tensors += [value for value in unpacked if isinstance(value, torch.Tensor)]
        return sum(tensor.numel() for tensor in tensors)
    return sum(tensor.numel() for tensor in tensors) if tensors else None


def _is_packed(name: str, tensor: torch.Tensor) -> bool:
    return tensor.is_quantized or ("weight" in name and _is_integer(tensor.dtype))


def is_packed_dtype(dtype: torch.dtype) -> bool:
    """Whether weights of a dtype are quantised ones: integers, or numbers of a byte or less."""
    return _is_integer(dtype) or (dtype.is_floating_point and dtype.itemsize == 1)


def may_be_code(dtype: torch.dtype) -> bool:
    """Whether the elements of a buffer may be codes of quantised weights; those of int64 are positions or counts."""
    return is_packed_dtype(dtype) and dtype is not torch.int64


def is_surely_code(dtype: torch.dtype) -> bool:
    """Whether activations are multiplied by elements of a dtype only where these are weights: int8, floats of a byte.

    Others may be the numbers of a graph's edges or of a filter, unless they are decoded.
    """
    return is_packed_dtype(dtype) and dtype.itemsize == 1 and (dtype.is_signed or str(dtype) in NUMBERS_PER_ELEMENT)


@cache
def _is_integer(dtype: torch.dtype) -> bool:
    """Whether the elements are integers, or hold several numbers each."""
    is_plain = dtype.is_floating_point or dtype.is_complex or dtype == torch.bool
    return not is_plain or str(dtype) in NUMBERS_PER_ELEMENT


@cache
def decoding_of(func: Any) -> Decoding | None:
    """How an operator may decode quantised weights: it looks up elements of its first tensor, takes bits, or scales.

    Operators of libraries, which nobody knows, may take bits; so does a view with another dtype.
    """
    name = getattr(getattr(func, "overloadpacket", None), "__name__", "").strip("_")
    if not str(func).startswith("aten.") or str(func) == "aten.view.dtype":
        return "bits"
    if name in _LOOKUPS:
        return "lookup"
    if name in _BITS or name.startswith("bitwise_"):
        return "bits"
    return "scale" if name in _SCALINGS else None


def codes_in(sources: tuple[ref[torch.Tensor], ...]) -> tuple[ref[torch.Tensor], ...]:
    """The sources of an index that may be codes of quantised weights, rather than positions."""
    tensors = ((source, source()) for source in sources)
    return tuple(
        source
        for source, one in tensors
        if one is not None and _is_integer(one.dtype) and one.itemsize <= MAX_CODE_BYTES
    )


def added_arguments(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments of a product that it adds, such as a bias or a mask; all those of an operator without a schema."""
    if not hasattr(func, "_schema"):
        return [*args, *kwargs.values()]
    names = [one.name for one in func._schema.arguments]  # noqa: SLF001 - where torch keeps them
    adds = "add" in func.name()
    named = {**dict(zip(names, args, strict=False)), **kwargs}
    return [
        v for name, v in named.items() if "bias" in name or "mask" in name or "seq" in name or (adds and name == "self")
    ]


def plain_weights(parts: Mapping[str, nn.Module], multiplied: Mapping[torch.Tensor, str]) -> str | None:
    """Why the parameters are not all weights: activations are multiplied by plain tensors; None where they are not.

    Args:
        parts: The model and its parts by path.
        multiplied: Tensors that are weights by their use, each with the path of a module that uses it.
    """
    if not multiplied:
        return None
    held = {id(value): name for part in parts.values() for name, value in (*vars(part).items(), *part._buffers.items())}  # noqa: SLF001 - as above
    plain = {one: path for one, path in multiplied.items() if id(one) not in held or not is_packed_dtype(one.dtype)}
    if not plain:
        return None
    first, path = next(iter(plain.items()))
    name = held.get(id(first), "a tensor of no module")
    where = name if len(plain) == 1 else f"{name} and {len(plain) - 1} more"
    amount = sum(tensor.numel() for tensor in plain)
    return (
        f"{path or type(parts['']).__name__} multiplies by {where}, {amount:,} values that are neither in a parameter "
        "nor in a buffer: params and weight_bytes leave them out; make them parameters or buffers"
    )

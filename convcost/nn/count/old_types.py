"""Code that asks for an old type of tensors, as `isinstance(x, torch.FloatTensor)`, which nobody can observe."""

from __future__ import annotations

from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

_KINDS: Final = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool")
OLD_TYPES: Final = frozenset(f"{kind}Tensor" for kind in _KINDS)
"""Types of torch, of which a tensor on the CPU is an instance and a meta tensor is not."""
_ASKING: Final[WeakKeyDictionary[type, bool]] = WeakKeyDictionary()


def asks_for_old_type(parts: Iterable[nn.Module]) -> str | None:
    """What reads the device of tensors by their old type: the class of one of a model's parts; None if nothing does."""
    for part in parts:
        kind = type(part)
        if not kind.__module__.startswith("torch."):
            known = _ASKING.get(kind)
            asks = _ASKING[kind] = _asks(_functions_of(kind)) if known is None else known
            if asks or _asks([value for value in vars(part).values() if type(value) is FunctionType]):
                return f"isinstance of an old type of tensors in {kind.__name__}"
    return None


def _functions_of(kind: type) -> list[Any]:
    """What the user's classes define, those that a class is derived from too."""
    bases = [base for base in kind.__mro__ if not base.__module__.startswith(("torch.", "builtins"))]
    values = [value for base in bases for value in vars(base).values()]
    return [getattr(value, "fget", None) or getattr(value, "__func__", value) for value in values]


def _asks(functions: list[Any]) -> bool:
    """Whether some functions, or those that they refer to, ask for an old type."""
    seen: set[int] = set()
    while functions:
        function = functions.pop()
        if not isinstance(function, FunctionType) or id(function) in seen or function.__module__.startswith("torch."):
            continue
        seen.add(id(function))
        names = _names(function.__code__)
        if "isinstance" in names and not OLD_TYPES.isdisjoint(names):
            return True
        cells = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
        functions += [*cells, *(function.__globals__.get(name) for name in names)]
    return False


def _names(code: CodeType) -> set[str]:
    """The names in a function's code, and in the functions inside."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return {*code.co_names, *(name for one in inner for name in _names(one))}

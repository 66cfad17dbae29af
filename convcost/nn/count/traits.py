"""What a trace must know of an operator each time that it runs, looked up once for each operator."""

from __future__ import annotations

from typing import Any, Final

from torch._ops import HigherOrderOperator, OpOverload

from convcost.nn.count.kept_values import written
from convcost.nn.count.operators import Verdict, is_composite, is_in_place, is_view, verdict
from convcost.nn.count.packed_weights import decoding_of
from convcost.nn.count.recount import may_read_values


class Traits:
    """What is always so of an operator.

    Attributes:
        func: The operator, an overload or one that takes functions.
        name: Its name, without its library and overload.
        qualified_name: Its library and name, such as `aten.mm`.
        is_higher_order: Whether it takes functions.
        is_composite: Whether torch takes it apart.
        is_view: Whether it makes no storage of its own.
        is_in_place: Whether it writes into an argument.
        decoding: How it may decode quantised weights.
        is_free: Whether it has no MACs, unless a user registers a formula.
        may_overwrite: Whether it may change arguments in place.
        may_read_values: Whether what it does may depend on the values of tensors.
    """

    def __init__(self, func: Any) -> None:
        self.func = func
        packet = getattr(func, "overloadpacket", func)
        self.name = str(packet.__name__)
        self.qualified_name = str(packet)
        self.is_higher_order = not isinstance(func, OpOverload) and isinstance(func, HigherOrderOperator)
        self.is_composite = not self.is_higher_order and is_composite(func)
        self.is_view = is_view(func)
        self.is_in_place = is_in_place(func)
        self.decoding = decoding_of(func)
        self.is_free = verdict(func) is Verdict.FREE
        self.may_overwrite = bool(written(func))
        self.may_read_values = may_read_values(func)


_TRAITS: Final[dict[int, Traits]] = {}
"""The traits of operators by identity, since to hash an operator runs code of Python."""


def traits_of(func: Any) -> Traits:
    """What is always so of an operator."""
    traits = _TRAITS.get(id(func))
    if traits is None:
        traits = _TRAITS[id(func)] = Traits(func)
    return traits

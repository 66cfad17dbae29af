"""What an operator is worth: a formula, 0 MACs by convention, the sum of its parts, or not counted.

torch's dispatcher splits a model into operators. Each has exactly one verdict, by its name and never by a pattern of
names; an operator that nobody has placed is not counted, and is listed.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from enum import Enum
from functools import cache, partial
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.nn.count.formulas import CONVOLUTIONS, FORMULAS, OperatorCall, convolution, is_sparse
from convcost.nn.count.free_operators import FREE_OF_OTHER_LIBRARIES, OPAQUE, is_free_name
from convcost.nn.count.tensors import samples_of
from convcost.nn.load.user_code import user_line
from convcost.text.errors import ConvcostError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.convolution.conv import Conv

    Formula = Callable[..., int]

REGISTERED: Final[dict[Any, Formula]] = {}
"""The users' formulas by overload packet; each returns MACs from the operator's arguments and the keyword `out`."""
_WITH_PLAIN_FORMULA: Final[dict[Any, Formula]] = {}
"""The formulas of operators in place that were registered for the form that is not."""
REAL_MACS_PER_COMPLEX_MAC: Final = 4
"""(a + bi)·(c + di) has the products ac, bd, ad and bc."""
CONVOLUTIONS_PER_COMPLEX_ONE: Final = 3
"""Real convolutions that torch runs for a complex one, of the real parts, the imaginary parts and their sums."""
WHOLE: Final = OPAQUE | {"linalg_vecdot"}
"""Composite operators that are one: their parts hide their products, which compiled code or `mul` and `sum` compute."""
_NAMES_OF_TORCH: Final = frozenset({"aten", "prims", "prim", "quantized"})
"""Libraries whose operators are free by their names."""


class Verdict(Enum):
    """What an operator is worth."""

    FORMULA = "formula"
    FREE = "0 by convention"
    DECOMPOSED = "the sum of its parts"
    UNCOUNTED = "not counted"


class Event(NamedTuple):
    """One call of an operator that has a formula.

    Attributes:
        op: Torch's name of the operator.
        kind: The kind of operation, in the field's words.
        macs: MACs of this call.
        conv: The convolution, if it is one.
        plain_macs: MACs if complex numbers were real ones and sparse tensors dense.
    """

    op: str
    kind: str
    macs: int
    conv: Conv | None
    plain_macs: int


class Cost(NamedTuple):
    """The cost of one call of an operator.

    Attributes:
        macs: Multiply-accumulates of real numbers.
        conv: The convolution, if it is one.
        plain_macs: MACs if complex numbers were real ones and sparse tensors dense, as torch's counter takes them.
    """

    macs: int
    conv: Conv | None
    plain_macs: int


def verdict(func: Any) -> Verdict:
    """The one verdict on an operator, an overload or a higher-order operator."""
    if REGISTERED and _packet(func) in REGISTERED:
        return Verdict.FORMULA
    known = _known_verdict(func)
    return Verdict.FORMULA if known is Verdict.UNCOUNTED and _packet(func) in _formulas_of_torch() else known


@cache
def _known_verdict(func: Any) -> Verdict:
    library, _, name = qualified_name(func).partition("::")
    is_overload = not isinstance(func, HigherOrderOperator)
    if is_overload and library == "aten" and name in OPAQUE:
        return Verdict.UNCOUNTED
    if is_overload and is_composite(func) and not (library == "aten" and name in WHOLE):
        return Verdict.DECOMPOSED
    if qualified_name(func) in CONVOLUTIONS or _formula(qualified_name(func)):
        return Verdict.FORMULA
    if library == "profiler" or qualified_name(func) in FREE_OF_OTHER_LIBRARIES:
        return Verdict.FREE
    is_pointwise = is_overload and torch.Tag.pointwise in func.tags
    is_free = library in _NAMES_OF_TORCH and (is_pointwise or is_free_name(name))
    return Verdict.FREE if is_free else Verdict.UNCOUNTED


def is_whole(func: Any) -> bool:
    """Whether a composite operator is recorded as one: its user's formula says so, or its parts hide its products."""
    return is_composite(func) and verdict(func) is not Verdict.DECOMPOSED


@cache
def qualified_name(func: Any) -> str:
    """The name with its library, such as `aten::mm`, of an overload or a higher-order operator."""
    return f"higher_order::{func}" if isinstance(func, HigherOrderOperator) else str(func._schema.name)  # noqa: SLF001 - where torch keeps an overload's name


def _formula(name: str) -> Callable[[OperatorCall], int | None] | None:
    """The formula by a qualified name; an operator in place (`addmm_`) has that of the other form."""
    return FORMULAS.get(name) or FORMULAS.get(name.removesuffix("_"))


def parts_of(operator: OpOverload) -> Callable[..., Any]:
    """A function that runs an operator by its parts, as torch does; `OpOverload.decompose` may import its compiler."""
    return partial(operator._op_dk, torch._C.DispatchKey.CompositeImplicitAutograd)  # noqa: SLF001 - as `decompose` itself does


def _first_overload(packet: Any) -> Any:
    return getattr(packet, packet.overloads()[0])


@cache
def is_composite(func: Any) -> bool:
    """Whether torch takes the operator apart; it offers no public way to ask."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))  # noqa: SLF001 - as above


def _packet(func: Any) -> Any:
    return getattr(func, "overloadpacket", func)


@cache
def is_view(func: Any) -> bool:
    """Whether an operator makes no storage of its own."""
    return not isinstance(func, HigherOrderOperator) and (func.is_view or torch.Tag.inplace_view in func.tags)


@cache
def is_in_place(func: Any) -> bool:
    """Whether an operator writes into an argument, as `relu_` does, and `add` with `out`."""
    return not isinstance(func, HigherOrderOperator) and bool(func._schema.is_mutable)  # noqa: SLF001 - where torch keeps it


def cost(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, tensors: list[torch.Tensor]
) -> Cost | None:
    """The cost of one call of an operator with a formula; None where its formula cannot tell.

    Args:
        func: The operator.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        out: Its result.
        tensors: The tensors among its arguments.

    Raises:
        ConvcostError: A registered formula raises, or returns something else than a whole number of MACs.
    """
    packet, name = _packet(func), qualified_name(func)
    if REGISTERED and packet in REGISTERED:
        macs = _registered_macs(packet, args, kwargs, out) * samples_of((args, kwargs))
        return Cost(macs, None, macs)
    factor = REAL_MACS_PER_COMPLEX_MAC if any(map(torch.Tensor.is_complex, tensors)) else 1
    call = OperatorCall(name, _arguments(func, args, kwargs), out)
    if name in CONVOLUTIONS:
        products, conv = convolution(call)
        return Cost(products * factor, conv, products)
    formula = _formula(name)
    counted = formula(call) if formula else _torch_macs(packet, args, kwargs, out)
    if counted is None:
        return None
    counted *= samples_of((args, kwargs))
    is_plain = not any(map(is_sparse, tensors)) or packet not in _formulas_of_torch()
    return Cost(counted * factor, None, counted if is_plain else _torch_macs(packet, args, kwargs, out))


def _formulas_of_torch() -> dict[Any, Any]:
    """Torch's own formulas; few models have an operator that needs them."""
    from torch.utils.flop_counter import flop_registry

    return flop_registry


def _torch_macs(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """MACs by torch's own formula, which counts 2 FLOPs a MAC."""
    return int(_formulas_of_torch()[packet](*args, **kwargs, out_val=out)) // FLOPS_PER_MAC


def _arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments by name, in the operator's order, with its defaults."""
    names, defaults = _parameters(func)
    if len(args) == len(names):
        return dict(zip(names, args, strict=True))
    values = defaults | kwargs | dict(zip(names, args, strict=False))
    return {name: values[name] for name in names if name in values}


@cache
def _parameters(func: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of an operator's parameters and their defaults."""
    if isinstance(func, HigherOrderOperator):
        return tuple(inspect.signature(func.__call__).parameters), {}
    parameters = func._schema.arguments  # noqa: SLF001 - where torch keeps them
    defaults = {one.name: one.default_value for one in parameters if one.has_default_value()}
    return tuple(one.name for one in parameters), defaults


def _registered_macs(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """MACs by a user's formula. An argument of the operator that is called `out` is what the formula gets as `out`."""
    formula = REGISTERED[packet]
    named = {"out": out, **kwargs}
    try:
        inspect.signature(formula).bind(*args, **named)
    except TypeError:  # `out` may be one of the positional arguments
        named = kwargs
    try:
        value = formula(*args, **named)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ConvcostError(
            f"the formula of {packet} raised {type(error).__name__}: {first_line(error)} "
            f"({user_line(error) or _definition(formula)}); mend the function given to convcost.register."
        ) from error
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
        raise ConvcostError(
            f"the formula of {packet} returned {value!r}; it must return MACs as a whole number of at least 0 "
            f"({_definition(formula)})."
        )
    return int(value)


def _definition(formula: Formula) -> str:
    """The file and line where a formula is defined; its text where Python does not know."""
    function = inspect.unwrap(formula.func if isinstance(formula, partial) else formula)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return repr(formula) if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def join_complex_convolution(events: list[Event]) -> list[Event]:
    """One convolution for the three that torch runs for a complex one: of real parts, imaginary parts and their sums.

    Args:
        events: What a convolution of complex tensors runs.
    """
    if len(events) != CONVOLUTIONS_PER_COMPLEX_ONE:
        return events
    whole = next((one for one in events if one.conv and one.conv.bias), events[-1])
    return [whole._replace(macs=REAL_MACS_PER_COMPLEX_MAC * whole.macs, plain_macs=sum(one.macs for one in events))]


def register(op: Any) -> Callable[[Formula], Formula]:
    """Give an operator a formula for its MACs, which holds in place (`myop_`) too unless that gets one of its own.

    Args:
        op: The operator with all its overloads, such as `torch.ops.mylib.myop`.

    Returns:
        A decorator for a function of the operator's arguments and the keyword `out` that returns MACs. Where the
        operator has an argument of its own that is called `out`, the function gets that.

    Raises:
        ConvcostError: Not an operator, one that has a formula, one of torch's that is the sum of its parts, or a
            formula that is no function. A module that is imported again, such as that of another revision, may register
            its formulas again.
    """
    packet = getattr(op, "overloadpacket", op)
    if not isinstance(packet, OpOverloadPacket):
        raise ConvcostError(f"op (={op}) must be an operator of torch.ops; give torch.ops.library.name.")
    name = str(packet._qualified_op_name)  # noqa: SLF001 - where torch keeps a packet's name
    is_ours = name.startswith("aten::") and (name in CONVOLUTIONS or _formula(name) is not None)
    if name.startswith("aten::") and is_composite(_first_overload(packet)):
        raise ConvcostError(
            f"op (={packet}) is taken apart by torch before it is counted, and is the sum of its parts; "
            "register a formula for one of these, or for an operator of another library."
        )

    def remember(formula: Formula) -> Formula:
        if is_ours or not _takes_formula(packet):
            raise ConvcostError(f"op (={packet}) has a formula; register each operator once.")
        if not callable(formula):
            raise ConvcostError(f"formula (={formula!r}) must be a function of {packet}'s arguments and out; give one.")
        REGISTERED[packet] = formula
        in_place = _in_place_of(name)
        if in_place is not None and _takes_formula(in_place):
            REGISTERED[in_place] = formula
            _WITH_PLAIN_FORMULA[in_place] = formula
        return formula

    return remember


def _takes_formula(packet: OpOverloadPacket) -> bool:
    """Whether an operator has no registered formula, one of a module that is gone, or that of its other form."""
    known = REGISTERED.get(packet)
    return known is None or _is_stale(known) or _WITH_PLAIN_FORMULA.get(packet) is known


def _in_place_of(name: str) -> OpOverloadPacket | None:
    """The form of an operator that writes its result into the first argument, by the qualified name of the other."""
    library, _, own = name.partition("::")
    packet: OpOverloadPacket | None = getattr(getattr(torch.ops, library), f"{own}_", None)
    if packet is None:
        return None
    first = _first_overload(packet)
    is_taken_apart = library == "aten" and is_composite(first)
    return packet if is_in_place(first) and first._schema.returns and not is_taken_apart else None  # noqa: SLF001 - where torch keeps them


def _is_stale(formula: Formula) -> bool:
    """Whether the module that defined a formula is no longer loaded, or was loaded again."""
    module = sys.modules.get(formula.__module__)
    return hasattr(formula, "__globals__") and (module is None or vars(module) is not formula.__globals__)


@contextmanager
def saved_formulas() -> Iterator[None]:
    """Restore all registered formulas afterwards."""
    before = dict(REGISTERED)
    try:
        yield
    finally:
        REGISTERED.clear()
        REGISTERED.update(before)

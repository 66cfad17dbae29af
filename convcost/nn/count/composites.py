"""Composite operators that are recorded as they are called: torch takes them apart before a dispatch mode sees them.

While anything is recorded, they have kernels in Python where torch would take them apart, in the whole process. In a
thread without a recording, these only run the parts, as torch does. Convolutions have them from the first complex
tensor on: torch makes three of a complex one, while a real one is one convolution anyway, and faster without.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch._C import _dispatch_has_kernel, _dispatch_has_kernel_for_dispatch_key, _dispatch_library

from convcost.nn.count.operators import REGISTERED, WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Run = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

COMPLEX_CONVOLUTIONS: Final = frozenset(f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in "123")
"""Operators that run three real convolutions for a complex one."""
_BACKENDS: Final = ("CPU", "Meta")
"""Devices of a count, as torch's dispatcher calls them."""
_BATCHED: Final = "FuncTorchBatched"
"""Where vmap takes operators apart; those of torch with the word after it."""
_TRANSFORMED: Final = "FuncTorchDynamicLayerFrontMode"
"""Where transforms of torch.func begin; inside jvp and grad, meta tensors have no key for autograd."""
_LIBRARIES: Final[dict[str, Any]] = {}
"""The libraries of the kernels in place at present, by the name of the operator."""


def catch(run: Run) -> None:
    """Have all composite operators that are recorded as one run by a function, until `release`."""
    _catch((*_composites(WHOLE), *_overloads(REGISTERED)), run)


def catch_convolutions(run: Run) -> None:
    """Have convolutions run by a function too, until `release`."""
    _catch(_composites(COMPLEX_CONVOLUTIONS), run)


def release() -> None:
    """Let torch take its operators apart again."""
    for library in _LIBRARIES.values():
        library.reset()
    _LIBRARIES.clear()


class _Overload(NamedTuple):
    """A composite operator that is not loaded before it is called.

    Attributes:
        name: Its name with library and overload.
        packet: The operator with all its overloads.
        overload: Name of the overload.
        keys: Where it gets kernels.
    """

    name: str
    packet: Any
    overload: str
    keys: list[str]


@cache
def _composites(names: frozenset[str]) -> tuple[_Overload, ...]:
    """The composite operators of torch with these names."""
    return tuple(_overloads(packet for name in names if (packet := getattr(torch.ops.aten, name, None)) is not None))


def _overloads(packets: Iterable[Any]) -> Iterator[_Overload]:
    for packet in packets:
        packet_name = packet._qualified_op_name  # noqa: SLF001 - where torch keeps a packet's name
        for overload in packet.overloads():
            name = packet_name if overload == "default" else f"{packet_name}.{overload}"
            is_there = _dispatch_has_kernel(name)  # not of a library that is gone, though its formula is registered
            if is_there and _has_kernel(name, "CompositeImplicitAutograd"):
                yield _Overload(name, packet, overload, _keys(name))


def _catch(operators: Iterable[_Overload], run: Run) -> None:
    """Give operators kernels that call a function; torch's own stay where it does not take an operator apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has a kernel of its own for vmap, which comes back
        for operator in operators:
            if operator.name not in _LIBRARIES:
                namespace, _, name = operator.name.partition("::")
                library = _LIBRARIES[operator.name] = _dispatch_library("IMPL", namespace, "", __file__, 0)
                for key in operator.keys:
                    library.impl(name, key, _kernel(operator.packet, operator.overload, run))


@cache
def _kernel(packet: Any, overload: str, run: Run) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        return run(getattr(packet, overload), args, kwargs)

    return kernel


def _keys(name: str) -> list[str]:
    """Where an operator gets kernels."""
    keys = [f"Autograd{backend}" for backend in _BACKENDS if not _has_kernel(name, backend)]
    library, _, own = name.partition("::")
    if library == "aten" and own.partition(".")[0] in COMPLEX_CONVOLUTIONS:
        return [*keys, f"{_BATCHED}Decomposition"]
    if len(keys) == len(_BACKENDS):
        keys.append(_TRANSFORMED)
    return keys if library == "aten" else [key for key in (*keys, _BATCHED) if not _has_kernel(name, key)]


def _has_kernel(name: str, key: str) -> bool:
    return bool(_dispatch_has_kernel_for_dispatch_key(name, key))

"""Composite operators that are recorded as they are called: torch takes them apart before a dispatch mode sees them.

While anything is recorded, they have kernels in Python where torch would take them apart, in the whole process. In a
thread without a recording, these only run the parts, as torch does. Convolutions have them from the first complex
tensor on: those of real tensors are not composite in what they compute, and would only become slower.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._C import _dispatch_has_kernel_for_dispatch_key, _dispatch_library

from convcost.nn.count.operators import REGISTERED, WHOLE, is_composite, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Run = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

COMPLEX_CONVOLUTIONS: Final = frozenset(f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in "123")
"""Operators that run three real convolutions for a complex one."""
_BACKENDS: Final = ("CPU", "Meta")
"""Devices of a count, as torch's dispatcher calls them."""
_BATCHED: Final = "FuncTorchBatched"
"""Where vmap takes operators apart; those of torch with the word after it."""
_TRANSFORMED: Final = "FuncTorchDynamicLayerFrontMode"
"""Where transforms of torch.func begin; inside jvp and grad, meta tensors have no key for autograd."""
_LIBRARIES: Final[dict[Any, Any]] = {}
"""The libraries of the kernels in place at present, by operator."""


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


@cache
def _composites(names: frozenset[str]) -> tuple[tuple[Any, list[str]], ...]:
    """The composite operators of torch with these names, and where they get kernels."""
    return _overloads(packet for name in names if (packet := getattr(torch.ops.aten, name, None)) is not None)


def _overloads(packets: Iterable[Any]) -> tuple[tuple[Any, list[str]], ...]:
    overloads = (getattr(packet, name) for packet in packets for name in packet.overloads())
    return tuple((overload, _keys(overload)) for overload in overloads if is_composite(overload))


def _catch(operators: Iterable[tuple[Any, list[str]]], run: Run) -> None:
    """Give operators kernels that call a function; torch's own stay where it does not take an operator apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has a kernel of its own for vmap, which comes back
        for operator, keys in operators:
            if operator not in _LIBRARIES:
                name = operator.name().rpartition("::")[2]
                library = _LIBRARIES[operator] = _dispatch_library("IMPL", operator.namespace, "", __file__, 0)
                for key in keys:
                    library.impl(name, key, _kernel(operator, run))


@cache
def _kernel(operator: Any, run: Run) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        return run(operator, args, kwargs)

    return kernel


def _keys(operator: Any) -> list[str]:
    """Where an operator gets kernels."""
    keys = [f"Autograd{backend}" for backend in _BACKENDS if not _has_kernel(operator, backend)]
    if is_whole(operator) and len(keys) == len(_BACKENDS):
        keys.append(_TRANSFORMED)
    if operator.namespace != "aten":
        return [key for key in (*keys, _BATCHED) if not _has_kernel(operator, key)]
    return [*keys, f"{_BATCHED}Decomposition"] if operator.overloadpacket.__name__ in COMPLEX_CONVOLUTIONS else keys


def _has_kernel(operator: Any, key: str) -> bool:
    return bool(_dispatch_has_kernel_for_dispatch_key(operator.name(), key))

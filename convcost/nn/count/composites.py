"""Composite operators that are recorded as they are called: torch takes them apart before a dispatch mode sees them.

While anything is recorded, they have kernels in Python where torch would take them apart, in the whole process. In a
thread without a recording, these only run the parts, as torch does.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._C import _dispatch_has_kernel_for_dispatch_key

from convcost.nn.count.operators import REGISTERED, WHOLE, is_composite, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch._ops import OpOverload

    Run = Callable[[OpOverload, tuple[Any, ...], dict[str, Any]], Any]

COMPLEX_CONVOLUTIONS: Final = frozenset(f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in "123")
"""Operators that run three real convolutions for a complex one."""
_BACKENDS: Final = ("CPU", "Meta")
"""Devices of a count, as torch's dispatcher calls them."""
_BATCHED: Final = "FuncTorchBatched"
"""Where vmap takes operators apart; those of torch with the word after it."""
_TRANSFORMED: Final = "FuncTorchDynamicLayerFrontMode"
"""Where transforms of torch.func begin; inside jvp and grad, meta tensors have no key for autograd."""
_LIBRARIES: Final[dict[Any, Any]] = {}
"""The kernels in place at present."""


def catch(run: Run) -> None:
    """Have all composite operators that are recorded as one run by a function, until `release`."""
    for operator in _composites():
        if operator not in _LIBRARIES:
            _LIBRARIES[operator] = _caught(operator, run)


def release() -> None:
    """Let torch take its operators apart again."""
    for library in _LIBRARIES.values():
        library._destroy()  # noqa: SLF001 - the only way to undo `impl` at once
    _LIBRARIES.clear()


def _composites() -> Iterator[Any]:
    packets = [*(getattr(torch.ops.aten, name, None) for name in WHOLE | COMPLEX_CONVOLUTIONS), *REGISTERED]
    for packet in packets:
        for name in () if packet is None else packet.overloads():
            operator = getattr(packet, name)
            if is_composite(operator):
                yield operator


def _caught(operator: Any, run: Run) -> Any:
    """The kernels of an operator that call a function; torch's own stay where it does not take the operator apart."""
    library_class: Any = torch.library.Library  # torch gives it no types
    library = library_class(operator.namespace, "IMPL")

    def kernel(*args: Any, **kwargs: Any) -> Any:
        return run(operator, args, kwargs)

    keys = [f"Autograd{backend}" for backend in _BACKENDS if not _has_kernel(operator, backend)]
    if is_whole(operator) and len(keys) == len(_BACKENDS):
        keys.append(_TRANSFORMED)
    if operator.namespace != "aten":
        keys = [key for key in (*keys, _BATCHED) if not _has_kernel(operator, key)]
    elif operator.overloadpacket.__name__ in COMPLEX_CONVOLUTIONS:
        keys.append(f"{_BATCHED}Decomposition")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has a kernel of its own for vmap, which comes back
        for key in keys:
            library.impl(operator, kernel, key)
    return library


def _has_kernel(operator: Any, key: str) -> bool:
    return bool(_dispatch_has_kernel_for_dispatch_key(operator.name(), key))

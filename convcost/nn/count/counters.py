"""The two independent counters, each in one function that also translates its unit into MACs.

fvcore calls a MAC a "flop"; torch's FlopCounterMode counts 2 FLOPs a MAC.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch.utils.flop_counter
from torch import nn

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fvcore.nn import FlopCountAnalysis
    from torch import Tensor

    Counter: TypeAlias = Callable[[nn.Module, tuple[Tensor, ...]], "Tally"]

__all__ = [
    "COUNTERS",
    "Counter",
    "CounterError",
    "Tally",
    "count_with_fvcore",
    "count_with_torch",
    "fvcore_operators",
    "torch_operators",
    "without_dynamo",
]


class CounterError(ConvcostError):
    """A counter ran and says itself that it skipped a convolution."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one counter says of a module and all its submodules.

    Attributes:
        macs: multiply-accumulates in convolutions by submodule path; "" is the whole module.
        params: parameters by submodule path; one that is used twice counts once.
        total: the whole module in the counter's own unit.
    """

    macs: Mapping[str, int]
    params: Mapping[str, int]
    total: int


def count_with_fvcore(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tally:
    """Ask fvcore's FlopCountAnalysis and parameter_count; its "flop" is one MAC.

    Only its operator "conv" is read: its totals also hold normalisation, pooling and more.

    Raises:
        CounterError: fvcore met a convolution that it does not know; it would count it 0 and only log a line.
    """
    analysis = _fvcore_analysis(module, inputs)
    from fvcore.nn import parameter_count

    by_path = analysis.by_module_and_operator()
    if skipped := sorted(name for name in analysis.unsupported_ops() if "conv" in name):
        msg = f"it does not know the operator {skipped[0]} and would count it 0"
        raise CounterError(msg)
    macs = {path: int(operators.get("conv", 0)) for path, operators in by_path.items()}
    return Tally(macs, {path: int(size) for path, size in parameter_count(module).items()}, macs[""])


def _fvcore_analysis(module: nn.Module, inputs: tuple[Tensor, ...]) -> FlopCountAnalysis:
    with warnings.catch_warnings():  # fvcore scripts a loss function when it is imported, which torch 2.13 deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        from fvcore.nn import FlopCountAnalysis
    analysis = FlopCountAnalysis(module, inputs)
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False).tracer_warnings("none")
    return analysis


def fvcore_operators(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[dict[str, int], dict[str, int]]:
    """Fvcore's count of a whole model by operator, and how often it met each operator that it does not know.

    Its unit is one a multiply-add in products, and about one an element elsewhere.
    """
    with warnings.catch_warnings():  # tracing warns of every shape that becomes a constant
        warnings.simplefilter("ignore")
        analysis = _fvcore_analysis(module, inputs)
        counted = {op: int(count) for op, count in analysis.by_operator().items()}
    return counted, dict(analysis.unsupported_ops())


def torch_operators(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, int]:
    """MACs by operator, as `aten`'s names are without the namespace, by FlopCounterMode."""
    with without_dynamo(), torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        module(*args, **kwargs)
    counted = counter.get_flop_counts().get("Global", {})
    return {str(op).rpartition(".")[2]: flops // FLOPS_PER_MAC for op, flops in counted.items()}


def count_with_torch(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tally:
    """Ask torch's FlopCounterMode, 2 FLOPs a MAC, and `numel` of every parameter."""
    with without_dynamo(), torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        module(*inputs)
    counted = counter.get_flop_counts()
    flops = {}
    for path, _ in module.named_modules():
        name = f"{type(module).__name__}.{path}" if path else "Global"
        flops[path] = sum(counted.get(name, {}).values())
    params = {path: sum(p.numel() for p in part.parameters()) for path, part in module.named_modules()}
    return Tally({path: n // FLOPS_PER_MAC for path, n in flops.items()}, params, flops[""])


COUNTERS: Final[Mapping[str, Counter]] = {"fvcore": count_with_fvcore, "torch": count_with_torch}
"""Who counts, by the name that a disagreement is reported under."""


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Spare FlopCounterMode the import of torch's dynamo: 800 modules, 1.5 s, only to switch dynamo off in its hook.

    torch wraps the hook of every dispatch mode whose `_should_skip_dynamo` says True. A twin of the private mode says
    False and takes the unwrapped hook; it is put in place while the counter runs. Where torch's insides look different
    nothing is done, and the counter takes its time.
    """
    home = torch.utils.flop_counter
    mode = getattr(home, "_FlopCounterMode", None)
    hook = getattr(vars(mode).get("__torch_dispatch__"), "__wrapped__", None) if mode else None
    if mode is None or hook is None or not hasattr(mode, "_should_skip_dynamo"):
        yield
        return
    body = {"_should_skip_dynamo": classmethod(lambda _: False), "__torch_dispatch__": hook}
    home._FlopCounterMode = type("_FlopCounterMode", (mode,), body)  # type: ignore[assignment,misc]  # noqa: SLF001 - see above
    try:
        yield
    finally:
        home._FlopCounterMode = mode  # type: ignore[misc]  # noqa: SLF001 - see above

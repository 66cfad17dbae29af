"""The two independent counters, each in one function that also translates its unit into MACs.

fvcore calls a MAC a "flop"; torch's FlopCounterMode counts 2 FLOPs a MAC.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch.utils import flop_counter
from torch.utils._pytree import tree_map

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.system.signals import interruptible
from convcost.text.errors import ConvcostError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fvcore.nn import FlopCountAnalysis
    from torch import Tensor, nn

    Counter: TypeAlias = Callable[[nn.Module, tuple[Tensor, ...]], "Tally"]

_MODE: Final = "_FlopCounterMode"
"""Name of the private dispatch mode of torch's counter."""


class CounterError(ConvcostError):
    """A counter failed, or skipped a convolution."""


@contextmanager
def counter_errors() -> Iterator[None]:
    """Turn whatever a counter raises into a CounterError, since counters are other projects' programs."""
    try:
        yield
    except ConvcostError:
        raise
    except Exception as error:
        raise CounterError(first_line(error)) from error


@dataclass(frozen=True, slots=True)
class Tally:
    """One counter's figures for a module and all its submodules.

    Attributes:
        macs: Multiply-accumulates of convolutions by submodule path; "" is the whole module.
        params: Parameters by submodule path; a shared one counts once.
        total: The whole module in the counter's own unit.
    """

    macs: Mapping[str, int]
    params: Mapping[str, int]
    total: int


def count_with_fvcore(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tally:
    """Count with fvcore's FlopCountAnalysis and parameter_count; its "flop" is one MAC.

    Only its operator "conv" is read, since its totals also hold normalisation, pooling and more.

    Raises:
        CounterError: A convolution that fvcore does not know, which it would count as 0 with a line in its log.
    """
    analysis = fvcore_analysis(module, inputs)
    from fvcore.nn import parameter_count

    by_path = analysis.by_module_and_operator()
    if skipped := sorted(name for name in analysis.unsupported_ops() if "conv" in name):
        raise CounterError(f"it does not know the operator {skipped[0]} and would count it 0")
    macs = {path: int(operators.get("conv", 0)) for path, operators in by_path.items()}
    return Tally(macs, {path: int(size) for path, size in parameter_count(module).items()}, macs[""])


def load_fvcore() -> type[FlopCountAnalysis]:
    """Import fvcore, which scripts a loss function meanwhile: that is deprecated since torch 2.13."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from fvcore.nn import FlopCountAnalysis
    analysis: type[FlopCountAnalysis] = FlopCountAnalysis
    return analysis


def fvcore_analysis(module: nn.Module, inputs: tuple[Any, ...]) -> FlopCountAnalysis:
    """The analysis of a module by fvcore, not run yet, without its warnings."""
    analysis = load_fvcore()(module, inputs)
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False).tracer_warnings("none")
    return analysis


def count_with_torch(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tally:
    """Count with torch's FlopCounterMode, 2 FLOPs a MAC, and `numel` of every parameter."""
    with _without_dynamo(), flop_counter.FlopCounterMode(display=False) as counter:
        module(*inputs)
    by_name = counter.get_flop_counts()
    flops, params = {}, {}
    for path, part in module.named_modules():
        flops[path] = sum(by_name.get(f"{type(module).__name__}.{path}" if path else "Global", {}).values())
        params[path] = sum(p.numel() for p in part.parameters())
    return Tally({path: n // FLOPS_PER_MAC for path, n in flops.items()}, params, flops[""])


def torch_operators(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, int]:
    """MACs of a whole model by operator, named as in `aten`, counted with FlopCounterMode."""
    with torch_counter() as counter:
        interruptible(lambda: module(*args, **kwargs))
    flops = counter.get_flop_counts().get("Global", {})
    return {str(op).rpartition(".")[2]: n // FLOPS_PER_MAC for op, n in flops.items()}


class _NoModules:
    """Stands in for the tracker of modules, whose hooks on gradients refuse a view of a parameter made under no_grad.

    Attributes:
        parents: Where an operator is counted: in the total alone.
    """

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        """Track nothing."""

    def __exit__(self, *_: object) -> None:
        """Track nothing."""


@contextmanager
def torch_counter() -> Iterator[Any]:
    """Torch's FlopCounterMode, which counts what runs inside by operator, and no single module."""
    counter = flop_counter.FlopCounterMode(display=False)
    vars(counter)["mod_tracker"] = _NoModules()
    with _without_dynamo(), counter:
        yield counter


COUNTERS: Final[Mapping[str, Counter]] = {"fvcore": count_with_fvcore, "torch": count_with_torch}
"""The counters by the name that reports use."""


@contextmanager
def _without_dynamo() -> Iterator[None]:
    """Spare FlopCounterMode the import of torch's dynamo, 800 modules and 1.5 s, which it needs only to disable it.

    torch wraps the hook of every dispatch mode whose `_should_skip_dynamo` returns True. While the counter runs, its
    private mode is replaced by a subclass that returns False and has the unwrapped hook, and counts what loops and
    branches run. Where torch's internals are different, nothing is replaced.
    """
    mode: Any = getattr(flop_counter, _MODE, None)
    hook = getattr(vars(mode).get("__torch_dispatch__"), "__wrapped__", None) if mode else None
    if hook is None or not hasattr(mode, "_should_skip_dynamo"):
        yield
        return
    attributes = {
        "_should_skip_dynamo": classmethod(lambda _: False),
        "__torch_dispatch__": hook,
        "_handle_higher_order_ops": _run_higher_order,
    }
    setattr(flop_counter, _MODE, type(_MODE, (mode,), attributes))
    try:
        yield
    finally:
        setattr(flop_counter, _MODE, mode)


def _run_higher_order(mode: Any, func: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator that takes functions, such as a loop, with the counter on in these.

    Raises:
        CounterError: An operator that computes more than its functions do.
    """
    if func is torch.ops.higher_order.flex_attention:
        raise CounterError("it has no formula for flex attention")

    def counted(value: Any) -> Any:
        if not callable(value) or isinstance(value, type):
            return value

        def run(*inputs: Any, **named: Any) -> Any:
            with mode:
                return value(*inputs, **named)

        return run

    return func(*tree_map(counted, args), **tree_map(counted, kwargs))

"""What observes a program while it runs, and must not observe a count that it makes: another count, torch's tracers."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from torch import _C
from torch._C import (
    _get_tracing_state,
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)
from torch._C._dynamo.eval_frame import set_eval_frame
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack, _pop_mode, _push_mode

from convcost.nn.count import call_watch
from convcost.nn.count.function_calls import Functions
from convcost.nn.count.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_set_trace: Final[Callable[[Any], None]] = vars(_C)["_set_tracing_state"]  # torch gives it no type


@contextmanager
def unobserved() -> Iterator[None]:
    """Run a count inside a forward pass that is counted, traced, compiled or run with fake tensors, as if it were not.

    Modes of the user's own stay.
    """
    lane = call_watch.leave_lane()
    operators, functions = _take_modes()
    trace = _get_tracing_state()
    compiler = set_eval_frame(None) if "torch._dynamo" in sys.modules else None
    try:
        if trace is not None:
            _set_trace(None)
        _give_modes(
            [mode for mode in operators if not isinstance(mode, Lane) and getattr(mode, "_mode_key", None) is None],
            [mode for mode in functions if not isinstance(mode, Functions)],
        )
        yield
    finally:
        _take_modes()
        _give_modes(operators, functions)
        if trace is not None:
            _set_trace(trace)
        if compiler is not None:
            set_eval_frame(compiler)
        call_watch.return_to_lane(lane)


def _take_modes() -> tuple[list[Any], list[Any]]:
    """Have no mode observe operators, nor functions; those that did, the outermost first."""
    operators = _get_current_dispatch_mode_stack()
    for mode in reversed(operators):
        _pop_mode(getattr(mode, "_mode_key", None))
    return operators, [_pop_torch_function_stack() for _ in range(_len_torch_function_stack())][::-1]


def _give_modes(operators: list[Any], functions: list[Any]) -> None:
    for mode in operators:
        _push_mode(mode)
    for mode in functions:
        _push_on_torch_function_stack(mode)

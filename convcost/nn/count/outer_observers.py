"""What observes a program while it runs, and must not observe a count that it makes: another count, torch's tracers."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from torch import _C
from torch._C import (
    _get_function_stack_at,
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
    modes = _modes()
    inner = [mode for mode in modes[0] if not _is_left(mode)], [mode for mode in modes[1] if not _is_left(mode)]
    trace = _get_tracing_state()
    compiler = set_eval_frame(None) if "torch._dynamo" in sys.modules else None
    if modes == inner and trace is None and compiler is None:
        yield
        return
    lane = call_watch.leave_lane()
    try:
        _set_modes(*inner)
        if trace is not None:
            _set_trace(None)
        yield
    finally:
        _set_modes(*modes)
        if trace is not None:
            _set_trace(trace)
        if compiler is not None:
            set_eval_frame(compiler)
        call_watch.return_to_lane(lane)


def _is_left(mode: object) -> bool:
    """Whether a mode is one of a count, or of torch's own, such as `FakeTensorMode`."""
    return isinstance(mode, Lane | Functions) or getattr(mode, "_mode_key", None) is not None


def _modes() -> tuple[list[Any], list[Any]]:
    """The modes that observe operators and those that observe functions, the outermost first."""
    functions = [_get_function_stack_at(i) for i in range(_len_torch_function_stack())]
    return _get_current_dispatch_mode_stack(), functions


def _set_modes(operators: list[Any], functions: list[Any]) -> None:
    """Have exactly these modes observe operators and functions."""
    for mode in reversed(_get_current_dispatch_mode_stack()):
        _pop_mode(getattr(mode, "_mode_key", None))
    for mode in operators:
        _push_mode(mode)
    for _ in range(_len_torch_function_stack()):
        _pop_torch_function_stack()
    for mode in functions:
        _push_on_torch_function_stack(mode)

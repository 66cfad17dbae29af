"""The functions that a model calls: each outside any row gets a row, by its name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch._C import (
    _get_function_stack_at,
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)
from torch._ops import HigherOrderOperator, OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from convcost.nn.count.operators import is_whole
from convcost.nn.count.recount import VALUE_FUNCTIONS
from convcost.nn.count.row import Row
from convcost.nn.count.shown_device import ON_CPU, STORAGE_FUNCTIONS, is_own_call, kept_on_meta
from convcost.nn.count.tensors import in_order, tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.nn.count.autocast import Autocast

NO_ROW: Final = frozenset({"__get__", "__set__", "size", "dim", "numel", "stride", "is_floating_point", "__len__"})
"""Functions that compute nothing."""
FROM_NUMBERS: Final = frozenset({torch.tensor, torch.as_tensor, torch.asarray})
"""Functions that make a tensor without an operator."""
NEEDS_RULES: Final = torch.__version__ < "2.7"
"""Whether torch runs an operator that takes functions only in a mode that the operator has a rule for."""


class Lane(Protocol):
    """What is recorded in one thread."""

    autocast: Autocast

    @property
    def path(self) -> str:
        """Path of the module that is running."""

    @property
    def is_open(self) -> bool:
        """Whether a row is open, or nothing is recorded any more."""

    @property
    def is_over(self) -> bool:
        """Whether the recording ended."""

    def add_constants(self, tensors: list[torch.Tensor]) -> None:
        """Record tensors that are made from numbers."""

    def note_values(self, what: str) -> None:
        """A function reads values of tensors."""

    def note_device(self) -> None:
        """A function reads where a tensor is."""

    def note_missed(self, what: str) -> None:
        """A function needs what meta tensors do not have."""

    def call_function(self, row: Row, function: Callable[[], Any]) -> Any:
        """Call a function in a row of its own."""


class Functions(TorchFunctionMode):
    """Opens a row for each function that is called outside any row."""

    def __init__(self, lane: Lane, device: torch.device, *, shows_cpu: bool) -> None:
        super().__init__()
        self._lane = lane
        self._device = device
        self._shows_cpu = shows_cpu
        self._constructors = _device_constructors()

    def pause(self) -> bool:
        """Observe no functions until `resume`; False where the user's own mode runs inside."""
        modes = _len_torch_function_stack()
        if not modes or _get_function_stack_at(modes - 1) is not self:
            return False
        _pop_torch_function_stack()
        return True

    def resume(self) -> None:
        """Observe functions again."""
        _push_on_torch_function_stack(self)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a function, in a row of its own if none is open."""
        del types
        named, lane = kwargs or {}, self._lane
        if NEEDS_RULES and isinstance(func, HigherOrderOperator):
            rules: dict[Any, Any] = func.python_key_table
            rules.setdefault(type(lane), partial(_dispatch, func))
        if func in self._constructors and named.get("device") is None and not lane.is_over:
            named = {**named, "device": self._device}
        is_operator = type(func) is OpOverload and is_whole(func)
        name = func.overloadpacket.__name__ if is_operator else getattr(func, "__name__", str(func))
        if name in NO_ROW:
            is_read = name == "__get__" and getattr(func.__self__, "__name__", "") in ON_CPU and not is_own_call()
            return self._place(func, args) if is_read else func(*args, **named)
        if func is torch.Tensor.type and len(args) == 1 and not named and not is_own_call():
            lane.note_device()
            return func(*args).replace(".meta.", "." if self._shows_cpu else ".meta.")
        if name in VALUE_FUNCTIONS:
            lane.note_values(name)
        if name in STORAGE_FUNCTIONS:
            if is_own_call():
                return func(*args, **named)
            lane.note_missed(name)
        if self._shows_cpu:
            func, args, named = kept_on_meta(func, args, named)
        if lane.is_open:
            return self._cast_and_run(func, args, named)
        op = name.strip("_")
        row = Row(lane.path, op, op, None, tensors_in(in_order(func, args, named)))
        row.text_padding = any(isinstance(value, str) for value in (*args, *named.values()))
        return lane.call_function(row, lambda: self._cast_and_run(func, args, named))

    def _place(self, func: Any, args: tuple[Any, ...]) -> Any:
        """An attribute that says where a tensor is."""
        name = func.__self__.__name__
        self._lane.note_device()
        if name == "is_meta":
            self._lane.note_values(name)
        return ON_CPU[name] if self._shows_cpu and args[0].is_meta else func(*args)

    def _cast_and_run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a function on what autocast makes of its arguments."""
        autocast = self._lane.autocast
        autocast.look()
        if autocast.is_on and self._device.type == "meta":
            args, kwargs = autocast.for_function(getattr(func, "__name__", ""), args, kwargs)
        try:
            out = func(*args, **kwargs)
        except Exception:
            self._lane.note_missed(getattr(func, "__name__", str(func)))
            raise
        if func in FROM_NUMBERS and not tensors_in(args):
            self._lane.add_constants(tensors_in(out))
        return out


def _dispatch(operator: HigherOrderOperator, lane: Any, *args: Any, **kwargs: Any) -> Any:
    return lane.__torch_dispatch__(operator, (), args, kwargs)

"""Calls of torch's functions in one thread of a forward pass."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils._device import _device_constructors

from convcost.nn.count.operators import whole_operator
from convcost.nn.count.recount import VALUE_FUNCTIONS
from convcost.nn.count.row import Row
from convcost.nn.count.tensors import in_order, tensors_in

if TYPE_CHECKING:
    from convcost.nn.count.lane import Lane

NO_ROW: Final = frozenset({"__get__", "__set__", "size", "dim", "numel", "stride", "is_floating_point", "__len__"})
"""Functions that compute nothing."""
FROM_NUMBERS: Final = frozenset({torch.tensor, torch.as_tensor, torch.asarray})
"""Functions that make a tensor without an operator."""
NEEDS_RULES: Final = torch.__version__ < "2.7"
"""Whether torch runs an operator that takes functions only in a mode that the operator has a rule for."""


class Functions(TorchFunctionMode):
    """Opens a row for each function that is called outside any row."""

    def __init__(self, lane: Lane, device: torch.device) -> None:
        super().__init__()
        self._lane = lane
        self._device = device
        self._constructors = _device_constructors()

    def pause(self) -> bool:
        """Observe no functions until the mode is entered again; False where the user's own mode runs inside."""
        if _get_current_function_mode() is not self:
            return False
        self.__exit__(None, None, None)
        return True

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
            func.python_key_table.setdefault(type(lane), partial(_dispatch, func))
        if func in self._constructors and named.get("device") is None and not lane.is_over:
            named = {**named, "device": self._device}
        name = getattr(func, "__name__", str(func))
        if name in NO_ROW:
            if name == "__get__" and getattr(func.__self__, "__name__", "") == "is_meta":
                lane.note_values("is_meta")
            return func(*args, **named)
        if name in VALUE_FUNCTIONS:
            lane.note_values(name)
        operator = None if lane.is_over else whole_operator(func, name, args, named)
        if operator is not None:
            return lane.run_whole(operator, args, named)
        if lane.is_open:
            return self._cast_and_run(func, args, named)
        has_text = any(isinstance(value, str) for value in (*args, *named.values()))
        op = name.strip("_")
        row = Row(lane.path, op, op, None, tensors_in(in_order(func, args, named)), has_text)
        return lane.call_function(row, lambda: self._cast_and_run(func, args, named))

    def _cast_and_run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a function on what autocast makes of its arguments."""
        autocast = self._lane.autocast
        autocast.look()
        if autocast.is_on and self._device.type == "meta":
            args, kwargs = autocast.for_function(getattr(func, "__name__", ""), args, kwargs)
        out = func(*args, **kwargs)
        if func in FROM_NUMBERS and not tensors_in(args):
            self._lane.add_constants(tensors_in(out))
        return out


def _dispatch(operator: HigherOrderOperator, lane: Lane, *args: Any, **kwargs: Any) -> Any:
    return lane.__torch_dispatch__(operator, (), args, kwargs)

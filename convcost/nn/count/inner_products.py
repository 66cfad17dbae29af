"""The products of functions that an operator calls, such as a `score_mod` of flex attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils._python_dispatch import TorchDispatchMode

from convcost.nn.count.operators import Verdict, cost, is_composite, is_whole, parts_of, verdict
from convcost.nn.count.tensors import tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.nn.count.row import Row


class InnerProducts(TorchDispatchMode):
    """Records the products inside in a row, and nothing of their memory, which a fused operator does not need.

    Args:
        row: The row of the operator.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False avoids the import of torch's dynamo, 800 modules."""
        return False

    def __init__(self, row: Row) -> None:
        super().__init__()
        self._row = row

    def of(self, value: Any) -> Any:
        """A function whose products are recorded; another value as it is."""
        if not callable(value) or isinstance(value, type):
            return value
        function: Callable[..., Any] = value

        def run(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return run

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator and record its cost."""
        del types
        named = kwargs or {}
        if is_composite(func) and not is_whole(func):  # the operator around has turned off what takes it apart
            with self:
                function = parts_of(func)
                return function(*args, **named)
        out = func(*args, **named)
        worth = verdict(func)
        tensors = tensors_in((args, named))
        price = cost(func, args, named, out, tensors) if worth is Verdict.FORMULA else None
        name = str(getattr(func, "overloadpacket", func))
        if price is not None:
            self._row.add_event(name.rpartition(".")[2], price, tensors[0] if tensors else None)
        elif worth is not Verdict.FREE:
            self._row.uncounted[name] = self._row.uncounted.get(name, 0) + 1
        return out

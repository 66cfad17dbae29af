"""Modules made on the meta device without torch's own meta kernels, the first of which imports 800 modules."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from convcost.nn.count.shape_rules import is_switched_off, meta_output


class ByShapeRules(TorchDispatchMode):
    """Runs operators by their shape rules where there are any: a model that is made on the meta device imports less."""

    def __init__(self) -> None:
        super().__init__()
        self._has_rules = not is_switched_off()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False avoids the import of torch's compiler."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator."""
        del types
        out = meta_output(func, args, kwargs or {}) if self._has_rules else NotImplemented
        return func(*args, **(kwargs or {})) if out is NotImplemented else out

"""The normalisation and the activation that follow each convolution of a model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from convcost.models.network_layers import Style
from convcost.nn.count.tensors import changes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from convcost.convolution.layer import Kind

_NORMS: Final = (nn.BatchNorm2d, nn.SyncBatchNorm)
_OF_ACTIVATIONS: Final = "torch.nn.modules.activation"
_ELSEWHERE: Final = frozenset(
    (_OF_ACTIVATIONS, *(f"torch.nn.modules.{name}" for name in ("batchnorm", "instancenorm", "normalization")))
)
"""The modules of torch with its classes of normalisations and activations."""
_RELUS: Final = (functional.relu, functional.relu_, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_)
_ACTIVATIONS: Final[Mapping[Callable[..., Any], Kind]] = {
    **dict.fromkeys(_RELUS, "relu"),
    functional.relu6: "relu6",
    functional.silu: "silu",
    functional.hardswish: "hardswish",
    functional.gelu: "gelu",
}
"""The activations of a network, by the functions that compute them."""
_OTHERS: Final = frozenset(
    getattr(functional, name)
    for name in (
        "batch_norm", "celu", "elu", "gelu", "group_norm", "hardsigmoid", "hardtanh", "instance_norm", "layer_norm",
        "leaky_relu", "local_response_norm", "logsigmoid", "mish", "prelu", "selu", "softplus", "threshold",
    )
)  # fmt: skip
"""Functions that compute normalisations and activations, some of them only with other arguments than a network's."""


@dataclass(slots=True)
class Following:
    """The operations that follow a convolution.

    Attributes:
        norm: Batch normalisation of its output; None without one.
        activation: Activation of the normalised output, or of the output itself; None without one.
        other: Class or function of a normalisation or activation that follows and that no block has; None without one.
        is_known: Whether the convolution was called; later calls, which others may follow, do not count.
    """

    norm: nn.Module | None = None
    activation: Kind | None = None
    other: str | None = None
    is_known: bool = False

    @property
    def style(self) -> Style:
        """The operations as a plain value."""
        return Style(self.norm is not None, self.activation)


class Watch(TorchFunctionMode):
    """Sees which normalisation and activation take a convolution's output, while the model runs.

    Args:
        convolutions: Convolutions by path; they and the normalisations get hooks, which the caller removes.
        parts: Parts of the model by path.
    """

    def __init__(self, convolutions: Mapping[str, nn.Module], parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.following = {path: Following() for path in convolutions}
        self._outputs: Any = WeakIdKeyDictionary()
        for path, convolution in convolutions.items():
            convolution.register_forward_hook(partial(self._after_convolution, path))
        for part in parts.values():
            if isinstance(part, _NORMS) and part.affine:
                part.register_forward_hook(self._after_norm, with_kwargs=True)
            elif type(part).__module__ in _ELSEWHERE:
                part.register_forward_hook(self._after_other, with_kwargs=True)

    def _after_convolution(self, path: str, _: nn.Module, __: Any, output: Any) -> None:
        following = self.following[path]
        if isinstance(output, torch.Tensor) and not following.is_known:
            following.is_known = True
            self._remember(output, following)

    def _after_norm(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        following = self._taken(args, kwargs)
        if following is not None and following.norm is None:
            following.norm, following.other = module, None
            self._remember(output, following)

    def _after_other(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        following = self._taken(args, kwargs, changed=getattr(module, "inplace", False))
        if following is not None:
            without = " without weights" if isinstance(module, _NORMS) else ""
            if following.other is None or following.other.endswith("()"):  # the function that the module calls
                following.other = f"{type(module).__name__}{without}"
            if type(module).__module__ != _OF_ACTIVATIONS:
                self._remember(output, following)

    def _remember(self, output: torch.Tensor, following: Following) -> None:
        self._outputs[output] = following, changes_of(output)

    def _taken(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, *, changed: bool = False
    ) -> Following | None:
        """What follows the convolution whose output is the first input; only the first to take it counts.

        Args:
            args: Inputs by position.
            kwargs: Inputs by name.
            changed: Whether the output may have been changed in place since.
        """
        first = args[0] if args else (kwargs or {}).get("input")
        if not isinstance(first, torch.Tensor):
            return None
        following, changes = self._outputs.pop(first, (None, 0))
        return following if changed or changes == changes_of(first) else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, and remember an activation that is the first to take a convolution's output."""
        kind = _ACTIVATIONS.get(func)
        if func is functional.hardtanh:  # nn.ReLU6 calls it
            named = kwargs or {}
            bounds = (*args[1:3], *(named[name] for name in ("min_val", "max_val") if name in named))
            kind = "relu6" if bounds == (0, 6) else None
        elif func is functional.gelu and (kwargs or {}).get("approximate", "none") != "none":
            kind = None  # another function
        following = self._taken(args, kwargs) if kind is not None or func in _OTHERS else None
        if following is not None and kind is not None:
            following.activation = kind
        elif following is not None:
            following.other = following.other or f"{func.__name__}()"
            self._remember(args[0] if args else (kwargs or {})["input"], following)  # for the module that calls this
        return func(*args, **(kwargs or {}))

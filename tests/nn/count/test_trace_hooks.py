"""The user's code in a module of torch: a hook, a method of one instance or of the class, a part."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrize

import convcost

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.torch

X = torch.ones(5, 4)
LINEAR = 5 * 4 * 3
SQUARE = 5 * 3 * 5
"""MACs of the output, 5x3, times its transposed."""


def _has_numpy(tensor: torch.Tensor) -> bool:
    try:
        tensor.numpy()
    except (RuntimeError, TypeError):
        return False
    return True


HOOKS: dict[str, Callable[[torch.Tensor], Any]] = {
    "device": lambda out: out @ out.T if out.device.type == "cpu" else out,
    "is_meta": lambda out: out if out.is_meta else out @ out.T,
    "data_ptr": lambda out: out @ out.T if out.data_ptr() else out,
    "numpy": lambda out: out @ out.T if _has_numpy(out) else out,
}


def hooked(function: Callable[[torch.Tensor], Any], kind: type[nn.Linear] = nn.Linear) -> nn.Module:
    linear = kind(4, 3)
    linear.register_forward_hook(lambda _, __, out: function(out))
    return nn.Sequential(linear)


def counted(model: nn.Module, device: str) -> tuple[int, int]:
    totals = convcost.count(model, X, device=device).totals
    return totals.macs, totals.activation_bytes


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_goes_another_way_on_the_cpu_is_counted_there(name: str) -> None:
    model = hooked(HOOKS[name])
    assert counted(model, "auto")[0] == LINEAR + SQUARE
    assert "macs" in convcost.count(model, X).doubts


@pytest.mark.parametrize("make", [lambda: torch.ones(3, 7), lambda: torch.tensor([[1.0] * 7] * 3)])
def test_tensors_that_a_hook_makes_are_on_the_device_of_the_count(make: Callable[[], torch.Tensor]) -> None:
    model = hooked(lambda out: out @ make())
    assert counted(model, "meta") == counted(model, "cpu") == (LINEAR + 5 * 3 * 7, 4 * 5 * 7)


def test_values_that_a_hook_reads_are_noted_and_what_another_library_computes_is_doubted() -> None:
    report = convcost.count(hooked(lambda out: torch.from_numpy(out.numpy() @ out.numpy().T)), X, device="cpu")
    assert report.values_read == ("numpy in 0",)
    assert report.doubts["macs"].startswith("numpy in 0 gives a tensor to NumPy or another library: what that computes")


def _on_the_cpu_alone(linear: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, linear.weight) if x.is_cpu else x


def _lower(linear: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return functional.linear(x, linear.weight)


@pytest.mark.parametrize("forward", [_on_the_cpu_alone, _lower])
@pytest.mark.parametrize("on_class", [False, True])
def test_a_replaced_forward_of_a_module_of_torch_is_counted_as_on_the_cpu(
    forward: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *, on_class: bool
) -> None:
    linear = nn.Linear(4, 3)
    convcost.count(linear, X)
    if on_class:
        monkeypatch.setattr(nn.Linear, "forward", forward)
    else:
        monkeypatch.setattr(linear, "forward", MethodType(forward, linear))
    assert counted(linear, "auto") == counted(linear, "cpu")
    assert counted(linear, "auto")[0] == LINEAR


def test_another_replaced_method_of_a_module_of_torch_is_counted_as_on_the_cpu() -> None:
    convolution = nn.Conv2d(2, 3, 1)
    original = convolution._conv_forward

    def twice(x: torch.Tensor, *weights: Any) -> torch.Tensor:
        return original(x if x.is_meta else torch.cat([x, x]), *weights)

    vars(convolution)["_conv_forward"] = twice
    assert convcost.count(convolution, torch.ones(1, 2, 5, 5), device="auto").totals.macs == 2 * 25 * 2 * 3


class Doubled(nn.Module):
    """A weight that is made otherwise on the CPU."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight if weight.is_meta else weight @ torch.ones(4, 4)


def test_a_parametrisation_of_a_module_of_torch_is_counted_as_on_the_cpu() -> None:
    linear = nn.Linear(4, 3)
    parametrize.register_parametrization(linear, "weight", Doubled())
    assert counted(linear, "auto")[0] == LINEAR + 3 * 4 * 4


def test_a_hook_of_all_modules_is_counted_as_on_the_cpu() -> None:
    hook = register_module_forward_hook(lambda _, __, out: HOOKS["device"](out))
    try:
        assert counted(nn.Linear(4, 3), "auto")[0] == LINEAR + SQUARE
    finally:
        hook.remove()

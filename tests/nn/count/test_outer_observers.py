"""A count that a program makes inside something that observes it: another count, a trace, a compilation, fake tensors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from calls import Calls
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import convcost
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.torch

X = torch.ones(5, 4)
MACS = 5 * 4 * 3


class Priced(nn.Module):
    """Multiplies what its layer gives by the MACs of a count."""

    def __init__(self, count: Callable[[nn.Module, torch.Tensor], int]) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x) * self.count(self.layer, x)
        return out


def _macs(layer: nn.Module, x: torch.Tensor) -> int:
    return convcost.count(layer, x).totals.macs


PRICED = Priced(_macs)
COUNTS: dict[str, Callable[[nn.Module, torch.Tensor], int]] = {
    "the same part": _macs,
    "on the CPU": lambda layer, x: convcost.count(layer, x, device="cpu").totals.macs,
    "cross-checked": lambda layer, x: convcost.count(layer, x, cross_check=True).totals.macs,
    "another model": lambda _, x: convcost.count(Calls(lambda _, x: x @ torch.ones(4, 3)), x).totals.macs,
    "in a count": lambda _, x: convcost.count(PRICED, x).totals.macs,
}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("case", COUNTS)
def test_a_count_in_a_forward_pass_adds_nothing_to_the_count_around_it(case: str, device: str) -> None:
    seen: list[int] = []

    def count(layer: nn.Module, x: torch.Tensor) -> int:
        seen.append(COUNTS[case](layer, x))
        return seen[0]

    model = Priced(count)
    plain = convcost.count(Priced(lambda *_: 1), X, device=device)
    report = convcost.count(model, X, device=device)
    assert [(row.name, row.macs) for row in report.layers] == [("layer", MACS), ("mul#1", 0)]
    assert (report.totals, set(seen)) == (plain.totals, {MACS})
    assert model.layer.weight.device.type == "cpu"


def _compiled(model: Priced) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler tells what it does not look into
        return torch.compile(model, backend="eager")(X)


def _traced(model: Priced) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit._trace.TracerWarning)
        return torch.jit.trace(model, X, check_trace=False)(X)


def _made(model: Priced) -> Any:
    graph = make_fx(lambda x: x * model.count(model.layer, X))(X)
    assert {node.target for node in graph.graph.nodes} == {"x_1", torch.ops.aten.mul.Tensor, "output"}
    return model.layer(X) * model.count(model.layer, X)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("run", [_compiled, _traced, _made])
def test_a_count_is_no_part_of_what_torch_traces_or_compiles(run: Callable[[Priced], Any], device: str) -> None:
    model = Priced(lambda layer, x: convcost.count(layer, x, device=device).totals.macs)
    assert torch.equal(run(model), model.layer(X) * MACS)


@pytest.mark.parametrize("device", ["meta", "auto"])
def test_a_count_with_fake_tensors_is_that_of_meta_tensors(device: str) -> None:
    with FakeTensorMode():
        model, x = nn.Linear(4, 3), torch.ones(5, 4)
        inside = convcost.count(model, x, device=device)
    after = convcost.count(model, x, device=device, cross_check=True)
    assert inside.totals == after.totals == convcost.count(nn.Linear(4, 3), X).totals
    assert {check.status for check in after.cross_check.values()} == {"agrees"}


def test_fake_tensors_are_zeros_on_the_cpu_and_fake_weights_are_refused_there() -> None:
    with FakeTensorMode():
        fake, x = nn.Linear(4, 3), torch.ones(5, 4)
    assert convcost.count(nn.Linear(4, 3), x, device="cpu").totals.macs == MACS
    with pytest.raises(ConvcostError, match=r"^model must have weights with values, not those of FakeTensorMode; make"):
        convcost.count(fake, x, device="cpu")


def test_modes_around_a_count_are_there_again_after_one_that_fails() -> None:
    with FakeTensorMode() as mode:
        with pytest.raises(ConvcostError):
            convcost.count(nn.Linear(4, 3), torch.ones(5, 6))
        assert isinstance(torch.ones(1), torch._subclasses.FakeTensor)
        assert torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is mode

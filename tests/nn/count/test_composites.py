"""Composite operators are recorded the same however they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
import torch
from torch import nn
from torch.nn import functional

import convcost
from convcost.nn.count.operators import saved_formulas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

X = torch.ones(5, 4)
SIGNAL = torch.zeros(1, 3, 8, dtype=torch.complex64)


class Products(nn.Module):
    """The product of each row with itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One composite operator of torch."""
        return torch.linalg.vecdot(x, x)


class Twice(nn.Module):
    """An operator of another library."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One composite operator."""
        return torch.ops.convcost_twice.twice(x)


def without_functions(module: nn.Module) -> Callable[..., Any]:
    def run(x: torch.Tensor) -> Any:
        with torch._C.DisableTorchFunction():
            return module(x)

    return run


FORMS: Final[dict[str, Callable[[nn.Module], Any]]] = {
    "plain": lambda module: module,
    "scripted": torch.jit.script,
    "traced": lambda module: torch.jit.trace(module, X),
    "by fx": torch.fx.symbolic_trace,
    "exported": lambda module: torch.export.export(module, (X,)).module(),
    "in vmap": torch.vmap,
    "without torch functions": without_functions,
    "in jvp": lambda module: lambda x: torch.func.jvp(module, (x,), (x,)),
    "in a checkpoint": lambda module: lambda x: torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False),
}


@pytest.fixture
def registered() -> Iterator[None]:
    library = torch.library.Library("convcost_twice", "FRAGMENT")
    library.define("twice(Tensor a) -> Tensor")
    library.impl("twice", lambda a: 2 * (a @ a.transpose(-1, -2) if a.dim() > 1 else a.dot(a)))
    with saved_formulas():
        convcost.register(torch.ops.convcost_twice.twice)(lambda a, out: 0 * out.numel() + 1000 * a.numel())
        yield
    library._destroy()


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("form", FORMS)
def test_a_product_of_vectors_counts_the_same_in_every_form(form: str, device: str) -> None:
    report = convcost.count(FORMS[form](Products()), X, device=device)
    assert report.totals.macs == 5 * 4


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("form", FORMS)
def test_a_registered_composite_counts_the_same_in_every_form(form: str, device: str) -> None:
    report = convcost.count(FORMS[form](Twice()), X, device=device)
    assert report.totals.macs == 1000 * 5 * 4


@pytest.mark.usefixtures("registered")
def test_samples_of_nested_vmaps_count_once_each() -> None:
    report = convcost.count(torch.vmap(torch.vmap(Twice())), torch.ones(2, 3, 4))
    assert report.totals.macs == 2 * 3 * 1000 * 4


def test_the_packet_of_an_operator_counts_too() -> None:
    assert convcost.count(lambda x: torch.ops.aten.linalg_vecdot(x, x), X).totals.macs == 5 * 4


@pytest.mark.parametrize(("model", "data"), [(Products(), X), (lambda z: functional.conv1d(z, z), SIGNAL)])
def test_torchs_operators_are_as_before_after_a_count(model: Any, data: torch.Tensor) -> None:
    convcost.count(model, data)
    for key in ("AutogradCPU", "AutogradMeta"):
        assert not torch._C._dispatch_has_kernel_for_dispatch_key("aten::linalg_vecdot", key)
        assert not torch._C._dispatch_has_kernel_for_dispatch_key("aten::conv2d", key)


class OfParts(nn.Conv1d):
    """A convolution of a complex signal with real weights."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Four real convolutions."""
        real, imaginary = functional.conv1d(z.real, self.weight), functional.conv1d(z.imag, self.weight)
        return torch.complex(real - imaginary, functional.conv1d(2 * z.imag, self.weight) + real)


class Complex(nn.Module):
    """A complex convolution, called twice."""

    def __init__(self, padding: Any = 0) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 3, 3, dtype=torch.complex64, padding=padding)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Twice."""
        return self.conv(self.conv(z))


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("form", ["plain", "scripted"])
def test_real_convolutions_of_complex_parts_stay_real(form: str, device: str) -> None:
    report = convcost.count(FORMS[form](OfParts(3, 3, 3, bias=False)), SIGNAL, device=device, cross_check=True)
    assert report.totals.macs == 3 * (6 * 3 * 3 * 3)
    assert report.cross_check["torch"].status == "agrees"


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("form", ["plain", "scripted"])
@pytest.mark.parametrize(("padding", "positions"), [(0, 6 + 4), ("same", 8 + 8)])
def test_complex_convolutions_count_as_four_real_ones(form: str, device: str, padding: Any, positions: int) -> None:
    report = convcost.count(FORMS[form](Complex(padding)), SIGNAL, device=device, cross_check=True)
    assert report.totals.macs == 4 * positions * 3 * 3 * 3
    assert report.cross_check["torch"].status == "agrees"


def test_a_complex_convolution_in_vmap_and_in_inference_mode_is_one() -> None:
    def one(z: torch.Tensor) -> Any:
        return functional.conv1d(z, z.new_zeros(3, 3, 3))

    def run(z: torch.Tensor) -> Any:
        with torch.inference_mode():
            return one(z)

    for function in (torch.vmap(one), run):
        assert convcost.count(function, SIGNAL).totals.macs == 4 * 6 * 3 * 3 * 3


CONSTANT = torch.zeros(1, 3, 8, dtype=torch.complex64, device="meta")
OUTSIDE = nn.Conv1d(3, 3, 3, dtype=torch.complex64, bias=False, device="meta")
FIRST_COMPLEX: Final[dict[str, Callable[[torch.Tensor], Any]]] = {
    "made from two real ones": lambda x: torch.complex(x, x),
    "cast": lambda x: x.to(torch.complex64),
    "a view": lambda x: torch.view_as_complex(torch.stack((x, x), -1)),
    "a Fourier transform": torch.fft.fft,
    "made from numbers": lambda _: torch.tensor([[[0j] * 8] * 3]),
    "made from nothing": lambda _: torch.zeros(1, 3, 8, dtype=torch.complex64),
    "a constant": lambda _: CONSTANT,
}


@pytest.mark.parametrize("convolve", [OUTSIDE, lambda z: functional.conv1d(z, z.new_zeros(3, 3, 3))])
@pytest.mark.parametrize("first", FIRST_COMPLEX)
def test_a_complex_convolution_is_one_wherever_its_input_comes_from(first: str, convolve: Any) -> None:
    report = convcost.count(lambda x: convolve(FIRST_COMPLEX[first](x)), torch.zeros(1, 3, 8))
    assert report.by_operator["convolution"] == 4 * 6 * 3 * 3 * 3
    assert sum(row.conv is not None for row in report.layers) == 1


def test_a_complex_convolution_of_constants_alone_is_one() -> None:
    weight = torch.zeros(3, 3, 3, dtype=torch.complex64, device="meta")
    report = convcost.count(lambda x: x + functional.conv1d(CONSTANT, weight).sum().real, torch.zeros(1, 3, 8))
    assert report.totals.macs == 4 * 6 * 3 * 3 * 3


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_product_of_vectors_under_autocast_has_the_dtype_of_torch(device: str) -> None:
    dtypes = []

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = torch.linalg.vecdot(x, x)
        dtypes.append(out.dtype)
        return out

    run(X)
    assert convcost.count(run, X, device=device).totals.macs == 5 * 4
    assert set(dtypes) == {torch.bfloat16}

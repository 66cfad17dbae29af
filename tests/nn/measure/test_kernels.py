"""Kernel and factors as real layers: they do the same, and both are timed."""

from __future__ import annotations

import pytest
import torch

from convcost.nn.measure.kernels import _modules
from convcost.text.errors import ConvcostError
from convcost.timing.conditions import TimingOptions
from convcost.workflows.kernel import separate_kernels, time_kernels

NOTHING = dict.fromkeys(("size", "sigma", "theta", "wavelength", "gamma"))


def silent(line: str) -> None:
    """Watch nothing."""


@pytest.mark.parametrize(
    "word", ["sobel", "laplacian", "emboss", "gaussian", "gabor", "0 0; 0 0", "1 2 3 4", "1 2;2 5"]
)
def test_the_torch_layers_of_kernel_and_factors_give_one_output(word: str) -> None:
    row = separate_kernels([word], NOTHING, None, (4, 11, 9)).rows[0]
    kernel, factors = (module.double() for module in _modules(row).values())
    image = torch.randn(2, 4, 11, 9, dtype=torch.float64)
    assert kernel(image).shape == (2, 4, 11, 9)
    assert torch.allclose(kernel(image), factors(image), atol=1e-6)  # weights were rounded to float32
    assert (kernel(image).abs().max() > 0) == (word != "0 0; 0 0")
    first = kernel(image[:, :1].repeat(1, 4, 1, 1))
    assert torch.equal(first[:, 0], first[:, 3])  # every channel has the same kernel


@pytest.mark.timing
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_both_are_timed_and_compared(memory_format: str) -> None:
    report = separate_kernels(["sobel", "laplacian"], NOTHING, None, (3, 32, 32))
    options = TimingOptions(("cpu",), 1, time_budget=1.6, memory_format=memory_format)
    timed = list(time_kernels(report, options, silent))
    assert [sum(row.timing is not None for row in one.rows) for one in timed] == [1, 2]
    for row in timed[-1].rows:
        assert row.timing.conditions.memory_format == memory_format
        assert row.timing.kernel.time_s > 0
        assert row.timing.kernel.speedup == 1.0
        assert row.timing.factors.speedup is not None
        assert row.timing.factors.speedup > 0
        assert row.timing.difference is not None
        assert 0 <= row.timing.difference < 1e-4
    assert timed[-1].to_dict()["kernels"][0]["speedup"] == timed[-1].rows[0].timing.factors.speedup


@pytest.mark.parametrize(
    ("size", "budget", "reason"),
    [((3, 10**6, 10**6), 1.0, "this machine has"), ((64, 2000, 2000), 1e-6, "raise time_budget")],
)
def test_layers_that_are_too_large_are_not_timed_and_say_so(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int, int], budget: float, reason: str
) -> None:
    monkeypatch.setattr("convcost.kernels.demonstration.MAX_PRODUCTS", 9 * 64**2)
    monkeypatch.setattr("convcost.nn.measure.session.LOOK_S", 0.01)
    report = separate_kernels(["sobel"], NOTHING, None, size)
    row = list(time_kernels(report, TimingOptions(("cpu",), time_budget=budget), silent))[-1].rows[0]
    assert row.timing.factors is None
    assert reason in (row.warning or "")
    assert row.warning.startswith("not timed: ")


def test_a_kernel_whose_calls_outlast_the_budget_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcost.nn.measure.kernels.seconds_of", lambda *_: 0.1)
    report = separate_kernels(["sobel"], NOTHING, None, (3, 32, 32))
    row = list(time_kernels(report, TimingOptions(("cpu",), time_budget=3.0), silent))[-1].rows[0]
    assert (
        row.warning == "not timed: a call of both takes about 3.20 s; raise time_budget"
    )  # 2 strips of 0.1 s, 16 times


def test_outputs_that_leave_the_range_of_float32_are_not_timed_and_say_so() -> None:
    report = separate_kernels(["1e50 1; 1 1"], NOTHING, None, (3, 8, 8))
    timed = list(time_kernels(report, TimingOptions(("cpu",), time_budget=0.6), silent))[-1]
    assert timed.rows[0].timing.difference is None
    assert timed.rows[0].warning == "not timed: the outputs leave the range of float32; scale the kernel"


def test_a_device_that_is_not_there_is_refused() -> None:
    report = separate_kernels(["sobel"], NOTHING, None, (3, 8, 8))
    with pytest.raises(ConvcostError, match=r"device \(=tpu\)"):
        list(time_kernels(report, TimingOptions(("tpu",)), silent))

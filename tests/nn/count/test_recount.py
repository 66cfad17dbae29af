"""A count that holds for one input, one device or one call: said by the report, and a doubt where another differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from calls import Calls
from torch import nn
from zoo import ZOO

import convcost
from convcost.nn.count.model_report import reports
from convcost.nn.count.size_limit import MAX_EFFORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo import Net

    from convcost.models.report import ModelReport

pytestmark = pytest.mark.torch

SMALL, LARGE = 2 * 8 * 8, 2 * 8 * 80  # MACs of a and of b on two rows


def report(model: nn.Module, inputs: Any, device: str = "meta") -> ModelReport:
    return next(reports(model, inputs, device=device, recount=True))


def net(forward: Callable[[Any, torch.Tensor], Any]) -> nn.Module:
    return Calls(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 80))


def recounted(forward: Callable[[Any, torch.Tensor], Any], device: str = "auto") -> ModelReport:
    return report(net(forward), torch.zeros(2, 8), device=device)


def _either(condition: Callable[[torch.Tensor], object]) -> Callable[[Any, torch.Tensor], Any]:
    return lambda m, x: m.b(x) if condition(x) else m.a(x)


def _caught(m: Any, x: torch.Tensor) -> Any:
    try:
        large = x.std().item() > 0
    except RuntimeError:  # a meta tensor
        large = False
    return m.b(x) if large else m.a(x)


LOOKS: dict[str, tuple[Callable[[Any, torch.Tensor], Any], str | None]] = {
    "item": (_either(lambda x: x.std().item() > 0), "item"),
    "float": (_either(lambda x: float(x.std()) > 0), "item"),
    "bool": (_either(lambda x: x.any()), "item"),
    "range": (_either(lambda x: list(range(x.bool().sum().long()))), "item"),
    "equal": (_either(lambda x: not torch.equal(x, torch.zeros(2, 8))), "equal"),
    "allclose": (_either(lambda x: not torch.allclose(x, torch.zeros(2, 8))), "allclose"),
    "numpy": (_either(lambda x: x.detach().numpy().any()), "numpy"),
    "asarray": (_either(lambda x: np.asarray(x.detach()).any()), "array"),
    "tolist": (_either(lambda x: any(x[0].tolist())), "tolist"),
    "nonzero": (_either(lambda x: x.nonzero().numel()), "nonzero"),
    "where": (_either(lambda x: torch.where(x)[0].numel()), "nonzero"),
    "unique": (_either(lambda x: x.unique().numel() > 1), "unique2"),
    "masked_select": (_either(lambda x: x.masked_select(x != 0).numel()), "masked_select"),
    "mask": (_either(lambda x: x[x != 0].numel()), "index"),
    "cond": (lambda m, x: torch.ops.higher_order.cond(x.any(), m.b, m.a, (x,)), "cond"),
    "early exit in a try": (_caught, "item"),
    "is_meta": (_either(lambda x: not x.is_meta), "is_meta"),
    "device.type": (_either(lambda x: x.device.type == "cpu"), None),
    "device": (_either(lambda x: x.device == torch.device("cpu")), None),
    "a parameter's device": (lambda m, x: m.a(x) if m.a.weight.device.type == "meta" else m.b(x), None),
}


@pytest.mark.parametrize(("forward", "what"), LOOKS.values(), ids=LOOKS)
def test_a_count_that_depends_on_values_or_on_the_device_is_doubted(
    forward: Callable[[Any, torch.Tensor], Any], what: str | None
) -> None:
    counted = recounted(forward, "meta" if what in {None, "is_meta"} else "auto")
    assert counted.totals.macs == SMALL
    figures = f"macs are {SMALL}, but {LARGE:,} on the CPU with random inputs"
    assert counted.doubts["macs"].startswith(figures)
    assert any(line.startswith(figures) for line in counted.warnings)
    assert counted.to_dict()["doubts"] == counted.doubts
    assert counted.values_read == (() if what is None else (f"{what} in Calls",))
    if what is not None:
        assert counted.notes[0].startswith(f"the forward pass reads values of tensors ({what} in Calls): the counts")
        assert counted.to_dict()["values_read"] == [f"{what} in Calls"]


@pytest.mark.parametrize("make", ZOO.values(), ids=ZOO)
def test_networks_of_every_kind_give_no_cause_for_doubt(make: Callable[[], Net]) -> None:
    model, inputs = make()
    counted = report(model.eval(), inputs, device="auto")
    assert (counted.doubts, counted.values_read, counted.notes) == ({}, (), ())


def test_values_that_change_no_count_are_reported_and_no_doubt() -> None:
    counted = recounted(lambda m, x: m.a(x) if x.sum().item() < 1e9 else m.b(x))
    assert (counted.totals.macs, counted.values_read, counted.doubts) == (SMALL, ("item in Calls",), {})


def test_values_that_are_read_are_reported_without_a_recount_too() -> None:
    counted = convcost.count(net(LOOKS["item"][0]), torch.zeros(2, 8), device="auto")
    assert (counted.totals.macs, counted.values_read, counted.doubts) == (SMALL, ("item in Calls",), {})


def _tried(read: Callable[[torch.Tensor], object]) -> Callable[[Any, torch.Tensor], Any]:
    def forward(m: Any, x: torch.Tensor) -> Any:
        try:
            read(x)
        except Exception:  # noqa: BLE001 - what a model may do
            return m.a(x)
        return m.b(x)

    return forward


TELLS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "a copy on the CPU": _tried(lambda x: x.cpu()),
    "item": _tried(lambda x: x.sum().item()),
    "tolist": _tried(lambda x: x.tolist()),
    "bool": _tried(lambda x: bool(x.any())),
    "nonzero": _tried(lambda x: x.nonzero()),
    "device.type": _either(lambda x: x.device.type == "cpu"),
    "text of the device": _either(lambda x: str(x.device) == "cpu"),
    "is_cpu": _either(lambda x: x.is_cpu),
    "is_meta": _either(lambda x: not x.is_meta),
    "data_ptr": _either(lambda x: x.data_ptr() != 0),
    "storage": _either(lambda x: x.untyped_storage().data_ptr() != 0),
    "typed storage": _either(lambda x: x.storage().data_ptr() != 0),
    "repr": _either(lambda x: "meta" not in repr(x)),
    "format": _either(lambda x: "meta" not in f"{x}"),
    "type": _either(lambda x: x.type() == "torch.FloatTensor"),
    "type of a copy": _either(lambda x: x.double().type() == "torch.DoubleTensor"),
    "typename": _either(lambda x: torch.typename(x) == "torch.FloatTensor"),
    "old type": _either(lambda x: isinstance(x, torch.FloatTensor)),
    "storage type": _either(lambda x: x.storage_type() is torch.FloatStorage),
    "device of a parameter": lambda m, x: (m.b if next(m.parameters()).device == torch.device("cpu") else m.a)(x),
    "device of a new tensor": _either(lambda _: torch.zeros(1).device.type == "cpu"),
}


@pytest.mark.parametrize("forward", TELLS.values(), ids=TELLS)
def test_a_model_that_goes_another_way_on_meta_is_counted_on_the_cpu_or_doubted(
    forward: Callable[[Any, torch.Tensor], Any],
) -> None:
    x = torch.zeros(2, 8)
    on_meta = convcost.count(net(forward), x)
    assert on_meta.totals.macs == SMALL
    assert on_meta.doubts["macs"] == f"macs are {SMALL}, but {LARGE:,} on the CPU; make the forward pass take one way"
    counted = convcost.count(net(forward), x, device="auto")
    assert (counted.totals.macs, counted.doubts, counted.conditions["device"]) == (LARGE, {}, "cpu")
    assert counted.notes[-1].startswith("forward goes another way on meta tensors")


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize(
    ("work", "what"),
    [
        (lambda _, x: torch.from_numpy(x.numpy() @ x.numpy().T), "numpy"),
        (lambda _, x: torch.tensor(np.matmul(x, x.T)), "array"),
        (lambda _, x: torch.from_numpy(np.from_dlpack(x) @ np.ones((8, 3), np.float32)), "dlpack"),
    ],
)
def test_work_in_numpy_is_a_doubt(work: Callable[[Any, torch.Tensor], Any], what: str, device: str) -> None:
    counted = convcost.count(net(work), torch.zeros(2, 8), device=device)
    assert counted.doubts["macs"].startswith(f"{what} in Calls gives a tensor to NumPy or another library: what that")
    assert f"{counted.doubts['macs']}." in counted.warnings


HARMLESS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "new tensors": lambda m, x: m.a(x) + torch.arange(8, device=x.device) + x.new_zeros(8, device=x.device),
    "moved": lambda m, x: m.a(x.to(m.a.weight.device)) + torch.ones(8).to(x.device),
    "autocast": lambda m, x: m.a(x) if (x.device.type if x.device.type != "mps" else "cpu") else m.b(x),
    "device of another tensor": lambda m, x: m.a(x) if x.device == m.a.weight.device else m.b(x),
    "a type that the CPU has too": lambda m, x: m.a(x) if x.type().endswith("FloatTensor") else m.b(x),
    "an old type": lambda m, x: m.b(x) if isinstance(x, torch.LongTensor) else m.a(x),
    "a new type": lambda m, x: m.a(x.type(torch.float64).type(x.dtype)),
    "a caught error": _tried(lambda x: x.view(3)),
}


@pytest.mark.parametrize("forward", HARMLESS.values(), ids=HARMLESS)
def test_a_device_that_decides_nothing_is_no_doubt(forward: Callable[[Any, torch.Tensor], Any]) -> None:
    counted = convcost.count(net(forward), torch.zeros(2, 8), device="auto")
    assert (counted.totals.macs, counted.doubts, counted.conditions["device"]) == (SMALL, {}, "meta")


def test_a_model_too_large_for_the_cpu_is_doubted_where_it_catches_an_error() -> None:
    model = Calls(
        _tried(lambda x: x.sum().item()), a=nn.Linear(8, 8, device="meta"), b=nn.Linear(8, 10**9, device="meta")
    )
    doubt = convcost.count(model, torch.zeros(2, 8), device="auto").doubts["macs"]
    assert doubt.startswith("item in Calls may lead forward another way than on the CPU, where it was not counted")


def test_indices_and_sizes_are_no_values() -> None:
    counted = recounted(lambda m, x: m.a(x[torch.tensor([1, 0], device=x.device)].view(x.shape[0], -1)))
    assert (counted.totals.macs, counted.values_read, counted.doubts) == (SMALL, (), {})


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_second_call_that_counts_otherwise_is_a_doubt(device: str) -> None:
    calls: list[int] = []

    def outside(m: Any, x: torch.Tensor) -> Any:
        calls.append(1)
        return m.a(x) if len(calls) % 2 else m.b(x)

    def inside(m: Any, x: torch.Tensor) -> Any:
        m.calls = getattr(m, "calls", 0) + 1
        return m.a(x) if m.calls == 1 else m.b(x)

    for forward in (outside, inside):
        counted = recounted(forward, device)
        assert counted.totals.macs == SMALL
        assert counted.doubts["macs"].startswith(f"macs are {SMALL}, but {LARGE:,} in a second call; make")


def test_a_second_call_sees_the_buffers_that_the_first_one_wrote() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        m.calls.add_(1)
        return m.a(x) if m.calls.item() == 1 else m.b(x)

    model: Any = net(forward)
    model.register_buffer("calls", torch.zeros(()))
    counted = report(model, torch.zeros(2, 8), device="cpu")
    assert counted.doubts["macs"].startswith(f"macs are {SMALL}, but {LARGE:,} in a second call")
    assert model.calls.item() == 0


def test_a_model_that_changes_itself_is_counted_twice_on_meta_tensors() -> None:
    def cached(m: Any, x: torch.Tensor) -> Any:
        m.cache = m.a(x) if m.cache is None else m.cache
        return m.cache

    def listed(m: Any, x: torch.Tensor) -> Any:
        if not m.cache:
            m.cache.append(m.a(x))
        return m.cache[0]

    for forward, empty in ((cached, None), (listed, [])):
        model: Any = net(forward)
        model.cache = empty
        counted = convcost.count(model, torch.zeros(2, 8))
        assert counted.doubts["macs"].startswith(f"macs are {SMALL}, but 0 in a second call")


def test_a_second_call_that_fails_is_a_doubt_of_every_metric() -> None:
    def once(m: Any, x: torch.Tensor) -> Any:
        if getattr(m, "used", False):
            raise RuntimeError("used up")
        m.used = True
        return m.a(x)

    counted = convcost.count(net(once), torch.zeros(2, 8))
    assert counted.doubts.keys() == {"params", "macs", "weight_bytes", "peak_activation_bytes"}
    assert "a second call of the model fails: " in counted.doubts["macs"]


def test_operations_that_are_uncounted_on_the_cpu_alone_are_a_doubt() -> None:
    counted = recounted(lambda m, x: m.a(x) if x.is_meta else torch.fft.fft(m.a(x)).real, "meta")
    assert counted.doubts["macs"] == "no operation is uncounted here, but 1 operation on the CPU with random inputs"


class Wide(nn.Module):
    """As many MACs as are counted once more, and one product more."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = 1 << 12
        for _ in range(MAX_EFFORT // size**2 // size + 1):
            x = x @ x.new_empty(size, size)
        return x


def test_a_model_that_is_too_large_is_not_run_which_is_a_doubt_where_it_reads_values() -> None:
    data = torch.zeros(1 << 12, 1 << 12, device="meta")
    counted = report(Wide(), data)
    assert counted.doubts == {}
    assert counted.notes[-1].startswith("not counted once more on the CPU: 68.7 GMACs and")  # 2^36
    doubted = report(Calls(lambda m, x: (x.is_meta, m.wide(x))[1], wide=Wide()), data)
    assert doubted.doubts["macs"].startswith("the forward pass reads values of tensors, and could not be counted with")


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.complex64])
def test_inputs_of_every_dtype_are_drawn_anew(dtype: torch.dtype) -> None:
    counted = report(Calls(lambda _, x: x + x if x.any() else x), torch.zeros(3, 4, dtype=dtype), device="auto")  # fmt: skip
    assert counted.doubts == {}
    assert not any("not counted once more" in note for note in counted.notes)


def test_indices_stay_in_a_table_of_two() -> None:
    model = nn.Sequential(nn.Embedding(2, 4), nn.Linear(4, 3))
    counted = report(model, torch.zeros(1, 5, dtype=torch.int64))
    assert (counted.totals.macs, counted.doubts, counted.notes) == (5 * 4 * 3, {}, ())

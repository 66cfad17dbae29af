"""Two models on a simulated device: which calls are timed, and which times are compared."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from simulated_device import Device
from torch import nn

from convcost.nn.measure import session as session_home
from convcost.nn.measure.side_by_side import measure_side_by_side
from convcost.text.errors import ConvcostError
from convcost.timing.conditions import TimingOptions

MS = 1e-3
OPTIONS = TimingOptions(("cpu",), time_budget=8.0, allocator="default")
INPUT: tuple[tuple[Any, ...], dict[str, Any]] = ((torch.zeros(2, 8),), {})


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """An asynchronous device on which only `Work` takes time."""
    simulated = Device()
    monkeypatch.setattr(session_home, "clock_for", lambda *_: simulated)
    monkeypatch.setattr(session_home, "other_load", lambda _: None)
    monkeypatch.setattr(session_home, "PROBE_SIZES", (2,))
    return simulated


class Work(nn.Linear):
    """A layer that keeps the device busy, and logs its calls."""

    def __init__(self, device: Device, name: str, seconds: float, size: int = 8) -> None:
        super().__init__(size, size)
        self.call = device.work(name, seconds)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.call()
        return x


class Twice(nn.Module):
    """A user's block, whose text does not say that it runs its layer twice."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x))


class Once(Twice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


Once.__qualname__ = Once.__name__ = "Twice"  # as a class of another revision


def test_speed_ups_are_those_of_the_whole_and_of_each_pair(device: Device) -> None:
    a = nn.Sequential(Work(device, "stem", 2 * MS), Work(device, "body", 6 * MS, size=9))
    b = nn.Sequential(a[0], Work(device, "slow", 8 * MS, size=10))
    timed = measure_side_by_side(((a, *INPUT), (b, *INPUT)), [("1", "1")], OPTIONS)
    assert timed.a.whole.time_s == pytest.approx(8 * MS, rel=1e-3)
    assert timed.b.whole.time_s == pytest.approx(10 * MS, rel=1e-3)
    assert timed.b.whole.speedup == pytest.approx(8 / 10, rel=1e-3)
    assert timed.pairs["1", "1"].speedup == pytest.approx(6 / 8, rel=1e-3)
    assert timed.b.whole.verdict == timed.pairs["1", "1"].verdict == "slower"


def test_the_interval_has_the_run_to_run_term(device: Device) -> None:
    """Without any spread inside the process: 2 x (1 - 1.645 x 0.025) to 2 x (1 + 1.645 x 0.025)."""
    a, b = Work(device, "a", 4 * MS), Work(device, "b", 2 * MS)
    whole = measure_side_by_side(((a, *INPUT), (b, *INPUT)), [], OPTIONS).b.whole
    assert whole.speedup_low == pytest.approx(2 * (1 - 1.645 * 0.025), rel=1e-3)
    assert whole.speedup_high == pytest.approx(2 * (1 + 1.645 * 0.025), rel=1e-3)


def test_the_term_of_a_calibrated_machine_takes_its_place(device: Device) -> None:
    a, b = Work(device, "a", 4 * MS), Work(device, "b", 2 * MS)
    whole = measure_side_by_side(((a, *INPUT), (b, *INPUT)), [], OPTIONS, run_to_run=0.1).b.whole
    assert whole.speedup_low == pytest.approx(2 * (1 - 1.645 * 0.1), rel=1e-3)


def test_both_forwards_and_both_layers_of_a_pair_run_next_to_each_other(device: Device) -> None:
    a = nn.Sequential(Work(device, "a0", 4 * MS), Work(device, "a1", 4 * MS, size=9))
    b = nn.Sequential(Work(device, "b0", 4 * MS), Work(device, "b1", 4 * MS, size=9))
    measure_side_by_side(((a, *INPUT), (b, *INPUT)), [("0", "0"), ("1", "1")], OPTIONS)
    wholes = ["a0", "a1"] * 4 + ["b0", "b1"] * 4  # one untimed call, then 20 ms of 8 ms each
    layers = [name for name in ("a0", "b0", "a1", "b1") for _ in range(1 + 6)]
    assert "".join(wholes + layers) in "".join(device.log)


def test_alike_layers_are_timed_once_on_each_side(device: Device) -> None:
    a = nn.Sequential(*(Work(device, "a", 4 * MS) for _ in range(3)))
    b = nn.Sequential(*(Work(device, "b", 1 * MS) for _ in range(3)))
    pairs = [(str(number), str(number)) for number in range(3)]
    timed = measure_side_by_side(((a, *INPUT), (b, *INPUT)), pairs, OPTIONS)
    assert set(timed.pairs) == set(pairs)
    assert len(set(map(id, timed.pairs.values()))) == 1
    assert timed.pairs["0", "0"].speedup == pytest.approx(4, rel=1e-3)


def test_layers_of_the_two_models_that_look_alike_are_timed_apart(device: Device) -> None:
    """The same class on the same input, as before and after a change of its code."""
    a, b = nn.Sequential(Work(device, "old", 3 * MS)), nn.Sequential(Work(device, "new", 1 * MS))
    timed = measure_side_by_side(((a, *INPUT), (b, *INPUT)), [("0", "0")], OPTIONS)
    assert timed.pairs["0", "0"].speedup == pytest.approx(3, rel=1e-3)


def test_a_block_is_timed_as_one_call_with_its_real_input(device: Device) -> None:
    seen: list[Any] = []

    class Plus(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape))
            return nn.functional.pad(x, (0, 1))

    a = nn.Sequential(Plus(), Work(device, "whole", 9 * MS))
    b = nn.Sequential(Plus(), nn.Sequential(Plus(), Work(device, "first", 1 * MS), Work(device, "second", 2 * MS)))
    timed = measure_side_by_side(((a, *INPUT), (b, *INPUT)), [("1", "1"), (None, "1.1")], OPTIONS)
    assert timed.pairs.keys() == {("1", "1")}
    assert timed.pairs["1", "1"].speedup == pytest.approx(9 / 3, rel=1e-3)
    assert timed.b.layers["1.1"].time_s == pytest.approx(1 * MS, rel=1e-3)
    assert timed.a.layers.keys() == {"1"}
    assert set(seen) == {(2, 8), (2, 9)}


def test_blocks_of_a_users_class_do_not_share_a_time(device: Device) -> None:
    layer = Work(device, "layer", 2 * MS)
    a = nn.Sequential(Twice(layer), Once(layer))
    timed = measure_side_by_side(((a, *INPUT), (a, *INPUT)), [("0", "0"), ("1", "1")], OPTIONS)
    assert str(a[0]) == str(a[1])
    assert timed.a.layers["0"].time_s == pytest.approx(4 * MS, rel=1e-3)
    assert timed.a.layers["1"].time_s == pytest.approx(2 * MS, rel=1e-3)


def test_rows_without_a_module_have_no_time_and_second_calls_have_their_own(device: Device) -> None:
    layer = Work(device, "layer", 2 * MS)
    a, b = nn.Sequential(layer, layer), nn.Sequential(layer)
    pairs = [("0#2", "0"), ("add#1", None), ("0#3", "1"), (None, "0.relu#1")]
    timed = measure_side_by_side(((a, *INPUT), (b, *INPUT)), pairs, OPTIONS)
    assert timed.pairs.keys() == {("0#2", "0")}
    assert (timed.a.layers.keys(), timed.b.layers.keys()) == ({"0#2"}, {"0"})


def test_a_model_that_is_one_layer_has_its_class_as_row_name(device: Device) -> None:
    a, b = Work(device, "a", 4 * MS), Work(device, "b", 2 * MS)
    timed = measure_side_by_side(((a, *INPUT), (b, *INPUT)), [("Work", "Work")], OPTIONS)
    assert timed.pairs["Work", "Work"].speedup == pytest.approx(2, rel=1e-3)


def test_no_hooks_are_left_and_the_conditions_are_those_of_each_model(device: Device) -> None:
    a = nn.Sequential(Work(device, "a", MS), Work(device, "half", MS).half())
    b = nn.Sequential(Work(device, "b", MS))
    timed = measure_side_by_side(((a, *INPUT), (b, *INPUT)), [("0", "0")], OPTIONS)
    assert not any(module._forward_hooks for model in (a, b) for module in model.modules())
    assert (timed.a.conditions.dtype, timed.b.conditions.dtype) == ("mixed", "float32")
    assert timed.a.conditions.allocator == "default"


def test_a_second_model_that_does_not_run_is_one_line(device: Device) -> None:
    a, b = nn.Linear(8, 8), nn.Linear(7, 7)
    with pytest.raises(ConvcostError, match=r"^the model could not run: .*; change the input\.$"):
        measure_side_by_side(((a, *INPUT), (b, *INPUT)), [], OPTIONS)
    assert device.log == []


@pytest.mark.timing
def test_real_models_have_times_and_an_interval() -> None:
    a = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU())
    b = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)), nn.ReLU())
    image: tuple[tuple[Any, ...], dict[str, Any]] = ((torch.zeros(1, 4, 16, 16),), {})
    options = TimingOptions(("cpu",), time_budget=1.0)
    timed = measure_side_by_side(((a, *image), (b, *image)), [("0", "0"), (None, "0.0")], options)
    pair = timed.pairs["0", "0"]
    if pair.speedup_low is not None:  # a busy machine may leave one round, which has no interval
        assert pair.speedup_high is not None
        assert pair.speedup_low < pair.speedup_high
    assert timed.b.layers.keys() == {"0", "0.0"}

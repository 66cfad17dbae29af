"""Real blocks under the clock: what is put back, what is refused, what is said. No time is asserted."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
import torch
from simulated_device import Device

import convcost
from convcost.comparison.rows import place_block
from convcost.convolution.spec import Spec
from convcost.nn.measure import blocks as home
from convcost.nn.measure import device as device_home
from convcost.nn.measure import session as session_home
from convcost.nn.measure.session import TimingSession, timing_session
from convcost.text.errors import ConvcostError
from convcost.timing.conditions import TimingOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.comparison.rows import Placed
    from convcost.timing.measured import Measured, Outcome

pytestmark = pytest.mark.timing


SPEC = Spec(8, 8, (3, 3), 16, 16)
REAL_CALL = home._call


class Broken(torch.nn.Module):
    """A module that fails when it is called."""

    def __init__(self, fail: Callable[..., None]) -> None:
        super().__init__()
        self.forward = fail


def measured(*blocks: str, spec: Spec = SPEC, budget: float = 0.6, **options: Any) -> Measured:
    placed = [place_block(name, spec, {}) for name in blocks or ("standard", "depthwise-separable")]
    run = home.Run(placed, TimingOptions(("cpu",), time_budget=budget, **options))
    return home.measure([run], "standard", lambda *_: None)[0]


def test_a_timing_carries_its_conditions_and_its_spread() -> None:
    result = measured()
    conditions = result.conditions
    assert (conditions.device, conditions.threads, conditions.dtype) == ("cpu", 1, "float32")
    assert conditions.torch_version == str(torch.__version__)
    assert conditions.cpu
    for timing in result.timings.values():
        assert 0 < timing.time_min_s <= timing.time_q25_s <= timing.time_s <= timing.time_q75_s
        assert timing.first_call_s > 0
        assert timing.time_runs > 0
    separable = result.timings["depthwise-separable"]
    assert separable.speedup is not None
    if separable.speedup_low is not None:  # a busy machine may leave one round, which has no interval
        assert separable.speedup_high is not None
        assert separable.speedup_low < separable.speedup < separable.speedup_high


def test_threads_grad_mode_and_random_state_are_put_back() -> None:
    torch.manual_seed(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    measured(threads=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_an_interrupt_puts_the_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session_home, "interleave", interrupted)
    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        measured(threads=1)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_modules_and_input_have_the_memory_format_that_was_asked_for(memory_format: str) -> None:
    seen = []

    def look(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        del output
        if isinstance(module, torch.nn.Conv2d) and module.groups == 1:
            layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
            seen.append(inputs[0].is_contiguous(memory_format=layout))
            seen.append(module.weight.is_contiguous(memory_format=layout))

    with torch.nn.modules.module.register_module_forward_hook(look):
        conditions = measured("standard", budget=0.55, memory_format=memory_format).conditions
    assert conditions.memory_format == memory_format
    assert seen
    assert all(seen)


def test_the_allocator_can_be_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched() -> bool:
        raise AssertionError

    monkeypatch.setattr(session_home, "pin_allocator", touched)
    assert measured(allocator="default").conditions.allocator == "default"


def test_where_the_allocator_cannot_be_pinned_the_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_home, "pin_allocator", lambda: False)
    result = measured()
    assert result.conditions.allocator == "default"
    assert "this platform cannot pin the allocator: the times include page faults." in result.notes


def test_what_does_not_fit_the_memory_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_home, "free_memory", lambda _: 10)
    built = []
    monkeypatch.setattr(home, "build", lambda *_, **__: built.append(1))
    result = measured()
    assert built == []
    assert result.timings == {}
    assert set(result.refused) == {"standard", "depthwise-separable"}
    assert result.refused["standard"].startswith("not timed: it needs ")


def test_a_layer_whose_call_outlasts_the_budget_is_not_begun() -> None:
    result = measured("standard", spec=replace(SPEC, in_channels=4096, out_channels=4096, height=2000, width=100))
    assert (
        "; raise time_budget" in result.refused["standard"]
        or "; take a smaller input or batch" in result.refused["standard"]
    )


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_home, "other_load", lambda _: 1.9)
    assert any(
        "processors busy" in note and "disturbed blocks of calls are left out" in note for note in measured().notes
    )


def test_a_module_that_torch_cannot_run_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no kernel for Half\nC++ stack")

    monkeypatch.setattr(home, "build", lambda *_, **__: Broken())
    with pytest.raises(ConvcostError, match=r"^standard could not run on cpu in float32: no kernel for Half; change"):
        measured("standard")


def test_conditions_are_timed_in_one_run_each_with_its_own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def look(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        del output
        if isinstance(module, torch.nn.Conv2d):
            last = inputs[0].is_contiguous(memory_format=torch.channels_last)
            seen.add((str(inputs[0].dtype), last, torch.get_num_threads()))

    monkeypatch.setattr(session_home, "other_load", lambda _: 0.0)
    with torch.nn.modules.module.register_module_forward_hook(look):
        options: dict[str, Any] = {"dtype": ["float32", "float64"], "memory_format": ["contiguous", "channels_last"]}
        blocks = ["standard", "pointwise"]
        result = convcost.compare(
            8, 8, 3, height=16, blocks=blocks, device="cpu", count=False, time_budget=1.5, **options
        )
    assert seen == {(f"torch.{dtype}", last, 1) for dtype in options["dtype"] for last in (False, True)}
    assert [(row.dtype, row.conditions.memory_format, row.placed.block.name) for row in result.rows] == [
        (dtype, memory_format, block)
        for dtype in options["dtype"]
        for memory_format in options["memory_format"]
        for block in blocks
    ]
    assert all(row.timing is not None and row.timing.speedup is not None for row in result.rows)


def test_devices_that_are_the_same_are_timed_once() -> None:
    result = convcost.compare(
        8, 8, 3, height=16, blocks=["standard"], device=["cpu", "cpu"], count=False, time_budget=1.2
    )
    assert [row.conditions.device for row in result.rows] == ["cpu"]
    assert all(row.timing is not None for row in result.rows)


@pytest.mark.gpu
def test_blocks_are_timed_on_a_real_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    result = convcost.compare(64, 64, 3, height=56, device="cuda", time_budget=3)
    assert all(row.timing is not None for row in result.rows)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device without real time, on which a block takes as many ms as its name has letters, and more in a first call."""
    device = Device()

    def call_of(placed: Placed, _: object, data: torch.Tensor) -> Any:
        assert tuple(data.shape) == (1, 8, 16, 16)
        name = placed.block.name
        return device.work(name, 1e-3 * len(name))

    monkeypatch.setattr(home, "_call", call_of)
    return device


def in_session(device: Device, *names: str, seconds: float = 1.0, flop_per_s: float = 1e9) -> dict[str, Outcome]:
    conditions = session_home.conditions_for(TimingOptions(("cpu",)))
    session = TimingSession(conditions, torch.device("cpu"), 1.0, device, device.work("probe", 1e-3), flop_per_s)
    return home.measure_in(session, [place_block(name, SPEC, {}) for name in names], "standard", 1.0, seconds)


def test_blocks_of_a_sweep_take_turns_with_the_baseline(simulated: Device) -> None:
    outcomes = in_session(simulated, "standard", "pointwise")
    assert {name: one.status for name, one in outcomes.items()} == {"standard": "ok", "pointwise": "ok"}
    timing = outcomes["pointwise"].timing
    assert timing is not None
    assert timing.time_s == pytest.approx(9e-3)
    assert timing.speedup == pytest.approx(8 / 9)
    order = [name for name, _ in groupby(simulated.log)]
    rounds = order[order.index("probe") :]
    assert rounds[:6] == ["probe", "standard", "pointwise", "probe", "pointwise", "standard"]


def test_the_first_call_of_a_block_of_a_sweep_is_its_very_first(
    simulated: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = home._call, list[str]()

    def cold(placed: Placed, conditions: Any, data: torch.Tensor) -> Any:
        warm = before(placed, conditions, data)

        def call() -> object:
            calls.append(placed.block.name)
            return simulated.work("cold", 0.3)() if len(calls) == 1 else warm()

        return call

    monkeypatch.setattr(home, "_call", cold)
    timing = in_session(simulated, "standard")["standard"].timing
    assert timing is not None
    assert timing.first_call_s == pytest.approx(0.3)
    assert timing.time_s == pytest.approx(8e-3)


def test_a_block_too_slow_by_its_work_is_not_made(simulated: Device) -> None:
    work = place_block("standard", SPEC, {}).cost.flops
    outcomes = in_session(simulated, "standard", seconds=0.5, flop_per_s=work / 0.6)
    assert outcomes["standard"].status == "too-slow"
    assert outcomes["standard"].reason == (
        "a call takes 600 ms or more, which is above the limit of 500 ms; raise time_budget, or take a smaller input"
    )
    assert simulated.log == []


def test_a_block_too_slow_by_its_first_calls_leaves_the_others_their_time(simulated: Device) -> None:
    outcomes = in_session(simulated, "standard", "depthwise-separable", seconds=0.015)
    assert {name: one.status for name, one in outcomes.items()} == {"standard": "ok", "depthwise-separable": "too-slow"}
    assert simulated.log.count("depthwise-separable") == 2
    assert simulated.log.count("standard") > 2


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out-of-memory", "CUDA out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out-of-memory", "can't allocate"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "out-of-memory", "not enough memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out-of-memory", "ALLOC_FAILED"),
        (MemoryError(), "out-of-memory", "memory ran out; take a smaller input or batch"),
        (RuntimeError("slow_conv2d not implemented for 'Half'"), "refused", "not implemented for 'Half'"),
    ],
)
@pytest.mark.parametrize("when", ["made", "called"])
def test_a_block_that_does_not_run_does_not_keep_the_others_from_it(
    error: Exception, status: str, reason: str, when: str, simulated: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = home._call

    def fail(*_: object) -> None:
        raise error

    def broken(placed: Placed, conditions: Any, data: torch.Tensor) -> Any:
        return (REAL_CALL if placed.block.name == "pointwise" else before)(placed, conditions, data)

    monkeypatch.setattr(home, "_call", broken)
    monkeypatch.setattr(home, "build", (lambda *_, **__: Broken(fail)) if when == "called" else lambda *_, **__: fail())
    outcomes = in_session(simulated, "standard", "pointwise", "depthwise")
    assert [one.status for one in outcomes.values()].count("ok") == 2
    assert outcomes["pointwise"].status == status
    assert reason in str(outcomes["pointwise"].reason)


def test_an_error_that_is_not_about_the_block_goes_on(simulated: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(home, "_call", broken)
    with pytest.raises(KeyError, match="a bug"):
        in_session(simulated, "standard")


def test_a_block_that_does_not_fit_is_not_made(simulated: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = 3 * place_block("pointwise", SPEC, {}).cost.traffic_bytes
    monkeypatch.setattr(device_home, "free_memory", lambda _: fits)
    outcomes = in_session(simulated, "pointwise", "depthwise-separable")
    assert outcomes["pointwise"].status == "ok"
    assert outcomes["depthwise-separable"].status == "out-of-memory"
    assert str(outcomes["depthwise-separable"].reason).startswith("it needs ")
    assert "depthwise-separable" not in simulated.log


def test_a_real_dtype_that_torch_lacks_is_refused_in_one_line() -> None:
    with timing_session(TimingOptions(("cpu",), dtype="float32")) as session:
        odd = replace(session, conditions=replace(session.conditions, dtype="int64"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(home, "_input", lambda *_: torch.zeros(1, 8, 16, 16, dtype=torch.int64))
            outcome = home.measure_in(odd, [place_block("standard", SPEC, {})], "standard", 1.0, 1.0)["standard"]
    assert (outcome.status, outcome.timing) == ("refused", None)
    assert "\n" not in str(outcome.reason)

"""The harness on a simulated device: what it calls, in which order, and what it does with what it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from simulated_device import Device

from convcost.nn.measure.clock import AcceleratorClock, CpuClock, Reading, clock_for, interleave

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.timing.statistics import Series

MS = 1e-3


def timed(device: Device, budget: float = 2.0, **seconds: float) -> tuple[dict[str, Series], dict[int, float]]:
    calls = {name: device.work(name, value) for name, value in seconds.items()}
    return interleave(calls, device.work("probe", MS), device, budget)


def rounds(log: list[str]) -> list[list[str]]:
    """The candidates of each round in the order they ran, from the log split at the probes."""
    found: list[list[str]] = []
    for before, name in zip(["", *log], log, strict=False):
        if name == "probe":
            if before != "probe":
                found.append([])
        elif found and (not found[-1] or found[-1][-1] != name):
            found[-1].append(name)
    return found


def test_the_time_is_that_of_the_device_and_not_of_the_queueing() -> None:
    series, probes = timed(Device(), a=4 * MS, b=1 * MS)
    assert [sample.seconds for sample in series["a"].samples] == pytest.approx([4 * MS] * len(series["a"].samples))
    assert [sample.seconds for sample in series["b"].samples] == pytest.approx([1 * MS] * len(series["b"].samples))
    assert list(probes.values()) == pytest.approx([MS] * len(probes), rel=1e-4)


def test_without_waiting_for_the_device_the_same_check_fails() -> None:
    series, _ = timed(Device(waits=False), budget=1e-6, a=4 * MS)
    assert all(sample.seconds < MS for sample in series["a"].samples)


def test_candidates_run_in_turn_forth_and_back() -> None:
    device = Device()
    timed(device, a=4 * MS, b=2 * MS, c=1 * MS)
    order = rounds(device.log)
    assert order[0] == ["a", "b", "c"]
    assert order[1] == ["c", "b", "a"]
    assert order[2] == ["a", "b", "c"]


def test_each_switch_is_followed_by_one_untimed_call() -> None:
    device = Device()
    series, _ = timed(device, a=4 * MS, b=2 * MS)
    warm_up = device.log.index("probe")
    for name in ("a", "b"):
        calls = device.log[warm_up:].count(name)
        timed_calls = sum(sample.calls for sample in series[name].samples)
        assert calls == timed_calls + len(series[name].samples)


def test_a_block_lasts_20_ms_and_six_calls_or_two_long_ones() -> None:
    series, _ = timed(Device(), budget=20.0, short=1 * MS, middle=4 * MS, long=15 * MS)
    assert series["short"].samples[0].calls == 20
    assert series["middle"].samples[0].calls == 6
    assert series["long"].samples[0].calls == 2


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads of torch, the current number last; nothing is set."""
    seen = [1]
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: seen[-1])
    return seen


def test_candidates_with_their_own_threads_run_in_turn_in_one_run(threads: list[int]) -> None:
    device, used = Device(), set()

    def work(name: str, seconds: float) -> Callable[[], object]:
        call = device.work(name, seconds)

        def noted() -> None:
            used.add((name, threads[-1]))
            call()

        return noted

    calls = {"one": work("one", 4 * MS), "two": work("two", 2 * MS)}
    series, _ = interleave(calls, work("probe", MS), device, 2.0, threads={"one": 1, "two": 2})
    assert rounds(device.log)[:2] == [["one", "two"], ["two", "one"]]
    assert used == {("one", 1), ("two", 2), ("two", 1), ("probe", 1)}
    assert {name: each.threads for name, each in series.items()} == {"one": 1, "two": 2}


def test_a_candidate_with_threads_is_tried_with_one_thread_too(threads: list[int]) -> None:
    """With two threads the call takes ten times as long as with one."""
    device = Device()

    def call() -> None:
        device.queued += 10 * MS if threads[-1] == 2 else MS

    series, _ = interleave({"a": call}, device.work("probe", MS), device, 2.0, threads={"a": 2})
    assert series["a"].one_thread_s == pytest.approx(MS, rel=1e-4)
    assert series["a"].samples[0].seconds == pytest.approx(10 * MS, rel=1e-4)
    compiled, _ = interleave({"a": call}, device.work("probe", MS), device, 2.0, threads={"a": 2}, compiles=True)
    assert compiled["a"].one_thread_s is None
    short, _ = interleave({"a": call}, device.work("probe", MS), device, 0.03, threads={"a": 2})
    assert short["a"].one_thread_s is None


def test_the_first_call_is_kept() -> None:
    device = Device()
    slow_once = iter([80 * MS])

    def call() -> None:
        device.queued += next(slow_once, 2 * MS)

    series, _ = interleave({"a": call}, device.work("probe", MS), device, 1.0)
    assert series["a"].first_call_s == pytest.approx(80 * MS, rel=1e-4)
    assert series["a"].samples[0].seconds == pytest.approx(2 * MS, rel=1e-4)


@pytest.mark.parametrize("budget", [0.2, 1.0, 8.0])
def test_the_budget_holds_warm_up_included(budget: float) -> None:
    device = Device()
    timed(device, budget, **{f"c{number}": 2 * MS for number in range(15)}, slow=40 * MS)
    assert device.now <= budget + 0.1 * budget + 80 * MS


def test_a_call_longer_than_the_budget_still_gives_a_time() -> None:
    device = Device()
    series, _ = timed(device, budget=0.5, slow=3.0, fast=1 * MS)
    assert series["slow"].samples[0].seconds == pytest.approx(3.0, rel=1e-4)
    assert series["fast"].samples
    assert device.log.count("slow") == 2


def test_compiling_is_not_part_of_the_budget() -> None:
    device = Device()
    compiling = iter([60.0])

    def call() -> None:
        device.queued += next(compiling, 2 * MS)

    lines: list[str] = []
    series, _ = interleave(
        {"a": call}, device.work("probe", MS), device, 1.0, lambda _, __, line: lines.append(line), compiles=True
    )
    assert series["a"].first_call_s == pytest.approx(60.0, rel=1e-4)
    assert len(series["a"].samples) >= 8
    assert lines[0] == "compiling a ..."
    assert device.now == pytest.approx(61.0, rel=0.01)


def test_a_disturbed_block_is_run_again_and_counted_as_dropped() -> None:
    device = Device()
    disturbed = {"left": 2}

    def steal(name: str) -> bool:
        if name == "a" and "probe" in device.log and disturbed["left"]:
            disturbed["left"] -= 1
            return True
        return False

    device.steal = steal
    series, _ = timed(device, a=4 * MS)
    assert series["a"].dropped >= 1
    assert all(sample.clean for sample in series["a"].samples)


def test_a_block_that_stays_disturbed_is_kept_as_dirty_after_three_retries() -> None:
    device = Device(steal=lambda name: name == "a")
    series, _ = timed(device, a=4 * MS)
    assert all(not sample.clean for sample in series["a"].samples)
    assert series["a"].dropped >= 3


def test_time_without_processor_time_means_someone_else_had_the_processor() -> None:
    device = Device()
    read = device.read

    def stolen() -> Reading:
        before = device.queued
        seen = read()
        device.cpu -= 0.1 * before
        return Reading(seen.wall_s, device.cpu, 0, 0)

    device.read = stolen  # type: ignore[method-assign]
    series, _ = timed(device, budget=0.5, a=4 * MS)
    assert all(not sample.clean for sample in series["a"].samples)


def test_page_faults_are_counted_a_call() -> None:
    device = Device()

    def call() -> None:
        device.queued += 4 * MS
        device.faults += 7

    series, _ = interleave({"a": call}, device.work("probe", MS), device, 1.0)
    assert {sample.faults for sample in series["a"].samples} == {7.0}


def test_the_watcher_is_told_what_is_known_and_how_long_it_takes() -> None:
    device = Device()
    told: list[tuple[set[str], str]] = []
    calls = {"a": device.work("a", 4 * MS), "b": device.work("b", 2 * MS)}
    interleave(calls, device.work("probe", MS), device, 3.0, lambda series, _, line: told.append((set(series), line)))
    assert told[0] == (set(), "warming up a, 3 s left")
    assert told[-1][0] == {"a", "b"}
    assert "rounds" in told[-1][1]
    assert told[-1][1].endswith(" s left")


def test_an_interrupt_goes_through() -> None:
    device = Device()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interleave({"a": interrupt}, device.work("probe", MS), device, 1.0)


def test_an_accelerators_clock_synchronizes_before_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: waited.append(str(device)))
    clock = clock_for(torch.device("cuda", 0), 1)
    assert isinstance(clock, AcceleratorClock)
    clock.read()
    assert waited == ["cuda:0"]


def test_the_cpu_clock_reads_processor_time_only_for_one_thread() -> None:
    assert CpuClock(1).read().cpu_s is not None
    assert CpuClock(2).read().cpu_s is None


def test_where_getrusage_is_missing_faults_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resource", None)
    reading = CpuClock(1).read()
    assert reading.faults is None
    assert reading.preemptions is None


@pytest.mark.gpu
def test_a_real_accelerator_is_waited_for() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    data = torch.randn(4096, 4096, device="cuda")
    clock = clock_for(torch.device("cuda", 0), 1)
    series, _ = interleave({"a": lambda: data @ data}, lambda: data @ data, clock, 1.0)
    assert series["a"].samples

"""Ctrl-C in the middle of a count, and settings of the process that a forward pass makes."""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
import torch
from calls import Calls, zeros
from torch import nn

import convcost
from convcost.nn.count import call_watch, lane, memory, model_report
from convcost.nn.count.function_calls import Functions
from convcost.nn.load import meta_device
from convcost.nn.load.placement import Placement


def process_state() -> tuple[Any, ...]:
    return (
        nn.Module.__call__,
        torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
        torch.is_grad_enabled(),
        gc.isenabled(),
        gc.get_threshold(),
        sys.getrecursionlimit(),
        sys.stdout,
        signal.getsignal(signal.SIGINT),
        dict(call_watch._LANES),
    )


def model_state(model: nn.Module) -> list[Any]:
    return [(part.training, list(vars(part)), [*map(id, part.parameters())]) for part in model.modules()]


PLACES = {
    "the recorder begins": (call_watch, "watch"),
    "the recorder ends": (call_watch, "unwatch"),
    "a lane begins or ends": (call_watch, "switch_lane"),
    "tensors are moved": (Placement, "move_attributes"),
    "attributes are compared": (model_report, "attributes_of"),
    "attributes are restored": (meta_device, "_refill"),
    "the report is made": (model_report, "report_of"),
    "a row ends": (lane.Lane, "close"),
    "functions are observed again": (Functions, "resume"),
    "functions are not observed": (Functions, "pause"),
    "an operator is recorded": (memory.Memory, "add"),
    "the collection of garbage is paused": (gc, "get_threshold"),
}


@pytest.mark.parametrize(("home", "name"), PLACES.values(), ids=PLACES)
def test_ctrl_c_at_any_moment_leaves_everything_as_it_was(
    home: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Flatten()).train()
    original = getattr(home, name)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        try:
            return original(*args, **kwargs)
        finally:
            signal.raise_signal(signal.SIGINT)

    before = process_state(), model_state(model)
    monkeypatch.setattr(home, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        convcost.count(model, zeros(1, 2, 4, 4))
    monkeypatch.undo()
    assert (process_state(), model_state(model)) == before
    assert convcost.count(model, zeros(1, 2, 4, 4)).totals.macs == 16 * 2 * 3


def test_ctrl_c_that_the_model_swallows_is_raised_after_it() -> None:
    def swallowing(_: Any, x: torch.Tensor) -> torch.Tensor:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return x + 1

    with pytest.raises(KeyboardInterrupt):
        convcost.count(Calls(swallowing), zeros(2))


def test_a_handler_that_raises_nothing_stays_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    original = gc.get_threshold

    def interrupted() -> tuple[int, int, int]:
        signal.raise_signal(signal.SIGINT)
        return original()

    taken: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: taken.append(number))
    try:
        monkeypatch.setattr(gc, "get_threshold", interrupted)
        assert convcost.count(nn.Linear(2, 3), zeros(1, 2)).totals.macs == 2 * 3
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(taken) == {signal.SIGINT}


def test_settings_of_the_process_that_forward_makes_stay() -> None:
    def setting(_: Any, x: torch.Tensor) -> torch.Tensor:
        sys.setrecursionlimit(5000)
        gc.disable()
        return x + 1

    limit = sys.getrecursionlimit()
    try:
        convcost.count(Calls(setting), zeros(2))
        assert (sys.getrecursionlimit(), gc.isenabled()) == (5000, False)
    finally:
        sys.setrecursionlimit(limit)
        gc.enable()


def test_models_that_share_a_part_are_counted_in_two_threads_at_the_same_time() -> None:
    shared = nn.Sequential(*[nn.Linear(4, 4) for _ in range(5)])
    models = [shared, nn.Sequential(shared, nn.Linear(4, 1)), shared[0]]
    results: list[tuple[int, int]] = []

    def count(index: int) -> None:
        results.extend((index, convcost.count(models[index], zeros(1, 4)).totals.macs) for _ in range(10))

    threads = [Thread(target=count, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(0, 80)] * 10 + [(1, 84)] * 10 + [(2, 16)] * 10

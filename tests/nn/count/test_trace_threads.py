"""Threads: those of the forward pass are counted or refused, others are left alone."""

from __future__ import annotations

import _thread
import asyncio
import copy
import importlib
import os
import queue
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from calls import Calls
from torch import nn
from torch.nn import functional

import convcost
from convcost.nn.count.isolation import compiled_functions_run_as_they_are
from convcost.nn.load.meta_device import any_device_allowed
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGE = torch.zeros(1, 3, 8, 8)
ONE_CALL = 6 * 6 * 4 * 27


class Threaded(nn.Module):
    def __init__(self, run: Callable[[nn.Conv2d, torch.Tensor], Any]) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3)
        self._run = run

    def forward(self, x: torch.Tensor) -> Any:
        return self._run(self.c, x)


def in_thread(function: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def _in_executor(c: nn.Conv2d, x: torch.Tensor) -> Any:
    with ThreadPoolExecutor(2) as pool:
        return [*pool.map(c, [x]), pool.submit(functional.conv2d, x, c.weight).result()]


def _in_pool(c: nn.Conv2d, x: torch.Tensor) -> Any:
    with ThreadPool(2) as pool:
        return pool.map(c, [x, x])


def _fails_and_falls_back(c: nn.Conv2d, x: torch.Tensor) -> Any:
    def run() -> Any:
        try:
            return c(x[:, :2])
        except RuntimeError:
            return c(x)

    return in_thread(run)


def _in_bare_thread(c: nn.Conv2d, x: torch.Tensor) -> Any:
    results: list[Any] = []
    ready = threading.Event()

    def run() -> None:
        results.append(functional.conv2d(x, c.weight))
        ready.set()

    _thread.start_new_thread(run, ())
    ready.wait(10)
    return results[0]


async def _asynchronously(c: Callable[[torch.Tensor], Any], x: torch.Tensor) -> Any:
    return await asyncio.to_thread(c, x)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    ("run", "calls"),
    [
        (lambda c, x: in_thread(lambda: functional.conv2d(x, c.weight)), 1),
        (lambda c, x: in_thread(lambda: c(x)), 1),
        (lambda c, x: in_thread(lambda: in_thread(lambda: c(x))) + c(x), 2),
        (_in_executor, 2),
        (_in_pool, 2),
        (_fails_and_falls_back, 1),
        (lambda c, x: asyncio.run(_asynchronously(c, x)), 1),
        (_in_bare_thread, 1),
    ],
    ids=["a function", "a module", "a thread of a thread", "an executor", "a pool", "a fallback", "asyncio", "_thread"],
)
def test_work_in_threads_of_the_forward_pass_is_counted(run: Any, calls: int, device: str) -> None:
    report = convcost.count(Threaded(run), IMAGE, device=device)
    assert report.totals.macs == calls * ONE_CALL
    assert sum(row.macs for row in report.layers) == report.totals.macs


def test_the_counters_see_no_other_threads_which_is_a_known_reason() -> None:
    model = Threaded(lambda c, x: in_thread(lambda: c(x)) + c(x)).requires_grad_(False)
    report = convcost.count(model, IMAGE, cross_check=True)
    assert report.totals.macs == 2 * ONE_CALL
    for check in report.cross_check.values():
        assert (check.status, check.macs) == ("agrees", ONE_CALL)
        assert [(one.ours - one.theirs, one.reason) for one in check.differences] == [
            (ONE_CALL, "it does not see what other threads run")
        ]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        yield pool


def test_an_executor_that_was_there_before_works_for_fvcore_in_its_child_process(executor: ThreadPoolExecutor) -> None:
    model = Threaded(lambda c, x: executor.submit(c, x).result() + c(x)).requires_grad_(False)
    fvcore = convcost.count(model, IMAGE, cross_check=True).cross_check["fvcore"]
    assert (fvcore.status, fvcore.macs) == ("agrees", ONE_CALL)


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    with ThreadPool(1) as threads:
        yield threads


def test_an_executor_that_was_there_before_is_counted_each_time(executor: ThreadPoolExecutor) -> None:
    model = Threaded(lambda c, x: executor.submit(c, x).result())
    assert [convcost.count(model, IMAGE).totals.macs for _ in range(2)] == [ONE_CALL, ONE_CALL]


@pytest.mark.parametrize("run", [lambda c, x: c(x), lambda c, x: functional.conv2d(x, c.weight)])
def test_work_in_a_pool_that_was_there_before_is_refused_with_a_sentence(pool: ThreadPool, run: Any) -> None:
    with pytest.raises(ConvcostError, match=r"runs in a thread that was started before the forward pass.* in forward"):
        convcost.count(Threaded(lambda c, x: pool.apply(run, (c, x))), IMAGE)


class Worker(threading.Thread):
    """A thread that runs what it gets through a queue, and sets an event, until it gets None."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.results: list[Any] = []

    def run(self) -> None:
        with torch.no_grad():
            while (task := self.tasks.get()) is not None:
                function, args, kwargs, done = task
                self.results.append(function(*args, **kwargs))
                done.set()

    def ask(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        done = threading.Event()
        self.tasks.put((function, args, kwargs, done))
        done.wait()
        return self.results.pop()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr("convcost.nn.count.other_threads.MAX_WAIT_S", 0.3)
    thread = Worker()
    thread.start()
    yield thread
    thread.tasks.put(None)


def _into(worker: Worker, c: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    out = x.new_empty(1, 4, 64)
    worker.ask(torch.matmul, c.weight.flatten(1)[:, :3], x.flatten(2), out=out)
    return out


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    "run",
    [
        lambda worker, c, x: worker.ask(functional.conv2d, x, c.weight),
        lambda worker, c, x: c(x) + worker.ask(functional.conv2d, x, c.weight),
        lambda worker, c, x: worker.ask(lambda: functional.conv2d(x, c.weight).flatten())[0],
        lambda worker, c, x: worker.ask(c, x),
        lambda worker, c, x: asyncio.run(_asynchronously(lambda x: worker.ask(functional.conv2d, x, c.weight), x)),
        _into,
    ],
    ids=["alone", "with others", "a view", "a module", "from a thread of its own", "out="],
)
def test_work_that_is_handed_to_a_running_thread_is_refused(worker: Worker, run: Any, device: str) -> None:
    with pytest.raises(ConvcostError, match=r"a thread that was started before the forward pass.* in forward, or call"):
        convcost.count(Threaded(lambda c, x: run(worker, c, x)), IMAGE, device=device)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_tensors_that_no_operator_makes_are_no_reason_to_refuse_beside_other_threads(
    worker: Worker, device: str
) -> None:
    kept = torch.ones(3, device=device)

    def run(c: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        x = x * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1) * kept.view(1, 3, 1, 1)
        y = x.clone()
        y[0].add_(1)
        twin = copy.deepcopy(y)
        if device == "cpu":
            twin += torch.from_numpy(np.ones(8, dtype=np.float32))
        return c(y.data + twin)

    assert worker.is_alive()
    assert convcost.count(Threaded(run), IMAGE, device=device).totals.macs == ONE_CALL


@pytest.mark.parametrize("convert", [torch.Tensor.numpy, torch.Tensor.tolist])
def test_on_the_cpu_values_that_come_back_from_a_running_thread_are_refused_too(worker: Worker, convert: Any) -> None:
    def run(c: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        return c(x) + torch.tensor(worker.ask(lambda: convert(functional.conv2d(x, c.weight))))

    with pytest.raises(ConvcostError, match="a thread that was started before"):
        convcost.count(Threaded(run), IMAGE, device="cpu")


def test_where_no_process_can_be_forked_a_strong_suspicion_decides(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.nn.count.forward_pass.can_isolate", lambda: False)
    handed = Threaded(lambda c, x: c(x) + worker.ask(functional.conv2d, x, c.weight))
    with pytest.raises(ConvcostError, match="a thread that was started before"):
        convcost.count(handed, IMAGE)
    cells = nn.GRUCell(4, 6)  # its parts change in place beside each other
    assert convcost.count(cells, torch.zeros(2, 4)).totals.macs == 2 * 3 * 6 * (4 + 6)


def test_a_thread_that_outlives_the_forward_pass_while_it_works_is_refused() -> None:
    event, working = threading.Event(), threading.Event()

    def leave_behind(c: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        def wait(*_: Any) -> None:
            working.set()
            event.wait(10)

        c.register_forward_pre_hook(wait)
        threading.Thread(target=lambda: c(x)).start()
        working.wait(10)
        return x

    with pytest.raises(ConvcostError, match=r"^c still runs in a thread after the forward pass has ended; wait"):
        convcost.count(Threaded(leave_behind), IMAGE)
    event.set()


def test_threads_that_compute_nothing_are_no_reason_to_refuse() -> None:
    model = Threaded(lambda c, x: (in_thread(lambda: 3), c(x))[1])
    assert convcost.count(model, IMAGE).totals.macs == ONE_CALL


def test_models_of_other_threads_run_as_ever_and_leave_no_rows() -> None:
    other = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    results: list[Any] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                results.append(tuple(other(torch.zeros(2, 8)).shape))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
                results.append(error)
            time.sleep(0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        model = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(20)])
        reports = [convcost.count(model, IMAGE) for _ in range(3)]
    finally:
        stop.set()
        thread.join()
    assert set(results) == {(2, 8)}
    assert {row.op for report in reports for row in report.layers} == {"Conv2d"}
    assert {report.totals.macs for report in reports} == {20 * 64 * 81}


def test_two_threads_count_two_models_at_the_same_time() -> None:
    models = [nn.Sequential(*[nn.Linear(n, n) for _ in range(20)]) for n in (4, 8)]
    with ThreadPoolExecutor(2) as pool:
        counted = list(pool.map(lambda m: convcost.count(m, torch.zeros(2, m[0].in_features)).totals.macs, models))
    assert counted == [20 * 2 * 4 * 4, 20 * 2 * 8 * 8]


def test_the_compilers_setting_comes_back_after_counts_that_overlap() -> None:
    from torch._dynamo import eval_frame

    before, first, second = vars(eval_frame)["_stance"], *(compiled_functions_run_as_they_are() for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert vars(eval_frame)["_stance"].stance == "force_eager"
    second.__exit__(None, None, None)
    assert vars(eval_frame)["_stance"] == before


def test_what_is_replaced_while_recording_is_restored() -> None:
    before = (nn.Module.__call__, threading.Thread.start, ThreadPoolExecutor.submit, torch.compile)
    convcost.count(nn.Linear(3, 4), torch.zeros(1, 3))
    with pytest.raises(ConvcostError):
        convcost.count(nn.Linear(3, 4), torch.zeros(1, 5))
    assert before == (nn.Module.__call__, threading.Thread.start, ThreadPoolExecutor.submit, torch.compile)


def test_threads_that_count_one_model_at_once_count_it_in_turn() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(50)))
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: convcost.count(model, torch.zeros(5, 4)), range(12)))
    assert {report.totals.macs for report in reports} == {50 * 5 * 4 * 4}
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}


def test_threads_may_count_flex_attention_at_once() -> None:
    q, home = torch.zeros(1, 2, 16, 8), importlib.import_module("torch.nn.attention.flex_attention")
    before, first, second = vars(home)["_validate_device"], any_device_allowed(), any_device_allowed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    home._validate_device(q.to("meta"))
    second.__exit__(None, None, None)
    assert vars(home)["_validate_device"] is before


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_counts_that_overlap_leave_stdout_and_the_filters_of_warnings(
    device: str, capfd: pytest.CaptureFixture[str]
) -> None:
    started, printed, ended = threading.Event(), threading.Event(), threading.Event()

    def count(forward: Callable[[], object]) -> None:
        convcost.count(Calls(lambda m, x: (forward(), m.l(x))[1], l=nn.Linear(4, 4)), torch.zeros(2, 4), device=device)

    def in_first() -> None:
        started.set()
        printed.wait(60)

    def in_second() -> None:
        sys.stdout.write("mine\n")
        printed.set()
        ended.wait(60)

    def first() -> None:
        count(in_first)
        ended.set()

    def second() -> None:
        started.wait(60)
        count(in_second)

    before = sys.stdout, [*warnings.filters], os.fstat(1).st_ino
    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sys.stdout, [*warnings.filters], os.fstat(1).st_ino) == before
    assert capfd.readouterr() == ("", "mine\n")

"""Sweeps on a cluster: whatever dies, the same bytes as from one process, and one line for what cannot be."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import convcost
import convcost.workflows.sweep_cluster as workflow
from convcost.grids.configuration_file import read_configuration
from convcost.grids.grid import Grid
from convcost.grids.parts import contents, write_shared_part
from convcost.text.errors import ConvcostError, MissingPackageError
from convcost.workflows.local_cluster import DEVICE
from convcost.workflows.sweep import SweepOptions, sweep
from convcost.workflows.sweep_cluster import Cluster, connected, run_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

distributed = pytest.importorskip("distributed", reason="needs convcost[cluster]")

GRID: dict[str, Any] = {
    "axes": {"c": [8, 12, 16], "o": [8, 9, 10], "k": [1, 3], "h": {"from": 7, "to": 66, "step": 1}, "groups": [2, 3]},
    "blocks": ["standard", "grouped", "depthwise-separable"],
    "where": ["c + o < 26"],
}
ROWS = 40
"""Rows of a part, so that there are more than a hundred parts."""
CONFIGURATION = read_configuration(GRID)
PARTS = Grid(CONFIGURATION).part_count(ROWS)
KINDS: dict[str, dict[str, Any]] = {
    "pareto": {"pareto": ("params", "macs_ratio")},
    "top": {"top": 5, "sort": "macs_ratio", "group_by": ("k",)},
    "groups": {"group_by": ("block", "k")},
}
GETPID = "__import__('time').sleep(0.02) or __import__('os').getpid()"
LARGE = """\
blocks = ["all"]
[axes]
c = { from = 1, to = 256, step = 1 }
o = { from = 1, to = 512, step = 1 }
k = 3
"""
RUN = """
import sys
from pathlib import Path
from convcost.grids.configuration_file import read_configuration
from convcost.workflows.sweep import SweepOptions, sweep

grid, folder, rows, scheduler = eval(sys.argv[1])
sweep(read_configuration(grid), SweepOptions(Path(folder), part_rows=rows, scheduler=scheduler))
"""


def options(folder: Path | None, **given: Any) -> SweepOptions:
    return SweepOptions(folder, part_rows=ROWS, **given)


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a sweep in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep(CONFIGURATION, options(folder))
    return written(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a scheduler, and two workers, one with two threads."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{words[0]}", "--no-dashboard", *words[1:]]
        environment = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(folder)}
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    common = ("--scheduler-file", str(file))
    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0", *common)
    where = ("--no-nanny", "--local-directory", str(folder), *common)
    workers = [start("worker", "--nthreads", str(threads), *where) for threads in (1, 2)]
    try:
        while not file.exists() or not (text := file.read_text(encoding="utf-8")).endswith("}"):  # it is being written
            time.sleep(0.02)
        yield json.loads(text)["address"], workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def when_parts(folder: Path, count: int, action: Any) -> threading.Thread:
    """Do something once, when a folder has so many parts."""

    def watch() -> None:
        while len(list(folder.glob("part-*"))) < count:
            time.sleep(0.002)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_worker_that_is_killed_loses_no_part(cluster, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    address, workers = cluster
    killed = []

    def kill() -> None:
        workers[0].kill()
        killed.append(len(list(tmp_path.glob("part-*"))))

    thread = when_parts(tmp_path, 15, kill)
    sweep(CONFIGURATION, options(tmp_path, scheduler=address))
    thread.join()
    assert workers[0].wait() == -signal.SIGKILL
    assert killed[0] < PARTS
    assert written(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_client_that_is_killed_comes_back(cluster, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, repr((GRID, str(tmp_path), ROWS, cluster[0]))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as client:
        when_parts(tmp_path, 15, client.kill).join()
    assert client.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("part-*"))) < PARTS
    sweep(CONFIGURATION, options(tmp_path, scheduler=cluster[0]))
    assert written(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_does_not_depend_on_who_reduces_it(cluster, kind: str, tmp_path: Path) -> None:
    few = read_configuration({**GRID, "axes": {**GRID["axes"], "h": [7, 14]}})
    for name, scheduler in (("one", None), ("cluster", cluster[0])):
        sweep(few, options(tmp_path / name, **KINDS[kind], scheduler=scheduler))
    assert written(tmp_path / "cluster") == written(tmp_path / "one")


@pytest.mark.slow
def test_a_small_sweep_needs_no_folder(cluster, capfd: pytest.CaptureFixture[str]) -> None:
    few = {**GRID, "axes": {**GRID["axes"], "h": [7]}}
    result = convcost.sweep(few, scheduler=cluster[0])
    assert result.to_frame().equals(convcost.sweep(few).to_frame())
    assert len(result.scan().to_table()) == result.row_count
    assert not capfd.readouterr().err  # of Arrow, about buffers that are not aligned


@pytest.mark.slow
def test_a_disk_of_a_worker_that_is_full_is_one_line(cluster, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    with distributed.Client(cluster[0], set_as_default=False) as client:
        client.run(resource.setrlimit, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        try:
            with pytest.raises(
                ConvcostError, match=r"^out .*could not be written \(.*File too large\); make room or"
            ) as error:
                sweep(CONFIGURATION, options(tmp_path, scheduler=cluster[0]))
        finally:
            client.run(resource.setrlimit, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert len(str(error.value).splitlines()) == 1
    sweep(CONFIGURATION, options(tmp_path, scheduler=cluster[0]))
    assert written(tmp_path) == undisturbed


@pytest.mark.slow
def test_tasks_that_need_a_device_run_one_at_a_time_on_it() -> None:
    with connected(2, None) as local:
        assert len({process for _, process in local.each(eval, [GETPID] * 6, {DEVICE: 1})}) == 1
        assert len({process for _, process in local.each(eval, [GETPID] * 20)}) == 2
        with pytest.raises(ConvcostError, match=r"^workers \(=2\) must have a worker with gpu=1; start dask worker w"):
            list(local.each(abs, [1], {"gpu": 1}))
        with pytest.raises(ZeroDivisionError):
            list(local.each(partial(divmod, 1), [1, 0]))


@pytest.mark.slow
def test_ctrl_c_ends_the_local_workers_and_what_is_written_stays(tmp_path: Path) -> None:
    import psutil

    file, out = tmp_path / "grid.toml", tmp_path / "out"
    file.write_text(LARGE, encoding="utf-8")
    command = [sys.executable, "-m", "convcost", "sweep", str(file), "--out", str(out), "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        when_parts(out, 1, lambda: None).join()
        processes = psutil.Process(client.pid).children(recursive=True)
        assert len(processes) > 2
        client.send_signal(signal.SIGINT)
        printed, said = client.communicate()
    assert (client.returncode, printed) == (130, "")
    assert said == f"note: interrupted: what is written to {out} stays, and the same command goes on from there.\n"
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


class Answer:
    """A future of a cluster in which something happens; it is done at once, or never."""

    def __init__(self, result: Any) -> None:
        self._result = result
        self.is_done = result is not None
        self.is_released = False

    def add_done_callback(self, action: Any) -> None:
        if self.is_done:
            action(self)

    def result(self) -> Any:
        return self._result()

    def release(self) -> None:
        self.is_released = True


class Client:
    """A client of a cluster with three threads whose tasks all end in the same way."""

    status = "running"

    def __init__(self, result: Any = None, versions: Any = (), scheduler: Any = convcost.__version__) -> None:
        self._result = result
        self.versions, self.scheduler = dict(versions), scheduler
        self.threads = {"tcp://a:1": 1, "tcp://b:1": 2}
        self.futures: list[Answer] = []
        self.priorities: list[int] = []

    def submit(self, *_: object, priority: int, **__: object) -> Answer:
        self.priorities.append(priority)
        self.futures.append(Answer(self._result))
        return self.futures[-1]

    def close(self, timeout: float) -> None:
        assert timeout == workflow.CONNECT_S

    def nthreads(self) -> dict[str, int]:
        return self.threads

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        return {"workers": {}}

    def wait_for_workers(self, count: int, timeout: float) -> None:
        if len(self.threads) < count:
            raise TimeoutError(timeout)

    def run(self, *_: object, on_error: str) -> dict[str, Any]:
        assert on_error == "return"
        return self.versions

    def run_on_scheduler(self, *_: object) -> str:
        if isinstance(self.scheduler, Exception):
            raise self.scheduler
        return self.scheduler


def raises(error: Exception) -> Any:
    def result() -> None:
        raise error

    return result


def test_the_tasks_at_a_time_do_not_depend_on_their_number() -> None:
    client = Client(lambda: pickle.dumps(None))
    items = Cluster(client, "").each(abs, range(10**12))
    for taken in range(1, 100):
        next(items)
        assert len(client.futures) == taken + 4 * 3 - 1
    items.close()
    assert all(future.is_released for future in client.futures[-11:])


def test_tasks_start_in_the_order_of_their_items() -> None:
    client = Client(lambda: pickle.dumps(None))
    list(Cluster(client, "").each(abs, range(20)))
    assert client.priorities == sorted(set(client.priorities), reverse=True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            distributed.client.FutureCancelledError("k", "lost"),
            "^c must stay reachable, and the scheduler has ended; what is",
        ),
        (
            distributed.KilledWorker("k", None, 3),
            "^c must have workers with memory for a part, and 4 workers died in the",
        ),
        (distributed.client.ClosedClientError(), "^c must stay reachable, and the scheduler has ended; what is"),
        (
            ModuleNotFoundError(name="convcost"),
            f"^a worker of c must have convcost {convcost.__version__}, and does not",
        ),
        (ConvcostError("out"), "^out$"),
    ],
)
def test_a_cluster_that_fails_is_one_line(error: Exception, message: str) -> None:
    with pytest.raises(ConvcostError, match=message):
        list(Cluster(Client(raises(error)), "c").each(abs, [1]))


def test_a_cluster_whose_workers_have_gone_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "MAX_IDLE_S", 0.0)
    monkeypatch.setattr(workflow, "LOOK_S", 0.0)
    client = Client()
    client.threads = {}
    with pytest.raises(ConvcostError, match=r"^c must have a worker, and has had none for 0 s; what is written stays"):
        list(Cluster(client, "c").each(abs, [1]))


def connect_to(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "_client", lambda _: client)
    with connected(None, "tcp://a:8786"):
        pass


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (
            Client(versions={"tcp://a:1": "0.0.1"}),
            r"^worker tcp://a:1 of scheduler .* must have convcost .*, and has 0.0.1;",
        ),
        (
            Client(versions={"tcp://a:1": ModuleNotFoundError()}),
            r"^worker tcp://a:1 of .*, and does not have it; install",
        ),
        (Client(scheduler=ModuleNotFoundError()), r"^the scheduler of .* must have convcost .*, and does not have it"),
    ],
)
def test_a_cluster_with_another_convcost_is_refused(
    client: Client, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConvcostError, match=message):
        connect_to(client, monkeypatch)


def test_a_cluster_without_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.threads = {}
    with pytest.raises(ConvcostError, match=r"^scheduler \(=tcp://a:8786\) must have a worker, and has had none for"):
        connect_to(client, monkeypatch)


def test_a_worker_that_comes_later_is_looked_at_too(tmp_path: Path) -> None:
    with pytest.raises(ConvcostError, match=r"^the worker on .* must have convcost 0.0.1, and has "):
        run_task("0.0.1", b"")
    part = Grid(CONFIGURATION).part(0, ROWS)
    with pytest.raises(
        ConvcostError, match=r"^out .* must be a folder that all workers share, and the one on .* has no"
    ):
        write_shared_part(CONFIGURATION, part, tmp_path, contents(CONFIGURATION, None, ROWS))
    assert not written(tmp_path)


def test_a_port_where_something_else_listens_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "CONNECT_S", 0.2)
    monkeypatch.setattr(workflow, "LOOK_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(
            ConvcostError, match=r"^scheduler .* \(what listens there has not answered as one for 0.2 s\)"
        ):
            convcost.sweep(GRID, scheduler=address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "localhost", "http://127.0.0.1:80", "tls://127.0.0.1:1", ""])
def test_a_scheduler_that_is_not_there_is_one_line(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "CONNECT_S", 0.2)
    with pytest.raises(
        ConvcostError, match=r"^scheduler \(=.*\) must be the address of a running Dask scheduler \("
    ) as error:
        convcost.sweep(GRID, tmp_path / "out", scheduler=address)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_dask_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        MissingPackageError, match=r'^workers \(=2\) needs distributed, .*; pip install "convcost\[cluster\]"\.$'
    ):
        convcost.sweep(GRID, tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 0}, r"^workers \(=0\) must be a whole number from 1 to 1024; write 2\.$"),
        ({"workers": True}, r"^workers \(=true\) must be a whole number"),
        ({"workers": 2, "scheduler": "tcp://a:1"}, "^workers and scheduler exclude each other; leave one of them out"),
    ],
)
def test_options_of_a_cluster_that_do_not_go_together_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvcostError, match=message):
        convcost.sweep(GRID, **given)

"""Tasks of a sweep on the workers of a Dask cluster, which runs somewhere or is started for the sweep on this machine.

Each task is a function of one item, which does not depend on the others: a worker that dies loses nothing, since the
scheduler gives its task to another one. A task that must have a device to itself takes the resource `DEVICE`
(`each(..., resources={DEVICE: 1})`): one worker of `--workers N` offers it once, and those of a cluster do that were
started with the resources "device=1", so that one task at a time runs on each device.
"""

from __future__ import annotations

import logging
import os
import pickle
import pkgutil
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from convcost._version import __version__
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError, MissingPackageError, first_line
from convcost.text.units import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from distributed import Client, Future

T = TypeVar("T")
R = TypeVar("R")

INSTALL: Final = 'pip install "convcost[cluster]"'
CONNECT_S: Final = 4.0
"""Seconds in which a scheduler must answer."""
START_S: Final = 60.0
"""Seconds in which the workers on this machine must have started."""
MAX_IDLE_S: Final = 30.0
"""Seconds in which a cluster must have a worker, at the start and after the last one has gone."""
LOOK_S: Final = 2.0
"""Seconds between two looks at the workers."""
TASKS_PER_THREAD: Final = 4
"""Tasks that are submitted at a time, for each thread of the workers."""
_GO_ON: Final = "what is written stays, and the same command goes on from there"
_ENDED: Final = "the scheduler has ended"
_LOGGERS: Final = ("distributed", "tornado", "asyncio")


class Cluster:
    """A connection to a Dask cluster.

    Args:
        client: Dask's client.
        name: The option that named the cluster, for messages.
    """

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self._threads = 0
        self._seen = time.monotonic()
        self._looked = 0.0

    def each(
        self, function: Callable[[T], R], items: Iterable[T], resources: Mapping[str, int] | None = None
    ) -> Generator[tuple[T, R]]:
        """Call a function for each item, on the workers.

        A few items for each thread are taken at a time, so that the memory does not depend on their number.

        Args:
            function: Function that can be pickled.
            items: Items.
            resources: What a task takes of its worker, by name.

        Yields:
            Each item with its result, in the order of the items.

        Raises:
            ConvcostError: The function raised it, no worker has the resources, or the cluster has ended.
        """
        from distributed.client import ClosedClientError

        self._require(resources or {})
        pending: deque[tuple[T, Future]] = deque()
        try:
            for number, item in enumerate(items):
                task = pickle.dumps(partial(function, item))
                how = {"pure": False, "resources": resources, "priority": -number}  # else tasks start in any order
                future = self._client.submit(run_task, __version__, task, **how)
                pending.append((item, future))
                while len(pending) >= TASKS_PER_THREAD * self._look():
                    first, future = pending.popleft()
                    yield first, self._result(future)
            for first, future in pending:
                yield first, self._result(future)
        except (CancelledError, ClosedClientError):
            raise ConvcostError(f"{self._name} must stay reachable, and {_ENDED}; {_GO_ON}.") from None
        finally:
            for _, future in pending:
                future.release()

    def _require(self, resources: Mapping[str, int]) -> None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        for name, count in resources.items():
            if not any(worker["resources"].get(name, 0) >= count for worker in workers):
                raise ConvcostError(
                    f"{self._name} must have a worker with {name}={count}; start dask worker with such resources."
                )

    def _look(self) -> int:
        """The number of threads of the workers, at most some seconds ago.

        Raises:
            ConvcostError: There has been none for long.
        """
        now = time.monotonic()
        if now - self._looked > LOOK_S:
            try:
                self._threads, self._looked = sum(self._client.nthreads().values()), now
            except OSError as error:
                raise CancelledError from error
        if self._threads:
            self._seen = now
        if now - self._seen > MAX_IDLE_S:
            raise ConvcostError(f"{self._name} must have a worker, and has had none for {MAX_IDLE_S:g} s; {_GO_ON}.")
        return max(1, self._threads)

    def _result(self, future: Future) -> Any:  # noqa: ANN401 - what the function of a task returns
        """The result of a task, when it is there."""
        from distributed import KilledWorker

        is_done = threading.Event()
        future.add_done_callback(lambda _: is_done.set())
        while not is_done.wait(LOOK_S):
            self._look()
        try:
            return pickle.loads(future.result())  # noqa: S301 - from our own workers
        except KilledWorker as error:
            died = number_of("worker", error.allowed_failures + 1)
            msg = f"{self._name} must have workers with memory for a part, and {died} died in the same one; {_GO_ON}."
            raise ConvcostError(msg) from None
        except ModuleNotFoundError as error:
            if error.name != "convcost":
                raise
            raise ConvcostError(_without_convcost(f"a worker of {self._name}", None)) from None


def run_task(version: str, task: bytes) -> bytes:
    """What a task does on its worker.

    Args:
        version: Version of convcost that submitted it.
        task: The pickled function, without arguments.

    Returns:
        The pickled result: Dask would cut the buffers of a table from its message at places that Arrow warns of.

    Raises:
        ConvcostError: This worker has another version, or the function raised it.
    """
    if version != __version__:
        raise ConvcostError(_without_convcost(f"the worker on {platform.node()}", __version__, version))
    function: Callable[[], object] = pickle.loads(task)  # noqa: S301 - the client wrote it, whom a worker obeys anyway
    return pickle.dumps(function())


def _without_convcost(who: str, version: str | None, needed: str = __version__) -> str:
    has = "does not have it" if version is None else f"has {version}"
    return f"{who} must have convcost {needed}, and {has}; install this version there."


@contextmanager
def connected(workers: int | None, scheduler: str | None) -> Iterator[Cluster]:
    """A connection to a cluster, without any messages of Dask's own.

    Args:
        workers: Number of worker processes that are started on this machine, and end with the sweep.
        scheduler: Address of the scheduler of a cluster that runs; None to start one.

    Raises:
        ConvcostError: The cluster cannot be reached, has no workers, or one of another version of convcost.
        MissingPackageError: Dask is not installed.
    """
    name = f"workers (={workers})" if scheduler is None else f"scheduler (={scheduler})"
    try:
        import distributed  # noqa: F401 - it sets the levels of its loggers
    except ImportError as error:
        msg = f"{name} needs distributed, which cannot be imported ({first_line(error)}); {INSTALL}."
        raise MissingPackageError(msg) from None
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        address = stack.enter_context(_local_cluster(workers or 1) if scheduler is None else nullcontext(scheduler))
        client = _client(address)
        if isinstance(client, str):
            msg = f"{name} must be the address of a running Dask scheduler ({client}); give it as tcp://HOST:8786."
            raise ConvcostError(msg)
        stack.callback(client.close, timeout=CONNECT_S)
        _wait_for_workers(client, name, workers)
        _require_convcost(client, name)
        yield Cluster(client, name)


def _client(address: str) -> Client | str:
    """Dask's client, or why there is none.

    It is made in another thread, since it waits for ever where something else listens.
    """
    from distributed import Client

    class QuietClient(Client):  # type: ignore[misc]  # mypy skips Dask
        """A client that is not closed once more, in vain and with a message, when it could not connect."""

        def __del__(self) -> None:
            """Do nothing."""

    made: SimpleQueue[Client | str] = SimpleQueue()

    def connect() -> None:
        try:
            made.put(QuietClient(address, timeout=CONNECT_S, set_as_default=False))
        except Exception as error:  # noqa: BLE001 - for what is no scheduler's address Dask raises anything
            made.put(first_line(error))

    threading.Thread(target=connect, daemon=True).start()
    try:
        return made.get(timeout=CONNECT_S + LOOK_S)
    except Empty:
        return f"what listens there has not answered as one for {CONNECT_S:g} s"


def _wait_for_workers(client: Client, name: str, started: int | None) -> None:
    """Wait for all workers that were started, or for the first one of a cluster that runs."""
    limit_s, step = (MAX_IDLE_S, "start one with dask worker ADDRESS") if started is None else (START_S, "give fewer")
    show_progress("waiting for workers")
    try:
        client.wait_for_workers(started or 1, timeout=limit_s)
    except TimeoutError:
        if not client.nthreads():
            msg = f"{name} must have a worker, and has had none for {limit_s:g} s; {step}."
            raise ConvcostError(msg) from None
    except (OSError, CancelledError):
        raise ConvcostError(f"{name} must stay reachable, and {_ENDED}; start it again.") from None


def _require_convcost(client: Client, name: str) -> None:
    """Refuse workers that have another version of convcost."""
    version = (pkgutil.resolve_name, "convcost._version:__version__")  # a function that those without convcost have
    versions = client.run(*version, on_error="return")
    try:
        versions["the scheduler"] = client.run_on_scheduler(*version)
    except ImportError as error:
        versions["the scheduler"] = error
    for who, has in versions.items():
        if isinstance(has, ImportError) or (isinstance(has, str) and has != __version__):
            where = who if who == "the scheduler" else f"worker {who}"
            raise ConvcostError(_without_convcost(f"{where} of {name}", has if isinstance(has, str) else None))


@contextmanager
def _local_cluster(workers: int) -> Iterator[str]:
    """The address of a cluster on this machine, which stays until the end.

    Raises:
        ConvcostError: It could not be started.
    """
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "convcost.workflows.local_cluster", str(workers)]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(  # noqa: S603 - this Python, without a shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process alone
        ) as process,
    ):
        try:
            address = process.stdout.readline().decode().strip() if process.stdout else ""
            if not address:
                process.wait()
                log.seek(0)
                reason = log.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise ConvcostError(
                    f"workers (={workers}) could not be started ({reason or _ENDED}); leave workers out."
                )
            yield address
        finally:
            if process.stdin is not None:
                process.stdin.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loggers of Dask from writing to stderr."""
    loggers = [
        logging.getLogger(name) for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOGGERS
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)

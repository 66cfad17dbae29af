"""Running a model so that nothing else is touched, nor chance decides: in another process, from the same numbers."""

from __future__ import annotations

import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import RLock, Thread, get_ident
from time import sleep
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch

from convcost.nn.load.meta_device import parts_of
from convcost.system.signals import interruptible
from convcost.text.errors import ConvcostError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

T = TypeVar("T")
_LOCK: Final = RLock()
_RUNNING: Final[list[tuple[int, frozenset[int]]]] = []
"""The models that run at present: the thread of each, and the identities of its parts."""
_LOOK_AGAIN_S: Final = 0.05
"""Seconds between two looks whether the model of another thread has ended."""
_STANCES: Final[list[Any]] = []
"""The stance of torch's compiler, which all threads share, once for each run that needs it."""


def _forget_other_threads() -> None:
    """Remove the models of threads that did not come along with a fork."""
    _RUNNING[:] = [one for one in _RUNNING if one[0] == get_ident()]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


@contextmanager
def alone(model: nn.Module) -> Iterator[dict[str, nn.Module]]:
    """Run a model, whose tensors are moved for it, in one thread at a time, and so others that share parts with it.

    Yields:
        The model and its parts by path.
    """
    mine = _claimed(model)
    while mine is None:
        interruptible(partial(sleep, _LOOK_AGAIN_S))
        mine = _claimed(model)
    try:
        yield mine[1]
    finally:
        with _LOCK:
            _RUNNING.remove(mine[0])


def _claimed(model: nn.Module) -> tuple[tuple[int, frozenset[int]], dict[str, nn.Module]] | None:
    """An entry of `_RUNNING` for a model, which is added, and the model's parts; None while others use one of them."""
    with _LOCK:
        parts = parts_of(model)
        mine = get_ident(), frozenset(map(id, parts.values()))
        if any(thread != mine[0] and not used.isdisjoint(mine[1]) for thread, used in _RUNNING):
            return None
        _RUNNING.append(mine)
        return mine, parts


def can_isolate() -> bool:
    """Whether this process can be forked; one that uses a GPU cannot."""
    from convcost.system.child_process import CAN_FORK

    return CAN_FORK and not torch.cuda.is_initialized()


def run_isolated(action: Callable[[], T], limit_s: float) -> T:
    """The result of a function that runs in a forked process with one thread, or in this one if that cannot be.

    The forked process prints nothing, not even the dump of a crash in C++.

    Args:
        action: The function; its result is pickled.
        limit_s: Seconds that it may take there.

    Raises:
        ProcessEndedError: The process crashed, or took too long.
        ConvcostError: Whatever else the function raised.
    """
    from convcost.system.child_process import in_child

    if can_isolate():
        drawn = random.getstate()
        isolated = partial(_alone, action, drawn, with_executors=True)
        return interruptible(partial(in_child, isolated, limit_s, quiet=True))
    try:
        return interruptible(action)
    except Exception as error:
        raise ConvcostError(first_line(error)) from error


def run_apart(action: Callable[[], T], *, in_threads: bool = False) -> T:
    """The result of a function that runs in another process: a fork, or a new interpreter where that cannot be.

    Args:
        action: The function, which can be pickled, as its result can.
        in_threads: Whether it computes in several threads.

    Raises:
        ProcessEndedError: The process crashed.
        ConvcostError: Whatever else the function raised.
    """
    from convcost.system.child_process import in_child

    run = partial(_in_new_thread, action) if in_threads else action
    return in_child(partial(_alone, run, random.getstate()), fork=can_isolate())


def _alone(action: Callable[[], T], drawn: tuple[Any, ...], *, with_executors: bool = False) -> T:
    torch.set_num_threads(1)  # OpenMP's threads did not come along, and waiting for them would never end
    random.setstate(drawn)  # Python draws a new seed after a fork
    if with_executors:
        _renew_executors()
    return action()


def _in_new_thread(action: Callable[[], T]) -> T:
    """The result of a function in a new thread, for which OpenMP starts threads of its own."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - the other thread raises it
            errors.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _renew_executors() -> None:
    """Run each task of an executor in a new thread, since the executor's own did not come along with a fork."""
    name = "submit"
    submit = getattr(ThreadPoolExecutor, name)
    setattr(ThreadPoolExecutor, name, lambda _, *task, **named: submit(ThreadPoolExecutor(1), *task, **named))


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Restore the random states of Python, NumPy and torch on the CPU, so that the next run draws the same."""
    numpy_random = sys.modules.get("numpy.random")
    drawn = random.getstate()
    drawn_by_numpy = None if numpy_random is None else numpy_random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(drawn)
        if numpy_random is not None:
            numpy_random.set_state(drawn_by_numpy)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw random numbers of Python, NumPy and torch on the CPU from a seed, and restore their states afterwards."""
    with same_random_numbers():
        random.seed(seed)
        torch.manual_seed(seed)
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed(seed)
        yield


@contextmanager
def compiled_functions_run_as_they_are() -> Iterator[None]:
    """Run what torch has compiled as plain Python, until the last of several threads ends this."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with _LOCK:
        stance = _STANCES[0] if _STANCES else torch.compiler.set_stance("force_eager")
        _STANCES.append(stance)
    try:
        yield
    finally:
        with _LOCK:
            _STANCES.pop()
            if not _STANCES:
                stance.__exit__(None, None, None)

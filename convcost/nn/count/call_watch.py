"""Module calls and started threads, observed in the threads of a recording alone.

While anything is recorded, the functions of `_observers` are replaced in the whole process, since Python has no other
place for it. In a thread without a recording the replacements only call the originals, so that models of other threads
run as ever.
"""

from __future__ import annotations

import _thread
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import RLock, Thread, get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import nn

from convcost.nn.count import composites
from convcost.nn.count.operators import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch._ops import OpOverload


class Lane(Protocol):
    """What is recorded in one thread."""

    @property
    def is_over(self) -> bool:
        """Whether the recording ended, though the thread goes on, as the worker of a pool does."""

    def call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a module and record it."""

    def lose_sight(self, what: str) -> None:
        """Something runs in a thread that is not seen."""

    def run_composite(self, operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a composite operator and record it."""

    def branch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is recorded when another thread runs it."""


class Owner(Protocol):
    """A recording, which wants to know when a thread that it does not see calls its modules."""

    def notice_call(self, module: nn.Module) -> None:
        """A module is called in a thread without a lane."""


FRAMES_PER_FRAME: Final = 2
"""Python's frames in a recorded call for each without, at most: a model that calls itself must not run out of them."""
_MODULE_CALL: Final = (nn.Module, "__call__")
_ORIGINALS: Final[dict[tuple[Any, str], Callable[..., Any]]] = {}
"""The functions that are replaced at present, by their home and name."""
_LANES: Final[dict[int, Lane]] = {}
"""The lane of each recorded thread, by the thread's identity."""
_STARTERS: Final[WeakKeyDictionary[Thread, Lane]] = WeakKeyDictionary()
"""The lane of the forward pass that started a thread."""
_LEFT: Final[Counter[int]] = Counter()
"""The threads that are between `leave_lane` and `return_to_lane`, and how often."""
_OWNERS: Final[list[Owner]] = []
_LIMITS: Final = [0, 0]
"""Python's limit of frames before the observation, and during it."""
_LOCK: Final = RLock()


def module_call() -> Callable[..., Any]:
    """What torch calls a module with."""
    return _ORIGINALS.get(_MODULE_CALL) or nn.Module.__call__


def watch(owner: Owner) -> None:
    """Observe calls until `unwatch`."""
    with _LOCK:
        if not _OWNERS:
            observers = _observers()
            _ORIGINALS.update({(home, name): getattr(home, name) for home, name in observers})
            for (home, name), observer in observers.items():
                setattr(home, name, observer)
            _LIMITS[:] = sys.getrecursionlimit(), FRAMES_PER_FRAME * sys.getrecursionlimit()
            sys.setrecursionlimit(_LIMITS[1])
        composites.catch(_observed_composite)
        _OWNERS.append(owner)


def watch_convolutions() -> None:
    """Observe convolutions as they are called, and not their parts, until the last `unwatch`."""
    with _LOCK:
        if _OWNERS:
            composites.catch_convolutions(_observed_composite)


def unwatch(owner: Owner) -> None:
    """Observe no more; the last owner restores torch's and Python's own functions."""
    with _LOCK:
        _OWNERS.remove(owner)
        if not _OWNERS:
            for (home, name), original in _ORIGINALS.items():
                setattr(home, name, original)
            _ORIGINALS.clear()
            composites.release()
            if sys.getrecursionlimit() == _LIMITS[1]:  # not one that the model has set
                sys.setrecursionlimit(_LIMITS[0])


def notice(module: nn.Module) -> None:
    """Tell every recording that a module runs in a thread that it does not see, unless that thread left it itself."""
    if get_ident() in _LEFT:
        return
    for owner in tuple(_OWNERS):
        owner.notice_call(module)


def leave_lane() -> Lane | None:
    """Run modules in this thread that belong to none of the recordings, until `return_to_lane`."""
    lane = switch_lane(None)
    _LEFT[get_ident()] += 1
    return lane


def return_to_lane(lane: Lane | None) -> None:
    """Record this thread again as before `leave_lane`."""
    _LEFT[get_ident()] -= 1
    if not _LEFT[get_ident()]:
        del _LEFT[get_ident()]
    switch_lane(lane)


def switch_lane(lane: Lane | None) -> Lane | None:
    """Record this thread in another lane, or not at all.

    Returns:
        The lane before.
    """
    before = _LANES.pop(get_ident(), None)
    if lane is not None:
        _LANES[get_ident()] = lane
    return before


def _observers() -> dict[tuple[Any, str], Callable[..., Any]]:
    """What replaces each function; a pool of threads can exist only if its module is loaded."""
    pool = getattr(sys.modules.get("multiprocessing.pool"), "Pool", None)
    return {
        _MODULE_CALL: _observed_call,
        (Thread, "start"): _observed_start,
        (_thread, "start_new_thread"): _observed_bare_start,
        (ThreadPoolExecutor, "submit"): _observed_submit,
        (torch, "compile"): _observed_compile,
        **({} if pool is None else {(pool, "_check_running"): _observed_pool}),
    }


def _original(home: Any, name: str) -> Callable[..., Any]:
    """A function as it was before it was replaced; another thread may have restored it since."""
    function: Callable[..., Any] = _ORIGINALS.get((home, name)) or getattr(home, name)
    return function


def _recording_lane() -> Lane | None:
    """The lane of this thread, if its recording goes on."""
    lane = _LANES.get(get_ident())
    return None if lane is None or lane.is_over else lane


def _observed_call(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
    lane = _LANES.get(get_ident())
    if lane is not None and not lane.is_over:
        return lane.call(module, args, kwargs)
    notice(module)
    return module_call()(module, *args, **kwargs)


def _observed_start(thread: Thread) -> None:
    lane = _recording_lane()
    if lane is not None:
        vars(thread)["run"] = lane.branch(thread.run)
        _STARTERS[thread] = lane
    _original(Thread, "start")(thread)


def _observed_bare_start(function: Callable[..., Any], *args: Any) -> Any:
    lane = _recording_lane()
    task = function if lane is None else lane.branch(function)
    return _original(_thread, "start_new_thread")(task, *args)


def _observed_submit(executor: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    lane = _recording_lane()
    before = switch_lane(None)  # the worker that this starts belongs to no recording, but each of its tasks does
    try:
        task = function if lane is None else lane.branch(function)
        return _original(ThreadPoolExecutor, "submit")(executor, task, *args, **kwargs)
    finally:
        switch_lane(before)


def _observed_compile(model: Any = None, **options: Any) -> Any:
    """In a recorded thread, what is compiled during the forward pass runs as it is."""
    if _recording_lane() is None:
        return _original(torch, "compile")(model, **options)
    return model if model is not None else lambda function: function


def _observed_composite(operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    lane = _recording_lane()
    return parts_of(operator)(*args, **kwargs) if lane is None else lane.run_composite(operator, args, kwargs)


def _observed_pool(pool: Any) -> None:
    """A pool gets work: its threads are not seen unless this forward pass started them."""
    lane = _recording_lane()
    workers = [worker for worker in pool._pool if isinstance(worker, Thread)]  # noqa: SLF001 - no public list
    starters = [_STARTERS.get(worker) for worker in workers]
    if lane is not None and any(starter is None or starter.is_over for starter in starters):
        lane.lose_sight("the work of a ThreadPool")
    _original(sys.modules["multiprocessing.pool"].Pool, "_check_running")(pool)

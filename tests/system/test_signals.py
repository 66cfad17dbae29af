"""Ctrl-C: raised until it is taken, after the imports that cannot be repeated, or after work that is to be whole."""

from __future__ import annotations

import signal
import sys
import time
import types
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from convcost.system import signals
from convcost.system.signals import Interrupts, interrupts_held

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPT = "import signal\nsignal.raise_signal(signal.SIGINT)\nended = True"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "LOOK_AGAIN_S", 0.001)
    monkeypatch.setattr(signals, "RAISE_AGAIN_S", 0.001)


def run(module: types.ModuleType) -> None:
    """Run the interrupted code of a module."""
    exec(compile(INTERRUPT, "<module>", "exec"), vars(module))  # noqa: S102 - our own code, as an import runs it


def interrupted(action: Callable[[], object]) -> Interrupts:
    """Run an action, then wait until Ctrl-C is raised, if it was not yet."""
    interrupts = Interrupts()

    def act_and_wait() -> None:
        with interrupts.raised():
            action()
            while True:
                time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        act_and_wait()
    return interrupts


@pytest.mark.parametrize("name", ["numpy.core", "torch", "users_model"])
def test_only_the_imports_that_cannot_be_repeated_end_before_ctrl_c_is_raised(name: str) -> None:
    module = types.ModuleType(name)
    assert interrupted(lambda: run(module)).count == 1
    assert hasattr(module, "ended") is (name != "users_model")


def test_an_interrupt_that_a_library_swallows_is_raised_again() -> None:
    def swallow() -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert interrupted(swallow).count == 1


class Destroyed:
    """An object whose destructor is interrupted, where Python swallows the exception and prints it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_a_destructor_is_raised_again_and_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook
    interrupted(Destroyed)
    assert sys.unraisablehook is hook
    assert capsys.readouterr().err == ""


def test_two_signals_at_once_are_one_interrupt() -> None:
    interrupts = Interrupts()
    with interrupts.raised():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert interrupts.count == 1


def test_an_interrupt_that_is_taken_is_not_raised_again() -> None:
    interrupts = Interrupts()
    with interrupts.raised():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with interrupts_held():
            time.sleep(0.05)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_work_that_holds_interrupts_ends_before_one_is_raised() -> None:
    ended = []

    def work() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            ended.append(True)

    interrupted(work)
    assert ended


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    interrupts = Interrupts()
    with signals.handled(signal.SIGINT, signal.SIG_IGN), interrupts.raised():
        signal.raise_signal(signal.SIGINT)
    assert interrupts.count == 0


def test_the_import_that_ends_raises_one_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "RAISE_AGAIN_S", 60)
    later = []

    def ends(interrupts: Interrupts) -> None:
        with interrupts.raised():
            try:
                run(types.ModuleType("torch"))
                while True:
                    time.sleep(0.001)
            except KeyboardInterrupt:
                for _ in range(50):
                    time.sleep(0.001)
                later.append(interrupts.count)

    ends(Interrupts())
    assert later == [1]

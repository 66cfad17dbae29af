"""Ctrl-C: raised until it is taken, after the imports that cannot be repeated, or after work that is to be whole."""

from __future__ import annotations

import signal
import sys
import time
import types
from contextlib import suppress

import pytest

from convcost.system import signals
from convcost.system.signals import Interrupts, interrupts_held

INTERRUPT = "import signal\nsignal.raise_signal(signal.SIGINT)\nended = True"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "LOOK_AGAIN_S", 0.001)
    monkeypatch.setattr(signals, "RAISE_AGAIN_S", 0.001)


def run_module(name: str) -> types.ModuleType:
    """Run a module of this name whose code is interrupted."""
    module = types.ModuleType(name)
    exec(compile(INTERRUPT, "<module>", "exec"), vars(module))  # noqa: S102 - our own code, as an import runs it
    return module


def wait_for_ever() -> None:
    while True:
        time.sleep(0.001)


def test_the_import_of_numpy_ends_before_ctrl_c_is_raised() -> None:
    interrupts, module = Interrupts(), None
    with pytest.raises(KeyboardInterrupt), interrupts.raised():
        module = run_module("numpy.core")
        wait_for_ever()
    assert module is not None
    assert module.ended
    assert interrupts.count == 1


def test_the_import_of_other_modules_is_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts().raised():
        run_module("users_model")
        pytest.fail("the module ran to its end")


def test_an_interrupt_that_a_library_swallows_is_raised_again() -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), interrupts.raised():
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        wait_for_ever()
    assert interrupts.count == 1


class Destroyed:
    """An object whose destructor is interrupted, where Python swallows the exception and prints it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_a_destructor_is_raised_again_and_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), Interrupts().raised():
        Destroyed()
        wait_for_ever()
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
    ended = False
    with pytest.raises(KeyboardInterrupt), Interrupts().raised(), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        ended = True
    assert ended


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    interrupts = Interrupts()
    with signals.handled(signal.SIGINT, signal.SIG_IGN), interrupts.raised():
        signal.raise_signal(signal.SIGINT)
    assert interrupts.count == 0
